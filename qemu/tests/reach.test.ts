import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { socketPath } from "#lib/rpc/sockets";
import { layout, users } from "#manifest";
import { calls, type held } from "#reach";
import { type Probe, probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import { expectAllAgents, laneRuns, useFleet } from "./fleet.ts";

const model = "/usr/share/aios/models/aios-bringup.gguf";
const sockets = Object.entries(calls).flatMap(([peer, called]) =>
  called.map((daemon) => ({ peer, daemon, attempt: `connect ${socketPath(layout.run, daemon, peer)}` })),
);
const agentSocket = (agent: string) => `connect ${layout.run}/agents/${agent}/tools.sock`;

/** In no process' table. */
const nobodys = [
  ...["execute /bin/sh", "execute /usr/bin/busybox", "ring x"],
  ...[`list ${layout.state}/ledger`, `list ${layout.state}/orchestrator`, `list ${layout.log}`],
  ...["list /root", "read /proc/1/environ", "read /proc/1/mem", "set /proc/1/oom_score_adj"],
  ...["write /tmp/x", "write /etc/x", "write /usr/x", `write ${layout.run}/x`, `write ${layout.run}/dhcp-event`],
  ...[`write ${layout.run}/config.json`, `write ${layout.run}/tools/console/x`],
];
const own = {
  runtime: [`write ${layout.state}/runtime/tried`, `write ${layout.state}/models/tried`, "list /home"],
  memory: [`list ${layout.state}/memory`, `write ${layout.state}/memory/tried`],
  "memory-vectors": [`list ${layout.state}/vectors`, `write ${layout.state}/vectors/tried`],
  starters: ["execute /usr/bin/setpriv"],
  runtimes: ["execute /usr/bin/prlimit", "set /proc/self/oom_score_adj"],
  gateway: [`list ${layout.state}/gateway`, `write ${layout.state}/gateway/tried`],
  console: [`list ${layout.state}/console`, `write ${layout.run}/console/own/tried`],
};
const others = ["port 9090", "read /etc/passwd", `read ${layout.run}/config.json`, `read ${model}`];
const attempts = [
  ...nobodys,
  ...Object.values(own).flat(),
  ...others,
  ...[agentSocket("dev"), agentSocket("system")],
  ...sockets.map(({ attempt }) => attempt),
];

/** What each process' table gives it, of all attempts. */
const given: Readonly<Record<keyof typeof held, readonly string[]>> = {
  runtime: [...own.runtime, ...own.starters, ...own.runtimes, ...others, ...socketsOf("runtime")],
  memory: [...own.memory, ...own.starters, ...own["memory-vectors"], ...others, ...socketsOf("memory")],
  // Its account is the memory's: what is open to that by a file's mode is open to it.
  "memory-vectors": [...own["memory-vectors"], "port 9090", ...socketsOf("memory")],
  gateway: [...own.gateway, ...others, ...socketsOf("gateway")],
  console: [...own.console, ...others, ...socketsOf("console")],
  agents: [agentSocket("dev"), "read /etc/passwd", `read ${layout.run}/config.json`, `read ${model}`],
  "runtime-worker": [`read ${model}`],
  "runtime-probe": [],
};

/** A daemon's own are open to it, too: it listens there. */
function socketsOf(name: string): string[] {
  return sockets.filter(({ peer, daemon }) => peer === name || daemon === name).map(({ attempt }) => attempt);
}

for (const lane of ["native", "qemu"] as const) {
  describe.runIf(laneRuns(lane))(`what is in no table, in a machine of the ${lane} lane`, () => {
    const fleet = useFleet();
    let machine: Machine;
    let look: Probe;
    let tried: Record<string, Record<string, string>>;
    let running: { uid: number; noNewPrivileges: string; filter: string; capabilities: string }[];

    it("is tried as each process in turn", async () => {
      machine = await fleet.boot({ lane, name: `reach-${lane}` });
      await expectAllAgents(machine);
      look = probe(machine);
      const entryPoints = [new URL("../reach/attempts.ts", import.meta.url).pathname];
      const options = { bundle: true, platform: "node", format: "cjs", write: false, logLevel: "error" } as const;
      const { outputFiles } = await build({ ...options, entryPoints });
      const [program, list, out] = ["/srv/attempts.cjs", "/srv/attempts.json", "/srv/reach.json"];
      await look.call("fs.write", { path: program, content: outputFiles[0]?.text ?? "" });
      await look.call("fs.write", { path: list, content: JSON.stringify(attempts) });
      await look.call("service.define", {
        ...{ name: "attempts", restart: "never", start: true },
        argv: [layout.node, program, model, list, out],
      });
      await expect.poll(() => look.exists(out), { timeout: 240_000, interval: 200 }).toBe(true);
      ({ tried, running } = JSON.parse(await look.content(out)));
    }, 600_000);

    it.each(Object.entries(given))("%s: what the table gives works, the rest is refused", (name, gives) => {
      const found = Object.entries(tried[name] ?? {});
      expect(found).toHaveLength(new Set(attempts).size);
      const works = found.filter(([, result]) => result === "ok").map(([attempt]) => attempt);
      expect(works.sort()).toEqual([...new Set(gives)].sort());
    });

    it("is refused by the kernel, not for want of what is tried", () => {
      const refusals = ["EACCES", "EPERM", "EAFNOSUPPORT"];
      for (const [name, all] of Object.entries(tried)) {
        const others = Object.entries(all).filter(([, result]) => result !== "ok" && !refusals.includes(result));
        expect([name, others]).toEqual([name, []]);
      }
    });

    it("holds the processes that run", () => {
      const held = { noNewPrivileges: "1", filter: "2", capabilities: "0000000000000000" };
      const others = running.filter(({ uid, filter }) => uid !== 0 && filter !== "2");
      expect(others).toEqual([]);
      for (const name of ["aios-gateway", "aios-console"] as const) {
        const { uid } = users[name];
        expect(running.filter((one) => one.uid === uid)).toEqual([{ uid, ...held }]);
      }
      // The runtime and its one worker have an account together, memory and its vector server as well.
      for (const name of ["aios-runtime", "aios-memory"] as const) {
        const { uid } = users[name];
        const all = running.filter((one) => one.uid === uid);
        expect(all.length).toBeGreaterThan(0);
        for (const one of all) expect(one).toEqual({ uid, ...held });
      }
    });
  });
}
