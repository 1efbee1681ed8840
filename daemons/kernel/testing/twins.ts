/** For tests: the five ports without a world behind them. Each call of a port goes through a wire, which may do with it what wires do. */
import { AiosError } from "#lib/errors";
import { decodeEvent, type EventRecord, encodeEvent, type Json } from "../events.ts";
import type {
  ApprovalPort,
  ApprovalTicket,
  Capability,
  Journal,
  ModelCompletionRequest,
  ModelProvider,
  PolicyGateDecision,
  PolicyGatePort,
  PricedCompletion,
  ToolCall,
  ToolExecutionReport,
  ToolExecutionRequest,
  ToolFate,
  ToolHarness,
  ToolRequirements,
} from "../ports.ts";

/** Carries a call to a port and its answer back. `what` names it. */
export type Wire = <T>(what: string, act: () => T | Promise<T>) => Promise<T>;

/** A wire that loses nothing. */
export const straight: Wire = async (_what, act) => act();

interface Stored {
  readonly parent?: string;
  readonly forkedAt: number;
  /** The events as JSON: a reader never gets the object that was written. */
  readonly events: { readonly text: string; readonly record: EventRecord }[];
}

/** The content of a journal's disk. */
export class JournalTwin {
  readonly branches = new Map<string, Stored>();

  port(wire: Wire): Journal {
    return {
      append: (event) => wire("append", () => this.append(event)),
      read: (session, branch, from, limit) =>
        wire("read", () => this.read(session, branch).slice(Math.max(0, from - 1), Math.max(0, from - 1) + limit)),
      head: (session, branch) => wire("head", () => this.read(session, branch).length),
      subscribe: async function* () {},
      fork: (session, branch, from, at) => wire("fork", () => this.fork(session, branch, from, at)),
    };
  }

  read(session: string, branch: string): EventRecord[] {
    const stored = this.branches.get(`${session}/${branch}`);
    if (stored === undefined) return [];
    const inherited = stored.parent === undefined ? [] : this.read(session, stored.parent).slice(0, stored.forkedAt);
    return [...inherited, ...stored.events.map(({ record }) => record)];
  }

  append(event: EventRecord): EventRecord {
    const key = `${event.session_id}/${event.branch_id}`;
    const stored = this.branches.get(key) ?? { forkedAt: 0, events: [] };
    const text = encodeEvent(event);
    const index = event.sequence - stored.forkedAt - 1;
    if (stored.events[index]?.text === text) return event;
    if (index !== stored.events.length)
      throw new AiosError(
        "ABORTED",
        `append: the next is ${stored.forkedAt + stored.events.length + 1}, not ${event.sequence}`,
      );
    stored.events.push({ text, record: decodeEvent(text) });
    this.branches.set(key, stored);
    return event;
  }

  fork(session: string, branch: string, parent: string, forkedAt: number): void {
    const key = `${session}/${branch}`;
    const there = this.branches.get(key);
    if (there !== undefined && (there.parent !== parent || there.forkedAt !== forkedAt))
      throw new AiosError("ALREADY_EXISTS", `fork ${branch}: there is another branch of that name`);
    if (there === undefined) this.branches.set(key, { parent, forkedAt, events: [] });
  }
}

/** A model that says what a test wants it to say. */
export function modelTwin(
  wire: Wire,
  answer: (request: ModelCompletionRequest) => PricedCompletion | Promise<PricedCompletion>,
): ModelProvider {
  return { complete: (request) => wire("complete", () => answer(request)) };
}

interface Entry {
  state: "running" | "done" | "interrupted" | "withdrawn";
  report?: ToolExecutionReport;
}

interface ToolTwinParts {
  /** The needs of tools by name; NOT_FOUND for others. */
  readonly needs: Readonly<
    Record<string, Omit<ToolRequirements, "capabilities"> & { readonly capabilities: readonly Capability[] }>
  >;
  /** Gives back the tool's result; throws the error that it fails with. */
  run(call: ToolCall): Json;
  /** Lets a call that has begun take its time: `end` ends it. Absent = at once. */
  begin?(call: ToolCall, end: (how: "done" | "interrupted") => void): void;
}

/** Tools with a ledger that outlives whoever calls. */
export class ToolsTwin {
  readonly ledger = new Map<string, Entry>();
  /** Every effect there was, in order. */
  readonly effects: ToolCall[] = [];
  readonly #parts: ToolTwinParts;
  readonly #waiting = new Map<string, PromiseWithResolvers<ToolExecutionReport>[]>();

  constructor(parts: ToolTwinParts) {
    this.#parts = parts;
  }

