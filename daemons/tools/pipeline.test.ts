import { mkdtempSync, rmSync } from "node:fs";
import * as Type from "typebox";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Log, silentLog } from "#lib/log";
import { coreIdentity } from "#lib/rpc/service";
import { openGrants } from "./access/grants.ts";
import { Limits } from "./access/limits.ts";
import { openPolicies } from "./access/policy.ts";
import { openRegistry } from "./access/registry.ts";
import { object } from "./catalogue/shared/words.ts";
import { type Ledger, openLedger } from "./ledger/ledger.ts";
import { openApprovals } from "./pipeline/approvals.ts";
import { type Executor, openExecutor } from "./pipeline/execute.ts";
import { openGate } from "./pipeline/gate.ts";
import { Locks } from "./pipeline/locks.ts";
import { Once } from "./pipeline/once.ts";
import { openRepeats } from "./pipeline/repeats.ts";
import { openValidation } from "./pipeline/validation.ts";
import { openState } from "./state/state.ts";
import { openUndos } from "./state/undo.ts";
import { changes, reads, type Tool } from "./tool.ts";

const facts = {
  summary: "For a test.",
  input: object({ text: Type.Optional(Type.String()) }),
  output: object({ text: Type.String() }),
  capabilities: ["hw:read"],
  callers: ["core"],
  risk: "low",
  timeoutMs: 1_000,
  idempotent: true,
} as const;

const run = () => ({ text: "" });

describe("a tool", () => {
  it("that changes something does not compile without undo or a reason", () => {
    reads({ ...facts, run, name: "a.reads" });
    changes({ ...facts, run, name: "a.burns", irreversible: "it is burnt" });
    // @ts-expect-error neither undo nor irreversible
    changes({ ...facts, run, name: "a.changes" });
    const undo = { prepare: async () => ({ was: 1 }), restore: async ({ was }: { was: number }) => void was };
    changes({ ...facts, run, name: "a.turns", undo });
    // @ts-expect-error both
    changes({ ...facts, run, name: "a.both", undo, irreversible: "and yet" });
    // @ts-expect-error a tool that reads has nothing to undo
    reads({ ...facts, run, name: "a.idle", undo });
    const wrong = { prepare: async () => ({ was: "1" }), restore: async ({ was }: { was: number }) => void was };
    // @ts-expect-error restore does not take what prepare gives
    changes({ ...facts, run, name: "a.wrong", undo: wrong });
  });

  it("has the facts of its kind that most have, unless it says otherwise", () => {
    const { callers: _, risk, ...plain } = facts;
    const usual = { callers: ["core", "operator", "agent"], confirmation: false };
    const look = reads({ ...plain, run, name: "a.looks" });
    expect(look).toMatchObject({ ...usual, effect: "read", risk: "low", idempotent: true, role: "reader" });
    const act = { ...plain, risk, run, name: "a.acts", irreversible: "a test" } as const;
    expect(changes(act)).toMatchObject({ ...usual, effect: "change", risk, role: "operator" });
    expect(changes({ ...act, callers: ["operator"], confirmation: true })).toMatchObject({
      ...{ callers: ["operator"], confirmation: true },
    });
  });

  it("does not compile when it gives back, or resolves, what its schemas lack", () => {
    // @ts-expect-error the output has a text
    reads({ ...facts, name: "a.number", run: () => ({ text: 5 }) });
    // @ts-expect-error the input has no path
    reads({ ...facts, name: "a.path", resources: { path: "path" }, run });
    // @ts-expect-error it needs a capability
    reads({ ...facts, name: "a.free", capabilities: [], run });
  });

  it("is refused at start when its name is taken or its capability names a field that may be missing", () => {
    const one = reads({ ...facts, run, name: "a.one" });
    expect(() => openRegistry([one, one])).toThrow("two tools are named a.one");
    const other = reads({ ...facts, run, name: "a.two", capabilities: ["fs:read:{text}"] });
    expect(() => openRegistry([other])).toThrow("its input may lack text");
  });
});

