import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { approvalHeader } from "#lib/service";
import { type Answer, type Machine, requestOf, startMachine } from "./harness.ts";

let machine: Machine;
let work: string;

async function start(more: Parameters<typeof startMachine>[0] = {}): Promise<void> {
  machine = await startMachine({ autonomy: "manual", ...more });
  work = `${machine.folder}/work`;
  mkdirSync(work);
  const capabilities = ["read", "write", "append", "delete"].map((action) => `fs:${action}:${work}/**`);
  await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r", duration_seconds: 3600 });
}

beforeEach(() => start());
afterEach(() => machine.close());

const ask = (name = "f", content = "new\n"): Promise<Answer> => {
  const asked = machine.agent("task").call("fs.write", { path: `${work}/${name}`, content });
  asked.catch(() => {});
  return asked;
};

// biome-ignore lint/suspicious/noExplicitAny: tests look into whatever a tool gave back
async function waiting(count = 1): Promise<any[]> {
  for (;;) {
    const { output } = await machine.operator.call("sec.approvals");
    if (output.waiting.length >= count) return output.waiting;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

const decide = (tool: "sec.approve" | "sec.deny", id: string, more = {}) =>
  machine.operator.call(tool, { id, ...more });

describe("a call that needs a person", () => {
  it("waits with its diff and undo, is carried out when it is approved, and can be rolled back", async () => {
    writeFileSync(`${work}/f`, "a\nb\nc\n");
    const asked = ask("f", "a\nB\nc\n");
    const [ticket] = await waiting();
    expect(ticket).toMatchObject({
      agent_id: "task",
      tool: "fs.write",
      risk: "medium",
      capabilities: [`fs:write:${work}/f`],
      preview: `--- ${work}/f\n+++ ${work}/f\n@@ -1,3 +1,3 @@\n a\n-b\n+B\n c`,
      undo: expect.stringContaining("rollback"),
    });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("a\nb\nc\n");
    expect((await decide("sec.approve", ticket.id)).output).toMatchObject({ success: true, execution_id: ticket.id });
    expect(await asked).toMatchObject({ success: true, executionId: ticket.id });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("a\nB\nc\n");
    await machine.core.raw.rollback({ executionId: ticket.id, reason: "" });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("a\nb\nc\n");
  });

  it("is refused when it is denied, and the ledger says by whom and why", async () => {
    const asked = ask();
    const [{ id }] = await waiting();
    expect(await decide("sec.deny", id, { reason: "not today" })).toMatchObject({ success: true });
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: /alice denied it: not today/ });
    const { output } = await machine.core.call("sec.audit", { tool_name: "fs.write" });
    expect(output.entries[0]).toMatchObject({ execution_id: id, state: "refused", error: /alice denied it/ });
    expect(existsSync(`${work}/f`)).toBe(false);
  });

  it("is refused when nobody answers in 120 s", async () => {
    machine.close();
    const clock = new ManualClock();
    await start({ clock });
    const asked = ask();
    await waiting();
    await clock.advance(119_999);
    expect(await waiting()).toHaveLength(1);
    await clock.advance(1);
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: /nobody answered in time/ });
    expect((await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
  });

  it("cannot be approved twice, nor after a denial", async () => {
    writeFileSync(`${work}/count`, "");
    const asked = machine.agent("task").call("fs.append", { path: `${work}/count`, content: "x" });
    const [{ id }] = await waiting();
    const both = await Promise.all([decide("sec.approve", id), decide("sec.approve", id), decide("sec.deny", id)]);
    expect(both.filter(({ success }) => success)).toHaveLength(1);
    await asked;
    expect((await decide("sec.approve", id)).error).toContain("no such call waits");
    await machine.restart();
    expect((await decide("sec.approve", id)).error).toContain("no such call waits");
    expect(readFileSync(`${work}/count`, "utf8")).toBe("x");
  });

  it("outlives the daemon, and is carried out once when it is approved after", async () => {
    const asked = ask();
    const [{ id }] = await waiting();
    await machine.restart();
    await expect(asked).rejects.toThrow();
    expect(await waiting()).toMatchObject([{ id }]);
    expect((await decide("sec.approve", id)).output).toMatchObject({ success: true });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("new\n");
    await machine.restart();
    expect((await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
    expect((await machine.core.call("sec.verify_ledger")).output.valid).toBe(true);
  });

  it("whose time ended while the daemon was away is refused", async () => {
    machine.close();
    let offset = 0;
    await start({ clock: { ...systemClock, now: () => Date.now() + offset } });
    const asked = ask();
    const [{ id }] = await waiting();
    offset = 121_000;
    await machine.restart();
    await expect(asked).rejects.toThrow();
    await expect.poll(async () => (await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
    const { output } = await machine.core.call("sec.audit", { tool_name: "fs.write" });
    expect(output.entries[0]).toMatchObject({ execution_id: id, state: "refused" });
  });

  it("is not carried out when what it would change is no longer what was shown", async () => {
    writeFileSync(`${work}/f`, "shown\n");
    const asked = ask();
    const [{ id }] = await waiting();
    writeFileSync(`${work}/f`, "other\n");
    expect((await decide("sec.approve", id)).error).toContain("no longer what was shown");
    await expect(asked).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("other\n");
  });

  it("is not carried out elsewhere when a link is swapped while it waits", async () => {
    mkdirSync(`${work}/a`);
    mkdirSync(`${work}/b`);
    symlinkSync(`${work}/a`, `${work}/link`);
    const asked = ask("link/f");
    const [{ id, capabilities }] = await waiting();
    expect(capabilities).toEqual([`fs:write:${work}/a/f`]);
    rmSync(`${work}/link`);
    symlinkSync(`${work}/b`, `${work}/link`);
    expect((await decide("sec.approve", id)).success).toBe(false);
    await expect(asked).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(existsSync(`${work}/b/f`)).toBe(false);
  });

  it("is not carried out when its grant has ended", async () => {
    const asked = ask();
    const [{ id }] = await waiting();
    await machine.core.call("sec.revoke", { agent_id: "task", revoke_all: true });
    expect((await decide("sec.approve", id)).error).toContain("holds no grant");
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("waits with at most four others of its agent, and the same call is asked once", async () => {
    const asked = Array.from({ length: 5 }, (_, at) => ask(`f${at}`));
    const tickets = await waiting(5);
    await expect(ask("one-too-many")).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED", message: /5 calls of task/ });
    const again = ask("f0");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await waiting(5)).toHaveLength(5);
    for (const { id } of tickets) await decide("sec.approve", id);
    const [first] = await Promise.all(asked);
    expect((await again).executionId).toBe(first?.executionId);
  });

  it("is shown without its secrets, and carried out with them", async () => {
    const asked = ask("f", 'password = "hunter2"\n');
    const [ticket] = await waiting();
    expect(JSON.stringify(ticket)).not.toContain("hunter2");
    await decide("sec.approve", ticket.id);
    await asked;
    expect(readFileSync(`${work}/f`, "utf8")).toContain("hunter2");
    expect(JSON.stringify((await machine.core.call("sec.audit")).output)).not.toContain("hunter2");
  });

  it("is decided by operators, not by agents or daemons", async () => {
    ask();
    const [{ id }] = await waiting();
    for (const caller of [machine.agent("task"), machine.agent("system"), machine.core]) {
      await expect(caller.call("sec.approve", { id })).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    }
    expect(existsSync(`${work}/f`)).toBe(false);
  });
});

describe("who is asked", () => {
  it("goes by risk and level: reading never, changes by operators and daemons never", async () => {
    writeFileSync(`${work}/f`, "x");
    expect(await machine.agent("task").call("fs.read", { path: `${work}/f` })).toMatchObject({ success: true });
    for (const caller of [machine.core, machine.operator])
      expect(await caller.call("fs.write", { path: `${work}/f`, content: "" })).toMatchObject({ success: true });
  });

  it("a machine that is autonomous asks for what is critical alone", async () => {
    machine.close();
    await start({ autonomy: "full" });
    expect(await ask()).toMatchObject({ success: true });
    machine.close();
    await start({ autonomy: "supervised" });
    expect(await ask()).toMatchObject({ success: true });
    const removal = machine.agent("task").call("fs.delete", { path: `${work}/f` });
    const [{ id }] = await waiting();
    expect(existsSync(`${work}/f`)).toBe(true);
    await decide("sec.approve", id);
    expect(await removal).toMatchObject({ success: true });
  });
});

describe("a grant that asks a person", () => {
  const capabilities = () => ["read", "write"].map((action) => `fs:${action}:${work}/asked`);
  const grant = (more: object) =>
    machine.core.call("sec.grant", { agent_id: "system", capabilities: capabilities(), reason: "r", ...more });
  const call = (
    tool: string,
    input: object,
    taskId: string,
    onTold?: (header: (name: string) => string | undefined) => void,
  ) =>
    machine
      .agent("system")
      .raw.execute(requestOf(tool, input, { taskId }), { timeoutMs: 15_000, ...(onTold && { onTold }) });

  beforeEach(async () => {
    machine.close();
    await start({ autonomy: "full" });
    writeFileSync(`${work}/asked`, "before");
    await grant({ task_id: "t", ask: true });
  });

  it("lets what only reads through, and tells the caller of a change which approval it waits for", async () => {
    expect((await call("fs.read", { path: `${work}/asked` }, "t")).success).toBe(true);
    const told = Promise.withResolvers<string | undefined>();
    const asked = call("fs.write", { path: `${work}/asked`, content: "after" }, "t", (header) =>
      told.resolve(header(approvalHeader)),
    );
    const [{ id, task_id }] = await waiting();
    expect(await told.promise).toBe(id);
    expect(task_id).toBe("t");
    expect(readFileSync(`${work}/asked`, "utf8")).toBe("before");
    await decide("sec.approve", id);
    expect((await asked).success).toBe(true);
    expect(readFileSync(`${work}/asked`, "utf8")).toBe("after");
  });

  it("is for calls of its own task alone", async () => {
    for (const task of ["", "other"]) {
      await expect(call("fs.write", { path: `${work}/asked`, content: "x" }, task)).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
      });
    }
    expect(await grant({ ask: true })).toMatchObject({
      success: false,
      error: expect.stringContaining("no task is named"),
    });
  });
});
