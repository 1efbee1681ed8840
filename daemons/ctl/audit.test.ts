import { mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { service } from "#lib/rpc/service";
import { ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";
import { init, openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
beforeEach(async () => {
  twin = openTwin();
  await twin.daemon("init", init());
});
afterEach(() => twin.close());

const entry = (sequence: number, more: object = {}) => ({
  ...{ sequence, at: Date.UTC(2026, 0, 31, 12) + sequence, execution_id: `e${sequence}`, caller: "task" },
  ...{ tool: "fs.write", reason: "r", state: "done", error: "", duration_ms: 3, ...more },
});

/** A tools daemon that answers with what it is given, tool by tool, and tells what it was asked. */
async function tools(outputs: Record<string, unknown[]>) {
  const asked: unknown[] = [];
  await twin.daemon(
    "tools",
    service(ToolRegistryService, {
      execute: ({ toolName, inputJson }) => {
        asked.push([toolName, JSON.parse(inputJson.toString())]);
        const queue = outputs[toolName] ?? [];
        const output = queue.length > 1 ? queue.shift() : queue[0];
        if (output instanceof Error) return ExecuteResponse.fromPartial({ success: false, error: output.message });
        return ExecuteResponse.fromPartial({ success: true, outputJson: Buffer.from(JSON.stringify(output)) });
      },
      rollback: ({ executionId, reason }) => {
        asked.push([executionId, reason]);
        return { success: executionId.startsWith("a"), error: "changed since" };
      },
    }),
  );
  return asked;
}

describe("audit", () => {
  it("shows calls by agent, tool and time, the oldest first", async () => {
    const entries = [entry(2, { state: "refused", error: "no grant", duration_ms: null }), entry(1)];
    const asked = await tools({ "sec.audit": [{ entries, total: 2 }] });
    const { code, out } = await twin.aiosctl("audit", "--agent", "task", "--tool", "fs.write", "--since", "2026-01-31");
    expect(code).toBe(0);
    expect(out.split("\n")[0]).toMatch(/^2026-01-31 12:00:00 task fs\.write done in 3 ms e1 r$/);
    expect(out.split("\n")[1]).toMatch(/refused e2 no grant$/);
    const filter = { agent_id: "task", tool_name: "fs.write", since: Date.UTC(2026, 0, 31), limit: 50 };
    expect(asked).toEqual([["sec.audit", filter]]);
    expect(await twin.aiosctl("audit", "--since", "yesterday")).toMatchObject({ code: 2 });
  });

  it("follows: what is new once, what is open when it has ended, its own calls never", async () => {
    const own = entry(9, { reason: "aiosctl audit --follow", state: "open" });
    const rounds = [[entry(1)], [own, entry(2, { state: "open" }), entry(1)], [own, entry(3), entry(2), entry(1)]];
    const asked = await tools({ "sec.audit": rounds.map((entries) => ({ entries, total: 0 })) });
    const over = new AbortController();
    const clock = {
      now: () => 0,
      monotonic: () => 0,
      sleep: async () => {
        if (asked.length < 5) return;
        over.abort();
        throw over.signal.reason;
      },
    };
    const { code, out } = await twin.aiosctlWith({ signal: over.signal, clock }, "audit", "--follow", "--json");
    expect(code).toBe(130);
    expect(
      out
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line).sequence),
    ).toEqual([1, 2, 3]);
  });

  it("verifies the whole ledger, and its exit status tells", async () => {
    const right = { valid: true, entries: 7, head: "ab", problems: [], acknowledged: [] };
    const asked = await tools({
      "sec.verify_ledger": [right, { ...right, valid: false, problems: ["entry 4 was edited"] }],
    });
    expect(await twin.aiosctl("audit", "verify")).toMatchObject({ code: 0, out: "right: 7 entries, head ab\n" });
    const { code, out } = await twin.aiosctl("audit", "verify");
    expect([code, out]).toEqual([1, "NOT RIGHT: 7 entries, head ab\n  entry 4 was edited\n"]);
    expect(asked[0]).toEqual(["sec.verify_ledger", { full: true }]);
  });

  it("acknowledges what is wrong, with a reason and not without", async () => {
    const asked = await tools({ "sec.acknowledge_ledger": [{ problems: ["entry 4 was edited"] }] });
    expect(await twin.aiosctl("audit", "acknowledge")).toMatchObject({ code: 2, error: /--reason is missing/ });
    const { code, out } = await twin.aiosctl("audit", "acknowledge", "--reason", "a new disk");
    expect([code, out]).toEqual([0, "acknowledged 1:\n  entry 4 was edited\n"]);
    expect(asked).toEqual([["sec.acknowledge_ledger", { reason: "a new disk" }]]);
  });

  it("exports the ledger in pieces, as far as it went when it began, to a file that was not there", async () => {
    const piece = (sequences: readonly number[], next: number) => ({
      ...{
        public_key: "PEM",
        base: { sequence: 0, hash: "" },
        head: { sequence: 3, hash: "ab", signature: "cd" },
        next,
      },
      entries: sequences.map((sequence) => ({ sequence })),
    });
    const asked = await tools({ "sec.export_ledger": [piece([1, 2], 2), piece([3], 0)] });
    const folder = mkdtempSync(join(tmpdir(), "aios-export-"));
    const file = join(folder, "ledger.jsonl");
    try {
      expect(await twin.aiosctl("audit", "export", "--to", file)).toMatchObject({
        code: 0,
        out: `3 entries in ${file}\n`,
      });
      const [head, ...entries] = readFileSync(file, "utf8")
        .trim()
        .split("\n")
        .map((line) => JSON.parse(line));
      expect(head).toEqual({
        public_key: "PEM",
        base: { sequence: 0, hash: "" },
        head: { sequence: 3, hash: "ab", signature: "cd" },
      });
      expect(entries).toEqual([{ sequence: 1 }, { sequence: 2 }, { sequence: 3 }]);
      expect(asked[1]).toEqual(["sec.export_ledger", { after: 2, until: 3 }]);
      expect(await twin.aiosctl("audit", "export", "--to", file)).toMatchObject({ code: 1 });
    } finally {
      rmSync(folder, { recursive: true });
    }
  });
});

describe("rollback", () => {
  it("takes back one or several", async () => {
    const asked = await tools({});
    expect(await twin.aiosctl("rollback", "a1", "a2")).toMatchObject({ code: 0, out: "rolled back\n" });
    expect(await twin.aiosctl("rollback", "b1", "--reason", "why")).toMatchObject({ code: 1, out: /changed since/ });
    expect(asked).toEqual([
      ["a1,a2", "rolled back with aiosctl"],
      ["b1", "why"],
    ]);
  });
});

describe("approvals", () => {
  const ticket = {
    ...{ id: "t1", agent_id: "task", tool: "fs.write", risk: "high", reason: "r", undo: "u", expires_at: 0 },
    preview: "--- a\n+++ b",
    digest: "d1",
    input: '{"path":"/a"}',
  };

  it("lists, shows, approves and denies", async () => {
    const asked = await tools({
      "sec.approvals": [{ waiting: [ticket] }, { waiting: [ticket] }, { waiting: [] }, { waiting: [] }],
      "sec.approve": [{ success: true, output: "{}", error: "" }, new Error("no such call waits")],
      "sec.deny": [{ denied: true }],
    });
    expect((await twin.aiosctl("approvals")).out).toMatch(/t1 +task +fs\.write +high +- +r/);
    const shown = (await twin.aiosctl("approvals", "show", "t1")).out;
    expect(shown).toMatch(
      /task asks for fs\.write, high risk[\s\S]*undo +u\ninput +\{"path":"\/a"\}\n\n--- a\n\+\+\+ b/,
    );
    expect(await twin.aiosctl("approvals", "show", "t1")).toMatchObject({ code: 1, error: /no such call waits/ });
    expect((await twin.aiosctl("approvals", "list")).out).toBe("nothing waits\n");
    expect(await twin.aiosctl("approvals", "approve", "t1", "--digest", "d1")).toMatchObject({
      code: 0,
      out: "done: {}\n",
    });
    expect(await twin.aiosctl("approvals", "approve", "t1", "--digest", "d1")).toMatchObject({
      code: 1,
      error: /no such call waits/,
    });
    expect(await twin.aiosctl("approvals", "deny", "t1", "--reason", "no")).toMatchObject({ code: 0 });
    expect(asked).toContainEqual(["sec.approve", { id: "t1", digest: "d1" }]);
    expect(asked.at(-1)).toEqual(["sec.deny", { id: "t1", reason: "no" }]);
  });

  it("approves nothing that was not shown: at a terminal it shows and asks, elsewhere the digest is named", async () => {
    const asked = await tools({
      "sec.approvals": [{ waiting: [ticket] }, { waiting: [ticket] }],
      "sec.approve": [{ success: true, output: "{}", error: "" }],
    });
    expect(await twin.aiosctl("approvals", "approve", "t1")).toMatchObject({ code: 2, error: /--digest is missing/ });
    const no = await twin.aiosctlWith({ ask: async () => "n" }, "approvals", "approve", "t1");
    expect(no).toMatchObject({ code: 1, out: /\+\+\+ b\nit still waits\n$/ });
    const yes = await twin.aiosctlWith({ ask: async () => "y" }, "approvals", "approve", "t1");
    expect(yes).toMatchObject({ code: 0, out: /\+\+\+ b\ndone: \{\}\n$/ });
    expect(asked.filter((one) => JSON.stringify(one).includes('sec.approve"'))).toEqual([
      ["sec.approve", { id: "t1", digest: "d1" }],
    ]);
  });

  it("tool call says how to take back what it did", async () => {
    await twin.daemon(
      "tools",
      service(ToolRegistryService, {
        execute: ({ toolName }) =>
          ExecuteResponse.fromPartial(
            toolName === "sec.audit"
              ? { success: false, error: "the disk is full" }
              : { success: true, executionId: "e1", backupId: "e1", durationMs: 4 },
          ),
      }),
    );
    const { code, error } = await twin.aiosctl("tool", "call", "fs.write", "{}");
    expect(code).toBe(0);
    expect(error).toBe(
      "execution e1, 4 ms; aiosctl rollback e1 takes it back\nits ledger entry cannot be read: the disk is full\n",
    );
  });
});
