import { writeFileSync } from "node:fs";
import { join } from "node:path";
import { command } from "../command.ts";
import type { Step, StepWork } from "../step.ts";

/** Where the machine finds its own knowledge. */
export const knowledgeFile = "usr/lib/aios/knowledge.db";

/** What the knowledge is made of, beside the daemons' own words. */
const told = [
  "rootfs/usr/share/aios/knowledge",
  "rootfs/etc/aios/procedures",
  "rootfs/etc/aios/config.toml",
  "rootfs/etc/aios/security/policy.toml",
];

/** What writes it. */
const programs = {
  tools: "daemons/tools/reference.ts",
  commands: "daemons/ctl/reference.ts",
  shelve: "daemons/memory/shelve/main.ts",
} as const;

/**
 * The machine's knowledge of itself (`knowledge.db`): help, tools, commands, settings, procedures and manual pages, with their
 * words and vectors, so that the first boot indexes nothing. The daemons' own programs write it: image/ knows none of them.
 */
export function knowledgeStep(): Step {
  return {
    name: "knowledge",
    modules: [import.meta.filename, ...Object.values(programs)],
    files: ["package-lock.json", ...told],
    params: {},
    needs: ["manuals"],
    run: async (work) => {
      const said = (done: number) => work.log.line(`${done} of ${Object.keys(programs).length} programs`);
      said(0);
      const tools = await printed(work, programs.tools, "tools.json");
      said(1);
      const commands = await printed(work, programs.commands, "commands.json");
      said(2);
      const shelve = join(work.repository, programs.shelve);
      const rootfs = join(work.repository, "rootfs");
      const manuals = join(work.need("manuals"), "manuals.json");
      const argv = [process.execPath, shelve, join(work.out, "knowledge.db"), rootfs, tools, commands, manuals];
      work.log.line((await command(argv, { log: work.log })).trim());
    },
  };
}

/** Keeps what a program of the repository prints in a file of the step's output. */
async function printed({ repository, out, log }: StepWork, program: string, name: string): Promise<string> {
  const file = join(out, name);
  writeFileSync(file, await command([process.execPath, join(repository, program)], { log }));
  return file;
}
