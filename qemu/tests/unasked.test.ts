import { describe, expect, it } from "vitest";
import { AiosError } from "#lib/errors";
import { connect } from "#lib/rpc/client";
import { approvalHeader } from "#lib/rpc/service";
import { worstInputs } from "#lib/testing/worst";
import { layout } from "#manifest";
import { AutonomyService } from "#proto/aios/autonomy";
import { InitService, UnitState } from "#proto/aios/init";
import { ToolRegistryService } from "#proto/aios/tools";
import { drawing, oneOf } from "../faults/drawing.ts";
import { socketsOf } from "../faults/sockets.ts";
import { verifyLedger } from "../goal.ts";
import { type Probe, probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import { expectAllAgents, type FleetSpec, laneRuns, useFleet } from "./fleet.ts";

/** One machine's calls; another sequence by AIOS_SEED. */
const count = 200;
const seed = Number(process.env["AIOS_SEED"] ?? Date.now() % 1_000_000);
const inFlight = 4;
const callTimeoutMs = 5_000;

const unknown = { id: "01890000-0000-7000-8000-000000000000", digest: "0".repeat(64) };

interface Call {
  readonly tool: string;
  readonly input: object;
}

/** What agents do every day, in places where it matters. */
const ordinary: readonly Call[] = [
  ...["/srv/a", "/etc/hosts", "/etc/hostname", "/etc/motd", "/var/lib/x/y", "/home/a", "/tmp/x", "/opt/a/b"].flatMap(
    (path) => [
      { tool: "fs.write", input: { path, content: "x\n" } },
      { tool: "fs.append", input: { path, content: "y\n" } },
      { tool: "fs.chmod", input: { path, mode: "0000" } },
      { tool: "fs.chown", input: { path, uid: 65_534, gid: 65_534 } },
      { tool: "fs.delete", input: { path, recursive: true } },
      { tool: "fs.move", input: { source: path, destination: "/srv/moved", overwrite: true } },
      { tool: "backup.create", input: { path } },
    ],
  ),
  ...[
    "/etc/resolv.conf",
    "/etc/services",
    "/etc/os-release",
    "/etc/protocols",
    "/etc/hosts",
    "/srv",
    "/var/log",
  ].flatMap((path) => [
    { tool: "fs.delete", input: { path, recursive: true } },
    { tool: "fs.move", input: { source: path, destination: `/srv/${path.length}` } },
  ]),
  ...["memory", "console", "gateway", "runtime"].map((name) => ({ tool: "service.restart", input: { name } })),
  {
    tool: "service.define",
    input: { name: "walker", argv: ["/usr/bin/busybox", "sleep", "600"], enabled: true, start: true },
  },
  { tool: "service.define", input: { name: "broken", argv: ["/nowhere"], enabled: true, start: true } },
  { tool: "service.stop", input: { name: "walker" } },
  { tool: "process.spawn", input: { command: "/usr/bin/busybox", args: ["sleep", "60"] } },
  { tool: "storage.mount", input: { path: "/srv/a", type: "tmpfs" } },
  { tool: "git.init", input: { path: "/srv/repository" } },
  { tool: "git.add", input: { path: "/srv/repository" } },
  { tool: "monitor.watchlist_add", input: { service: "walker" } },
  { tool: "alert.raise", input: { severity: "warning", title: "a walk" } },
];

/**
 * The kernel of a native machine is its host's: what would set it is left to the gate's own tests, which see it refused. The
 * folders are read-only there besides.
 */
const hostsOwn = /"\/(proc\/sys|sys|dev)\b/;

describe.runIf(laneRuns("native"))("whatever agents do unasked", () => {
  const fleet = useFleet();
  const spec: FleetSpec = { lane: "native", name: "unasked" };
  let machine: Machine;

  const grantAll = async (look: Probe, agent: string) => {
    const tools = machine.client(ToolRegistryService);
    const { tools: all } = await tools.listTools({ namespace: "" });
    tools.close();
    const more = ["service:run:/**", "process:network", "process:end:/**", "net:local:127.0.0.1", "git:remote:**"];
    const needed = new Set(all.flatMap(({ requiredCapabilities }) => requiredCapabilities.map(widest)).concat(more));
    const capabilities = [...needed];
    for (let at = 0; at < capabilities.length; at += 60) {
      const some = { agent_id: agent, capabilities: capabilities.slice(at, at + 60), duration_seconds: 3_600 };
      await look.call("sec.grant", { ...some, reason: "the test of what is unasked" });
    }
  };

  it(`leaves a machine that boots to autonomy (seed ${seed})`, async () => {
    machine = await fleet.boot(spec);
    await expectAllAgents(machine);
    const autonomy = machine.client(AutonomyService);
    await autonomy.setAutonomy({ level: "full" });
    autonomy.close();
    const look = probe(machine);
    for (const agent of ["task", "system"]) await grantAll(look, agent);
    const ground = { run: layout.run, state: layout.state, etc: layout.etc, work: "/srv/work" };
    const worst = Object.entries(worstInputs(ground, unknown)).flatMap(([tool, inputs]) =>
      inputs.map(({ input }) => ({ tool, input })),
    );
    const calls = [worst.filter((call) => !hostsOwn.test(JSON.stringify(call))), ordinary];
    const random = drawing(seed);
    const answers = new Map<string, number>();
    let made = 0;
    const work = async () => {
      while (made < count) {
        made += 1;
        const answer = await asAgent(
          machine,
          look,
          oneOf(["task", "system"], random),
          oneOf(oneOf(calls, random), random),
        );
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, work));
    look.close();
    console.error(`unasked: seed ${seed}: ${[...answers].map(([answer, times]) => `${answer} ${times}`).join(", ")}`);
    expect(answers.get("done") ?? 0).toBeGreaterThan(count / 10);
    await machine.reached(60_000);
    await machine.powerOff();
    machine = await fleet.boot(spec);
    await expectAllAgents(machine);
    const init = machine.client(InitService);
    const { units } = await init.listUnits({});
    init.close();
    const daemons = units.filter(({ managed }) => !managed);
    expect(
      daemons.filter(({ state }) => state !== UnitState.UNIT_READY).map(({ name, reason }) => `${name}: ${reason}`),
    ).toEqual([]);
    expect(await verifyLedger(machine)).toMatchObject({ valid: true, problems: [] });
  }, 300_000);
});

/** The widest grant of what a tool needs. */
function widest(template: string): string {
  const path = /\{(path|source|destination|target|directory|archive|device|command)\}/;
  return template.replace(path, "/**").replace(/\{\w+\}/g, "**");
}

/** Makes a call through an agent's own socket. What waits for a person is denied: what agents do unasked is looked at. */
async function asAgent(machine: Machine, look: Probe, agent: string, { tool, input }: Call): Promise<string> {
  const own = socketsOf(machine).find(({ name }) => name === `agents/${agent}/tools.sock`);
  if (own === undefined) return "no socket";
  const client = connect(ToolRegistryService, `unix:${own.path}`);
  const inputJson = Buffer.from(JSON.stringify(input));
  const request = { toolName: tool, agentId: "", taskId: "", inputJson, reason: "the test of what is unasked" };
  let denied: Promise<unknown> = Promise.resolve();
  const onTold = (header: (name: string) => string | undefined) => {
    const id = header(approvalHeader);
    if (id !== undefined) denied = look.call("sec.deny", { id }).catch(() => {});
  };
  try {
    return (await client.execute(request, { timeoutMs: callTimeoutMs, onTold })).success ? "done" : "failed";
  } catch (error) {
    return error instanceof AiosError ? error.code : "INTERNAL";
  } finally {
    await denied;
    client.close();
  }
}
