/*
 * Run by root inside a machine: becomes each process of the table in turn, as whoever starts it would, and tries what the table
 * gives and what it does not. Writes JSON: `tried`, by process, by attempt, "ok" or the errno's name; `running`, what holds the
 * machine's own processes.
 */
import { spawnSync } from "node:child_process";
import { readdirSync, readFileSync, writeFileSync } from "node:fs";
import { type Confinement, confined } from "#lib/linux/confinement";
import { layout, users } from "#manifest";
import { type Held, held } from "#reach";
import { inside } from "./inside.ts";

/** An attempt: "read /etc/shadow", "connect /run/…/socket", "port 9090", "execute /bin/sh", "write /tmp/x". */
type Attempt = string;

const [model = "", list = "", out = ""] = process.argv.slice(2);
const attempts: readonly Attempt[] = JSON.parse(readFileSync(list, "utf8"));
const agent = `${layout.run}/agents/dev`;

const processes: Readonly<Record<keyof typeof held, Partial<Confinement>>> = {
  runtime: { account: users["aios-runtime"] },
  memory: { account: users["aios-memory"] },
  // Its parent is the memory, whose account it has.
  "memory-vectors": { account: users["aios-memory"] },
  gateway: { account: users["aios-gateway"] },
  console: { account: users["aios-console"] },
  agents: { account: users["aios-agent-dev"], listens: [agent] },
  // Their parent is the runtime, whose account they have.
  "runtime-worker": { account: users["aios-runtime"], reads: [...held["runtime-worker"].reads, model] },
  "runtime-probe": { account: users["aios-runtime"] },
};

const results = Object.entries(processes).map(([name, own]) => {
  const holding: Held = held[name as keyof typeof held];
  const words = [layout.node, "-e", `(${inside})(${JSON.stringify(attempts)})`] as const;
  const [program, ...args] = confined(words, { ...holding, ...own }, layout.run);
  const { stdout, stderr } = spawnSync(program, args, { encoding: "utf8", timeout: 60_000, cwd: "/" });
  return [name, stdout === "" ? stderr : JSON.parse(stdout)] as const;
});
/** What holds a process that runs, by its account. */
const running = readdirSync("/proc")
  .filter((name) => /^\d+$/.test(name))
  .flatMap((pid) => {
    try {
      const status = readFileSync(`/proc/${pid}/status`, "utf8");
      const field = (name: string) => new RegExp(`^${name}:\\s+(\\w+)`, "m").exec(status)?.[1] ?? "";
      const [uid, noNewPrivileges, filter, capabilities] = ["Uid", "NoNewPrivs", "Seccomp", "CapPrm"].map(field);
      return [{ uid: Number(uid), noNewPrivileges, filter, capabilities }];
    } catch {
      // It has ended meanwhile.
      return [];
    }
  });
writeFileSync(out, JSON.stringify({ tried: Object.fromEntries(results), running }), { mode: 0o644 });
