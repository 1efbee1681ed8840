import { existsSync, mkdirSync, readFileSync, rmSync, symlinkSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { approvalHeader, executionHeader, withdrawHeader } from "#lib/rpc/service";
import { type Answer, type Machine, requestOf, startMachine } from "../testing/harness.ts";

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

type Ticket = { readonly id: string; readonly digest: string };

const approve = ({ id, digest }: Ticket) => machine.operator.call("sec.approve", { id, digest });

const deny = (id: string, more = {}) => machine.operator.call("sec.deny", { id, ...more });

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
    expect((await approve(ticket)).output).toMatchObject({ success: true, execution_id: ticket.id });
    expect(await asked).toMatchObject({ success: true, executionId: ticket.id });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("a\nB\nc\n");
    await machine.core.raw.rollback({ executionId: ticket.id, reason: "" });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("a\nb\nc\n");
  });

  it("is refused when it is denied, and the ledger says by whom and why", async () => {
    const asked = ask();
    const [ticket] = await waiting();
    expect(await deny(ticket.id, { reason: "not today" })).toMatchObject({ success: true });
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: /alice denied it: not today/ });
    const { output } = await machine.core.call("sec.audit", { tool_name: "fs.write" });
    expect(output.entries[0]).toMatchObject({ execution_id: ticket.id, state: "refused", error: /alice denied it/ });
    expect(existsSync(`${work}/f`)).toBe(false);
  });

  it("is refused when nobody answers for a day", async () => {
    machine.close();
    const clock = new ManualClock();
    await start({ clock });
    const asked = ask();
    await waiting();
    await clock.advance(86_399_999);
    expect(await waiting()).toHaveLength(1);
    await clock.advance(1);
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED", message: /nobody answered in time/ });
    expect((await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
  });

  it("cannot be approved twice, nor after a denial", async () => {
    writeFileSync(`${work}/count`, "");
    const asked = machine.agent("task").call("fs.append", { path: `${work}/count`, content: "x" });
    const [ticket] = await waiting();
    const both = await Promise.all([approve(ticket), approve(ticket), deny(ticket.id)]);
    expect(both.filter(({ success }) => success)).toHaveLength(1);
    await asked;
    expect((await approve(ticket)).error).toContain("no such call waits");
    await machine.restart();
    expect((await approve(ticket)).error).toContain("no such call waits");
    expect(readFileSync(`${work}/count`, "utf8")).toBe("x");
  });

  it("outlives the daemon, and is carried out once when it is approved after", async () => {
    const asked = ask();
    const [ticket] = await waiting();
    await machine.restart();
    await expect(asked).rejects.toThrow();
    expect(await waiting()).toMatchObject([{ id: ticket.id }]);
    expect((await approve(ticket)).output).toMatchObject({ success: true });
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
    const [ticket] = await waiting();
    offset = 86_401_000;
    await machine.restart();
    await expect(asked).rejects.toThrow();
    await expect.poll(async () => (await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
    const { output } = await machine.core.call("sec.audit", { tool_name: "fs.write" });
    expect(output.entries[0]).toMatchObject({ execution_id: ticket.id, state: "refused" });
  });

  it("is not carried out when what it would change is no longer what was shown", async () => {
    writeFileSync(`${work}/f`, "shown\n");
    const asked = ask();
    const [ticket] = await waiting();
    writeFileSync(`${work}/f`, "other\n");
    expect((await approve(ticket)).error).toContain("no longer what was shown");
    await expect(asked).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(readFileSync(`${work}/f`, "utf8")).toBe("other\n");
  });

  it("is not carried out elsewhere when a link is swapped while it waits", async () => {
    mkdirSync(`${work}/a`);
    mkdirSync(`${work}/b`);
    symlinkSync(`${work}/a`, `${work}/link`);
    const asked = ask("link/f");
    const [ticket] = await waiting();
    expect(ticket.capabilities).toEqual([`fs:write:${work}/a/f`]);
    rmSync(`${work}/link`);
    symlinkSync(`${work}/b`, `${work}/link`);
    expect((await approve(ticket)).success).toBe(false);
    await expect(asked).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
    expect(existsSync(`${work}/b/f`)).toBe(false);
  });

  it("is not carried out when its grant has ended", async () => {
    const asked = ask();
    const [ticket] = await waiting();
    await machine.core.call("sec.revoke", { agent_id: "task", revoke_all: true });
    expect((await approve(ticket)).error).toContain("holds no grant");
    await expect(asked).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
  });

  it("waits with at most 49 others of its agent, and the same call is asked once", async () => {
    const asked = Array.from({ length: 50 }, (_, at) => ask(`f${at}`));
    const tickets = await waiting(50);
    await expect(ask("one-too-many")).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: /50 calls of task/,
    });
    const again = ask("f0");
    await new Promise((resolve) => setTimeout(resolve, 50));
    expect(await waiting(50)).toHaveLength(50);
    for (const ticket of tickets) await approve(ticket);
    const [first] = await Promise.all(asked);
    expect((await again).executionId).toBe(first?.executionId);
  });

  it("is shown without its secrets, and carried out with them", async () => {
    const asked = ask("f", 'password = "hunter2"\n');
    const [ticket] = await waiting();
    expect(JSON.stringify(ticket)).not.toContain("hunter2");
    await approve(ticket);
    await asked;
    expect(readFileSync(`${work}/f`, "utf8")).toContain("hunter2");
    expect(JSON.stringify((await machine.core.call("sec.audit")).output)).not.toContain("hunter2");
  });

  it("is decided by operators, not by agents or daemons", async () => {
    ask();
    const [ticket] = await waiting();
    for (const caller of [machine.agent("task"), machine.agent("system"), machine.core]) {
      await expect(caller.call("sec.approve", { id: ticket.id, digest: ticket.digest })).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
      });
    }
    expect(existsSync(`${work}/f`)).toBe(false);
  });
});

