import { build } from "esbuild";
import { describe, expect, it } from "vitest";
import { socketPath } from "#lib/sockets";
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
  ...["execute /bin/sh", "execute /usr/bin/setpriv", "execute /usr/bin/busybox", "ring x"],
  ...[`list ${layout.state}/ledger`, `list ${layout.state}/memory`, `list ${layout.log}`],
  ...["list /home", "list /root", "read /proc/1/environ", "read /proc/1/mem"],
  ...["write /tmp/x", "write /etc/x", "write /usr/x", `write ${layout.run}/x`, `write ${layout.run}/dhcp-event`],
  ...[`write ${layout.run}/config.json`, `write ${layout.run}/tools/console/x`, `write ${layout.state}/models/x`],
];
const own = {
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
      const [program, out] = ["/srv/attempts.cjs", "/srv/reach.json"];
      await look.call("fs.write", { path: program, content: outputFiles[0]?.text ?? "" });
      await look.call("service.define", {
        ...{ name: "attempts", restart: "never", start: true },
        argv: [layout.node, program, model, out, ...attempts],
      });
      await expect.poll(() => look.exists(out), { timeout: 60_000, interval: 200 }).toBe(true);
      ({ tried, running } = JSON.parse(await look.content(out)));
    }, 180_000);

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
      for (const name of ["aios-gateway", "aios-console"] as const) {
        const { uid } = users[name];
        expect(running.filter((one) => one.uid === uid)).toEqual([{ uid, ...held }]);
      }
      // The runtime and its one worker have an account together.
      const { uid } = users["aios-runtime"];
      expect(running.filter((one) => one.uid === uid && one.filter === "2")).toEqual([{ uid, ...held }]);
    });
  });
}