  port(wire: Wire): ToolHarness {
    return {
      requirements: (call) => wire("requirements", () => this.#requirements(call)),
      execute: (request) => wire("execute", () => this.execute(request)),
      fate: (request) => wire("fate", () => this.fate(request)),
      withdraw: (request) =>
        wire("withdraw", () => {
          const fate = this.fate(request);
          if (fate.state === "absent") this.ledger.set(request.call.call_id, { state: "withdrawn" });
          return fate;
        }),
    };
  }

  fate({ call }: ToolExecutionRequest): ToolFate {
    const entry = this.ledger.get(call.call_id);
    if (entry === undefined || entry.state === "withdrawn") return { state: "absent" };
    if (entry.state !== "done" || entry.report === undefined)
      return { state: entry.state === "done" ? "running" : entry.state };
    return { state: "done", report: entry.report };
  }

  execute({ call }: ToolExecutionRequest): Promise<ToolExecutionReport> {
    const entry = this.ledger.get(call.call_id);
    if (entry?.report !== undefined) return Promise.resolve(entry.report);
    if (entry !== undefined && entry.state !== "running")
      return Promise.reject(new AiosError("ABORTED", `execute ${call.call_id}: it is ${entry.state}`));
    const answer = Promise.withResolvers<ToolExecutionReport>();
    this.#waiting.set(call.call_id, [...(this.#waiting.get(call.call_id) ?? []), answer]);
    if (entry !== undefined) return answer.promise;
    this.ledger.set(call.call_id, { state: "running" });
    const end = (how: "done" | "interrupted") => this.#end(call, how);
    if (this.#parts.begin === undefined) end("done");
    else this.#parts.begin(call, end);
    return answer.promise;
  }

  #end(call: ToolCall, how: "done" | "interrupted"): void {
    const waiting = this.#waiting.get(call.call_id) ?? [];
    this.#waiting.delete(call.call_id);
    // An interruption comes after the effect here: the worse case.
    this.effects.push(call);
    if (how === "interrupted") {
      this.ledger.set(call.call_id, { state: "interrupted" });
      for (const { reject } of waiting) reject(new AiosError("UNAVAILABLE", "the tools ended"));
      return;
    }
    const report = this.#report(call);
    this.ledger.set(call.call_id, { state: "done", report });
    for (const { resolve } of waiting) resolve(report);
  }

  #report(call: ToolCall): ToolExecutionReport {
    const { call_id, tool_name } = call;
    const facts = { tool_run_id: call_id, call_id, tool_name, duration_ms: 5 };
    try {
      return { ...facts, exit_status: 0, outcome: { status: "success", output: this.#parts.run(call) } };
    } catch (error) {
      return { ...facts, exit_status: 1, outcome: { status: "failure", error: String(error) } };
    }
  }

  #requirements({ tool_name }: ToolCall): ToolRequirements {
    const needs = this.#parts.needs[tool_name];
    if (needs === undefined) throw new AiosError("NOT_FOUND", `find tool ${tool_name}: there is no such tool`);
    return needs;
  }
}

/** A gate that decides each capability by itself. */
export function gateTwin(wire: Wire, decide: (capability: Capability) => keyof PolicyGateDecision): PolicyGatePort {
  return {
    evaluate: (_session, requested) =>
      wire("evaluate", () => {
        const of = (verdict: keyof PolicyGateDecision) =>
          requested.filter((capability) => decide(capability) === verdict);
        return { allowed: of("allowed"), requires_approval: of("requires_approval"), denied: of("denied") };
      }),
    set_policy: (_session, _policy) => wire("set_policy", () => {}),
  };
}

/** A list of approvals that outlives whoever asks. */
export class ApprovalsTwin {
  readonly tickets = new Map<string, ApprovalTicket>();
  readonly resolved = new Map<string, boolean>();

  port(wire: Wire): ApprovalPort {
    return {
      enqueue: (request) =>
        wire("enqueue", () => {
          const approval_id = `approval:${request.call_id}:${request.capability}`;
          const ticket = this.tickets.get(approval_id) ?? {
            ...request,
            approval_id,
            created_at: "2026-11-21T04:30:00Z",
          };
          this.tickets.set(approval_id, ticket);
          return ticket;
        }),
      list_pending: (session) =>
        wire("list_pending", () => this.pending().filter(({ session_id }) => session_id === session)),
      resolve: (approval_id, approved, actor) =>
        wire("resolve", () => {
          const first = this.resolved.get(approval_id) ?? approved;
          this.resolved.set(approval_id, first);
          return { approval_id, approved: first, actor, resolved_at: "2026-11-21T04:30:00Z" };
        }),
    };
  }

  pending(): ApprovalTicket[] {
    return [...this.tickets.values()].filter(({ approval_id }) => !this.resolved.has(approval_id));
  }
}