describe("an approval is of what was shown", () => {
  const id = "0193bbbb-0000-7000-8000-000000000001";
  const shared = "0193bbbb-0000-7000-8000-000000000002";
  const call = (agent: string, executionId: string, content: string, more: object = {}) => {
    const headers = { [executionHeader]: executionId };
    const asked = machine
      .agent(agent)
      .raw.execute(requestOf("fs.write", { path: `${work}/f`, content }, more), { headers, timeoutMs: 15_000 });
    asked.catch(() => {});
    return asked;
  };
  const withdraw = () =>
    machine.agent("task").raw.execute(requestOf("fs.write", {}), {
      headers: { [executionHeader]: id, [withdrawHeader]: "yes" },
    });
  const written = () => existsSync(`${work}/f`) && readFileSync(`${work}/f`, "utf8");

  it("and of nothing else: another digest approves nothing, and the call waits on", async () => {
    const asked = ask("f", "shown\n");
    const [first] = await waiting();
    const other = ask("g", "other\n");
    const [, second] = await waiting(2);
    for (const digest of [second.digest, "0".repeat(64)]) {
      expect((await approve({ id: first.id, digest })).error).toContain("not that of the call that waits");
    }
    const undefinedDigest = machine.operator.call("sec.approve", { id: first.id });
    await expect(undefinedDigest).rejects.toMatchObject({ code: "INVALID_ARGUMENT", message: /digest: missing/ });
    expect(existsSync(`${work}/f`)).toBe(false);
    expect((await approve(first)).output.success).toBe(true);
    expect((await asked).success).toBe(true);
    await deny(second.id);
    await expect(other).rejects.toThrow("denied");
  });

  it("is another for each word of the call, and the same call asked anew has another too", async () => {
    for (const content of ["a", "b"]) ask("f", content);
    const digests = (await waiting(2)).map(({ digest }) => digest);
    await machine.restart();
    expect((await waiting(2)).map(({ digest }) => digest)).toEqual(digests);
    for (const one of await waiting(2)) await deny(one.id);
    ask("f", "a");
    const [again] = await waiting();
    expect(new Set([...digests, again.digest]).size).toBe(3);
  });

  it.each([
    ["another agent's call", "system", "evil\n", {}, "PERMISSION_DENIED"],
    ["another input", "task", "evil\n", {}, "INVALID_ARGUMENT"],
    ["another task", "task", "shown\n", { taskId: "t" }, "INVALID_ARGUMENT"],
    ["another tool", "task", "shown\n", { toolName: "fs.append" }, "INVALID_ARGUMENT"],
  ])(
    "an id whose call waits is not taken by %s, while its caller waits and after",
    async (_, agent, content, more, code) => {
      await machine.core.call("sec.grant", {
        ...{ agent_id: "system", capabilities: [`fs:write:${work}/**`], reason: "r" },
      });
      const asked = call("task", id, "shown\n");
      const [ticket] = await waiting();
      await expect(call(agent, id, content, more)).rejects.toMatchObject({ code });
      await machine.restart();
      await expect(asked).rejects.toThrow();
      await expect(call(agent, id, content, more)).rejects.toMatchObject({ code });
      expect(await waiting()).toEqual([ticket]);
      const again = call("task", id, "shown\n");
      expect((await approve(ticket)).output).toMatchObject({ success: true, execution_id: id });
      expect(await again).toMatchObject({ success: true, executionId: id });
      expect(written()).toBe("shown\n");
    },
  );

  it("a call that waits is in the ledger from its beginning, and is told by its decision later", async () => {
    call("task", id, "shown\n");
    const [ticket] = await waiting();
    const told = async () => (await machine.core.call("sec.audit", { tool_name: "fs.write" })).output;
    const { entries } = await told();
    expect(entries).toMatchObject([{ execution_id: id, state: "waiting", caller: "task" }]);
    expect(JSON.parse(entries[0].output)).toMatchObject({ digest: ticket.digest, needs: ticket.capabilities });
    await approve(ticket);
    expect(await told()).toMatchObject({ total: 1, entries: [{ execution_id: id, state: "done" }] });
    expect((await machine.core.call("sec.verify_ledger")).output.valid).toBe(true);
  });

  it("a call that its caller withdrew is not there to be approved", async () => {
    const asked = call("task", id, "shown\n");
    const [ticket] = await waiting();
    await expect(withdraw()).rejects.toMatchObject({ code: "ABORTED" });
    await expect(asked).rejects.toMatchObject({ code: "ABORTED" });
    expect((await approve(ticket)).error).toContain("no such call waits");
    await machine.restart();
    await expect(call("task", id, "shown\n")).rejects.toMatchObject({ code: "ABORTED" });
    expect(written()).toBe(false);
  });

  it("the same call by two ids is asked once, done once, and told by either", async () => {
    const both = [call("task", id, "x"), call("task", shared, "x")];
    const [ticket] = await waiting();
    await expect
      .poll(async () => (await machine.core.call("sec.audit", { execution_id: shared })).output.total)
      .toBe(1);
    await approve(ticket);
    for (const { executionId } of await Promise.all(both)) expect(executionId).toBe(ticket.id);
    await machine.restart();
    writeFileSync(`${work}/f`, "since");
    for (const one of [id, shared]) expect((await call("task", one, "x")).success).toBe(true);
    expect(written()).toBe("since");
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
    const [ticket] = await waiting();
    expect(existsSync(`${work}/f`)).toBe(true);
    await approve(ticket);
    expect(await removal).toMatchObject({ success: true });
  });
});

