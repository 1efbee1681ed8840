import { randomUUID } from "node:crypto";
import { writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { executionHeader, withdrawHeader } from "#lib/rpc/service";
import { type Machine, requestOf, startMachine } from "../testing/harness.ts";

const hourMs = 3_600_000;
let clock: ManualClock;
let machine: Machine;

beforeEach(async () => {
  clock = new ManualClock();
  machine = await startMachine({ clock });
  const capabilities = ["monitor:read", "sec:read", `fs:read:${machine.folder}/**`];
  await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r", duration_seconds: 86_400 });
});
afterEach(() => machine.close());

const look = (tool = "monitor.memory", input = {}, more = {}) => machine.agent("task").call(tool, input, more);
const refused = () => look("fs.read", { path: "/etc/passwd" }).catch((error) => error.code);

interface Told {
  readonly state: string;
  readonly tool: string;
  readonly output: string;
  readonly execution_id: string;
}

/** What the ledger tells of the agent, the oldest first. */
async function told(): Promise<readonly Told[]> {
  const { output } = await machine.core.call("sec.audit", { agent_id: "task", limit: 500 });
  return output.entries.reverse();
}
const states = async () => (await told()).map(({ tool, state }) => `${tool} ${state}`);

describe("a call that an agent repeats", () => {
  it("is written once, counted after, and the count is an entry each hour", async () => {
    for (let made = 0; made < 50; made += 1) await look();
    expect(await states()).toEqual(["monitor.memory done"]);
    await clock.advance(hourMs);
    const [first, repeats] = await told();
    expect(repeats).toMatchObject({ state: "repeated", tool: "monitor.memory", execution_id: first?.execution_id });
    expect(JSON.parse(repeats?.output ?? "")).toMatchObject({ count: 49 });
    await clock.advance(hourMs);
    expect(await told()).toHaveLength(2);
  });

  it("grows the ledger by less than a tenth of what two entries a call would", async () => {
    const before = (await machine.core.call("sec.verify_ledger")).output.entries;
    // Four hours of looking every minute, one of them from a moment that moves on.
    for (let minute = 0; minute < 240; minute += 1) {
      await look();
      await look("sec.audit", { since: clock.now(), limit: 1 });
      await clock.advance(60_000);
    }
    const after = (await machine.core.call("sec.verify_ledger")).output.entries;
    expect(after - before).toBeLessThan((240 * 2 * 2) / 10);
  });

  it("is in full again when it ends otherwise, and a day later", async () => {
    const path = `${machine.folder}/f`;
    const read = () => look("fs.read", { path });
    writeFileSync(path, "x");
    await read();
    await read();
    writeFileSync(path, Buffer.from([0xff]));
    await read();
    await read();
    expect(await states()).toEqual(["fs.read done", "fs.read failed", "fs.read repeated"]);
    await clock.advance(24 * hourMs);
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: [`fs:read:${path}`], reason: "r" });
    await read();
    expect((await states()).at(-1)).toBe("fs.read failed");
    expect((await told()).filter(({ state }) => state === "failed")).toHaveLength(2);
  });

  it("is another with another input, reason or task, and for a task each one is written", async () => {
    const path = `${machine.folder}/f`;
    writeFileSync(path, "x");
    for (let made = 0; made < 2; made += 1) {
      await look();
      await look("monitor.memory", {}, { reason: "another" });
      await look("monitor.memory", {}, { taskId: "t" });
      await look("fs.read", { path });
    }
    expect((await told()).filter(({ state }) => state === "done")).toHaveLength(5);
  });

  it("is written each time that it has an id to be asked for by", async () => {
    for (const digit of ["1", "2"]) {
      const headers = { [executionHeader]: `0193cccc-0000-7000-8000-00000000000${digit}` };
      await machine.agent("task").raw.execute(requestOf("monitor.memory", {}), { headers });
    }
    expect(await states()).toEqual(["monitor.memory done", "monitor.memory done"]);
  });

  it("is counted at the daemon's end, and what people and daemons do is never counted", async () => {
    for (let made = 0; made < 3; made += 1) {
      await look();
      await machine.core.call("monitor.memory");
      await machine.operator.call("monitor.memory");
    }
    await machine.restart();
    const [, repeats] = await told();
    expect(JSON.parse(repeats?.output ?? "{}")).toMatchObject({ count: 2 });
    for (const agent_id of ["orchestrator", "alice"])
      expect((await machine.core.call("sec.audit", { agent_id, tool_name: "monitor.memory" })).output.total).toBe(3);
    expect((await machine.core.call("sec.verify_ledger")).output.valid).toBe(true);
  });

  it("that is refused is written once and counted after", async () => {
    for (let made = 0; made < 20; made += 1) expect(await refused()).toBe("PERMISSION_DENIED");
    expect(await states()).toEqual(["fs.read refused"]);
    await machine.restart();
    expect(await states()).toEqual(["fs.read refused", "fs.read repeated"]);
  });
});

it("what is refused for its number is not written, and refused calls have a limit", async () => {
  await withTenRefusals();
  const codes: string[] = [];
  for (let made = 0; made < 30; made += 1)
    codes.push(await look("fs.read", { path: `/etc/${made}` }).catch((error) => error.code));
  expect(codes.filter((code) => code === "PERMISSION_DENIED")).toHaveLength(10);
  expect(codes.filter((code) => code === "RESOURCE_EXHAUSTED")).toHaveLength(20);
  expect(await told()).toHaveLength(10);
});

/** An agent's ways to an entry of the ledger without a grant, beside calls of tools. */
const ways: Readonly<Record<string, () => Promise<unknown>>> = {
  "adding a tool": () => machine.agent("task").raw.register({ tool: undefined, handlerAddress: "unix:/x" }),
  "taking a tool away": () => machine.agent("task").raw.deregister({ toolName: "x.y" }),
  "withdrawing what was never asked": () => {
    const headers = { [executionHeader]: randomUUID(), [withdrawHeader]: "yes" };
    return machine.agent("task").raw.execute(requestOf("monitor.memory", {}), { headers });
  },
  "taking back what another did": async () => {
    const { executionId } = await machine.operator.call("monitor.memory");
    return machine.agent("task").raw.rollback({ executionId, reason: "r" });
  },
};

it.each(Object.entries(ways))("%s is written no more often than calls are refused", async (_, way) => {
  await withTenRefusals();
  const codes: string[] = [];
  for (let made = 0; made < 13; made += 1) codes.push(await way().then(String, (error) => error.code));
  expect(codes.slice(10)).toEqual(Array(3).fill("RESOURCE_EXHAUSTED"));
  expect(new Set(codes).size).toBe(2);
  expect(await told()).toHaveLength(10);
});

it("a call is withdrawn in as many words as one is made in", async () => {
  const headers = { [executionHeader]: randomUUID(), [withdrawHeader]: "yes" };
  const request = { ...requestOf("monitor.memory", {}), reason: "x".repeat(100_000) };
  await expect(machine.agent("task").raw.execute(request, { headers })).rejects.toThrow("reason is longer than 1024");
  expect(await told()).toEqual([]);
});

/** The machine with a policy that counts to ten. */
async function withTenRefusals(): Promise<void> {
  machine.close();
  const limits = "[limits.global]\n[limits.agent]\ncalls = 10\n";
  const policy = `[approval]\nfull = []\nsupervised = []\nmanual = []\ntimeout = "120s"\npending_per_agent_max = 5\n${limits}[redaction]\nkeys = ["password"]\n`;
  machine = await startMachine({ clock, policy });
}
