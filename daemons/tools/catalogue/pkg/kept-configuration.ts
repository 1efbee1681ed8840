import { open, stat } from "node:fs/promises";
import { AiosError, errnoOf } from "#lib/errors";
import { resolvePath } from "../../files/index.ts";
import type { Backups } from "../../state/index.ts";
import type { Undo } from "../../tool.ts";
import { type ProgramOptions, placeFile } from "../shared/index.ts";
import type { Apt } from "./apt.ts";

/** Configuration files that a purge may take along, at most: each is kept. */
const filesMax = 500;

interface KeptFile {
  /** With the root in front. */
  readonly path: string;
  readonly mode: number;
  readonly backup: string;
}

interface PurgePlan<Plan> {
  readonly packages: Plan;
  readonly files: readonly KeptFile[];
}

/** Takes a removal back, and with a purge the configuration as it was: dpkg would bring back that of the package. */
export function withConfiguration<Input extends { readonly purge?: boolean }, Plan>(
  { apt, root }: { readonly apt: Apt; readonly root: string },
  removal: Undo<Input, object, Plan>,
  namesOf: (input: Input, signal: AbortSignal) => Promise<readonly string[]>,
): Undo<Input, object, PurgePlan<Plan>> {
  return {
    prepare: async (call, backups) => {
      const names = call.input.purge === true ? await namesOf(call.input, call.signal) : [];
      const files = names.length === 0 ? [] : await keep(apt, root, names, backups, { signal: call.signal });
      return { packages: await removal.prepare(call, backups), files };
    },
    restore: async ({ packages, files }, call) => {
      await removal.restore(packages, call);
      for (const { path, mode, backup } of files) {
        const content = await call.backups.load(backup);
        await placeFile(await resolvePath(path), content, call.executionId, mode);
        if (!(content instanceof Uint8Array)) await content.close();
      }
    },
    ...(removal.settle !== undefined && {
      settle: async ({ packages }, call) => removal.settle?.(packages, call),
    }),
  };
}

async function keep(apt: Apt, root: string, names: readonly string[], backups: Backups, options: ProgramOptions) {
  // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholder.
  const said = await apt.run(["dpkg-query", "--show", "--showformat=${Conffiles}\\n", "--", ...names], options);
  const paths = [...said.matchAll(/^ (\/\S+) [0-9a-f]{32}$/gm)].map(([, path]) => `${root}${path}`);
  if (paths.length > filesMax) {
    const reason = `it has ${paths.length} configuration files, and at most ${filesMax} are kept`;
    throw new AiosError("FAILED_PRECONDITION", { act: "purge", object: names.join(", "), reason });
  }
  const kept: KeptFile[] = [];
  for (const [at, path] of paths.entries()) {
    const found = await stat(path).catch((error: unknown) => {
      if (errnoOf(error) === "ENOENT") return undefined;
      throw error;
    });
    // Removed by hand, or a link to something else: not the package's any more.
    if (!found?.isFile()) continue;
    await using file = await open(path);
    await backups.save(`configuration-${at}`, file, path);
    kept.push({ path, mode: found.mode & 0o7777, backup: `configuration-${at}` });
  }
  return kept;
}