describe("a request that sends something", () => {
  it("is of high risk, as one that only asks is not", async () => {
    const url = "http://192.0.2.1/";
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: [`web:request:${url}`], reason: "r" });
    const calls = [{}, { body: "what was read" }].map((more) =>
      machine.agent("task").call("web.http_request", { url, method: "POST", ...more }),
    );
    for (const call of calls) call.catch(() => {});
    const tickets = await waiting(2);
    expect(tickets.map(({ risk }) => risk).toSorted()).toEqual(["high", "medium"]);
    for (const { id } of tickets) await deny(id);
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
    await grant({ task_id: "t", ask: "changes" });
  });

  it("lets what only reads through, and tells the caller of a change which approval it waits for", async () => {
    expect((await call("fs.read", { path: `${work}/asked` }, "t")).success).toBe(true);
    const told = Promise.withResolvers<string | undefined>();
    const asked = call("fs.write", { path: `${work}/asked`, content: "after" }, "t", (header) =>
      told.resolve(header(approvalHeader)),
    );
    const [ticket] = await waiting();
    expect(await told.promise).toBe(ticket.id);
    expect(ticket.task_id).toBe("t");
    expect(readFileSync(`${work}/asked`, "utf8")).toBe("before");
    await approve(ticket);
    expect((await asked).success).toBe(true);
    expect(readFileSync(`${work}/asked`, "utf8")).toBe("after");
  });

  it("asks about what only reads too, where it says so", async () => {
    await grant({ task_id: "all", ask: "everything" });
    const read = call("fs.read", { path: `${work}/asked` }, "all");
    const [ticket] = await waiting();
    expect(ticket).toMatchObject({ task_id: "all", tool: "fs.read" });
    await approve(ticket);
    expect((await read).success).toBe(true);
  });

  it("is for calls of its own task alone", async () => {
    for (const task of ["", "other"]) {
      await expect(call("fs.write", { path: `${work}/asked`, content: "x" }, task)).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
      });
    }
    expect(await grant({ ask: "changes" })).toMatchObject({
      success: false,
      error: expect.stringContaining("no task is named"),
    });
  });
});