describe("the pipeline", () => {
  const clock = new ManualClock();
  const { signal } = new AbortController();
  let folder: string;
  let ledger: Ledger;
  let logged: string[];
  const log: Log = { ...silentLog, error: (msg, fields) => void logged.push(`${msg} ${String(fields?.["error"])}`) };

  beforeEach(() => {
    folder = mkdtempSync("/tmp/aios-pipeline-");
    ledger = openLedger(folder, clock, silentLog);
    logged = [];
  });

  afterEach(() => {
    ledger.close();
    rmSync(folder, { recursive: true });
  });

  const reserve = { full: () => false, admit: () => {} };
  const open = { places: [], check: () => [], checkFile: async () => [] };

  async function executor(...tools: Tool[]): Promise<Executor> {
    const state = openState(folder, clock);
    const validation = openValidation();
    const grants = openGrants(state, clock);
    const gate = openGate({ registry: openRegistry(tools), validation, grants, protection: open, reserve });
    const undos = await openUndos(state, `${folder}/undo`, clock);
    const policies = openPolicies({ etc: folder, run: folder }, clock, silentLog);
    const unasked = () => Promise.reject(new Error("nobody is asked here"));
    const approvals = openApprovals({ state, ledger, policies, clock, log, takes: () => {}, run: unasked });
    const limits = new Limits(clock);
    const locks = new Locks();
    const repeats = openRepeats(ledger, clock, log);
    const records = { ledger, undos, reserve, noticed: (error: unknown) => error };
    const parts = { gate, policies, limits, approvals, repeats, ...records, locks, validation, clock, log };
    return openExecutor(parts, new Once(parts));
  }

  const request = (tool: string) => ({ tool, agentId: "", taskId: "", inputJson: Buffer.alloc(0), reason: "" });
  const states = () => ledger.audit({ caller: "", tool: "", since: 0, limit: 9 }).calls.map(({ state }) => state);

  it("gives up a tool that hangs, aborts its signal, and says that it may still take effect", async () => {
    let aborted: unknown;
    const { promise: running, resolve: runs } = Promise.withResolvers<void>();
    const hang = reads({
      ...facts,
      name: "a.hang",
      run: ({ signal }) => {
        runs();
        signal.addEventListener("abort", () => {
          aborted = signal.reason;
        });
        return new Promise<never>(() => {});
      },
    });
    const { perform } = await executor(hang);
    const done = perform(request("a.hang"), coreIdentity("orchestrator"), signal);
    await running;
    await clock.advance(999);
    expect(aborted).toBeUndefined();
    await clock.advance(1);
    expect(await done).toMatchObject({ success: false, error: expect.stringContaining("not done after 1000 ms") });
    expect(aborted).toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(states()).toEqual(["failed"]);
  });

  it("tells a tool that its caller has gone", async () => {
    const caller = new AbortController();
    const { promise: running, resolve: runs } = Promise.withResolvers<void>();
    const wait = reads({
      ...facts,
      name: "a.wait",
      run: ({ signal }) =>
        new Promise<never>((_, reject) => {
          runs();
          signal.addEventListener("abort", () => reject(signal.reason), { once: true });
        }),
    });
    const { perform } = await executor(wait);
    const done = perform(request("a.wait"), coreIdentity("orchestrator"), caller.signal);
    await running;
    caller.abort(new TypeError("gone"));
    expect(await done).toMatchObject({ success: false });
    expect(states()).toEqual(["failed"]);
  });

  it("tells callers nothing of the insides of a tool that throws", async () => {
    const fail = (name: `a.${string}`, run: () => never) => reads({ ...facts, name, run });
    const { perform } = await executor(
      fail("a.bug", () => {
        throw new TypeError("secret is not a function");
      }),
      fail("a.odd", () => {
        throw "a string";
      }),
    );
    for (const name of ["a.bug", "a.odd"]) {
      const { error } = await perform(request(name), coreIdentity("orchestrator"), signal);
      expect(error).toContain("internal error");
      expect(error).not.toMatch(/secret|string/);
    }
    expect(logged).toEqual(["tool failed TypeError: secret is not a function", "tool failed a string"]);
  });

  it.each(["console", "memory", "init"])("is not the business of %s", async (daemon) => {
    const change = changes({
      ...facts,
      name: "a.change",
      irreversible: "a test",
      run: () => ({ text: "" }),
    });
    const { perform } = await executor(change);
    await expect(perform(request("a.change"), coreIdentity(daemon), signal)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining(`${daemon} has no business with it`),
    });
  });

  it("refuses an output that does not fit the schema", async () => {
    const lie = reads({
      ...facts,
      name: "a.lie",
      run: () => ({ text: 5 }) as unknown as { text: string },
    });
    const { perform } = await executor(lie);
    expect(await perform(request("a.lie"), coreIdentity("orchestrator"), signal)).toMatchObject({
      success: false,
      output: "",
    });
    expect(logged[0]).toContain("/text: expected string, found 5");
  });

  it("does not act when the undo cannot be prepared", async () => {
    let acted = false;
    const change = changes({
      ...facts,
      name: "a.change",
      undo: {
        prepare: () => Promise.reject(new Error("no room")),
        restore: async () => {},
      },
      run: () => {
        acted = true;
        return { text: "" };
      },
    });
    const { perform } = await executor(change);
    expect(await perform(request("a.change"), coreIdentity("orchestrator"), signal)).toMatchObject({
      success: false,
      reversible: false,
    });
    expect(acted).toBe(false);
  });

  it("does not act when the ledger cannot be written", async () => {
    let acted = false;
    const change = changes({
      ...facts,
      name: "a.change",
      irreversible: "a test",
      run: () => {
        acted = true;
        return { text: "" };
      },
    });
    const { perform } = await executor(change);
    ledger.append = () => Promise.reject(new Error("the disk is full"));
    await expect(perform(request("a.change"), coreIdentity("orchestrator"), signal)).rejects.toThrow(
      "the disk is full",
    );
    expect(acted).toBe(false);
  });

  it.each([true, undefined] as const)(
    "acts when the intent is on disk and the undo kept (by reading: %s)",
    async (reads) => {
      const events: string[] = [];
      const change = changes({
        ...facts,
        name: "a.change",
        undo: {
          ...(reads && { preparesByReading: reads }),
          prepare: async () => ({ before: events.push("undo") }),
          restore: async () => {},
        },
        run: () => {
          events.push("act");
          return { text: "" };
        },
      });
      const { perform } = await executor(change);
      const append = ledger.append.bind(ledger);
      ledger.append = async (note) => {
        const entry = await append(note);
        // Long after an undo that does not wait is kept.
        await new Promise((resolve) => setTimeout(resolve, 50));
        events.push(note.kind);
        return entry;
      };
      expect(await perform(request("a.change"), coreIdentity("orchestrator"), signal)).toMatchObject({
        success: true,
        reversible: true,
      });
      expect(events).toEqual(reads ? ["undo", "intent", "act", "outcome"] : ["intent", "undo", "act", "outcome"]);

      events.length = 0;
      ledger.append = () => Promise.reject(new Error("the disk is full"));
      await expect(perform(request("a.change"), coreIdentity("orchestrator"), signal)).rejects.toThrow(
        "the disk is full",
      );
      expect(events).toEqual(reads ? ["undo"] : []);
    },
  );

  it("says that it acted when only the outcome cannot be written", async () => {
    const read = reads({ ...facts, name: "a.read", run });
    const { perform } = await executor(read);
    const append = ledger.append.bind(ledger);
    ledger.append = (note) => (note.kind === "intent" ? append(note) : Promise.reject(new Error("the disk is full")));
    await expect(perform(request("a.read"), coreIdentity("orchestrator"), signal)).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringMatching(/a\.read, execution [0-9a-f-]{36}: it was done, but the ledger cannot be written/),
    });
  });
});
