/**
 * For tests: kernels over twins on a wire that delays, reorders, repeats and loses, with crashes; all from one seed.
 *
 * Kernels are killed at random and at every single event. `invariants.ts` is the list of what must be true afterwards;
 * sabotaged ports (tools without a ledger, a gate that lets all through, a journal that forgets) show that the list
 * notices.
 */
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Kernel, openKernel } from "../kernel.ts";
import { defaultBudget, defaultLimits, defaultPolicy, type Limits } from "../limits.ts";
import type { Capability, ModelCompletion, ModelDirective, PolicyGateDecision, Ports } from "../ports.ts";
import { ApprovalsTwin, gateTwin, JournalTwin, modelTwin, ToolsTwin, type Wire } from "./twins.ts";

/** Capabilities that the simulation's tools need; models do not always say so. */
export const needs = {
  look: { capabilities: ["look"], risk: "low", changes: false },
  change: { capabilities: ["change"], risk: "medium", changes: true },
  danger: { capabilities: ["danger", "change"], risk: "high", changes: true },
  never: { capabilities: ["never"], risk: "critical", changes: true },
} as const;

/** The gate's answer, whatever the kernel makes of it. */
export function truth(capability: Capability): keyof PolicyGateDecision {
  if (capability === "never") return "denied";
  return capability === "danger" ? "requires_approval" : "allowed";
}

export interface Plan {
  readonly seed: number;
  /** The kernel is killed each time after this many events of the simulation. Empty = never. */
  readonly crashes: readonly number[];
  /** Of a message: 0 = the wire is good. */
  readonly trouble: number;
  /** The session gets a second branch, somewhere on the way. */
  readonly forks?: boolean;
  /** Put in the place of a port, to see that the simulation notices. */
  readonly sabotage?: (ports: Ports, simulation: Simulation) => Ports;
}

/** Statements made to callers, which must hold. */
export interface Promises {
  readonly runs: Set<string>;
  readonly decisions: Map<string, boolean>;
  readonly cancelled: Set<string>;
}

const session = "s";
const runsMax = 3;
const eventsMax = 20_000;

/** Numbers from a seed (mulberry32), from 0 to 1. */
export function numbers(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}

interface Pending {
  readonly epoch: number;
  readonly act: () => void;
}

export class Simulation {
  readonly journal = new JournalTwin();
  readonly approvals = new ApprovalsTwin();
  readonly tools: ToolsTwin;
  /** Branches that runs are asked for on. */
  readonly branches: string[] = ["main"];
  readonly promises: Promises = { runs: new Set(), decisions: new Map(), cancelled: new Set() };
  /** Events so far: a message that arrives, an answer that arrives, a timer that goes off. */
  events = 0;
  readonly #plan: Plan;
  readonly #random: () => number;
  #queue: Pending[] = [];
  #sleepers: { at: number; epoch: number; wake: () => void }[] = [];
  #now = 1_700_000_000_000;
  /** The kernel that lives; what belongs to an earlier one reaches nobody. */
  #epoch = 0;
  #ids = 0;
  #kernel: Kernel;
  #trouble: number;
  #crashes: number[];
  #submitted = 0;

  constructor(plan: Plan) {
    this.#plan = plan;
    this.#random = numbers(plan.seed);
    this.#trouble = plan.trouble;
    this.#crashes = [...plan.crashes];
    this.tools = new ToolsTwin({
      needs,
      run: ({ call_id }) => {
        if (this.#chance(0.15)) throw new Error("it did not work");
        return { did: call_id };
      },
      begin: (_call, end) => this.#push(() => end(this.#chance(this.#trouble) ? "interrupted" : "done")),
    });
    this.#kernel = this.#start();
  }

  /** The session from its beginning to where nothing is left to do, in good weather at the end. */
  async run(): Promise<void> {
    let created = false;
    const create = () =>
      this.#kernel.createSession(session, "simulated", config).then(
        () => {
          created = true;
        },
        () => {},
      );
    void create();
    let stored = -1;
    for (;;) {
      await settle();
      if (this.events > eventsMax) throw new Error(`seed ${this.#plan.seed}: no end after ${eventsMax} events`);
      if (this.#crashes[0] !== undefined && this.events >= this.#crashes[0]) this.#crash(create);
      if (this.#plan.forks && this.#submitted > 0 && this.branches.length === 1 && this.#chance(0.02)) this.#fork();
      if (created && this.#submitted < runsMax && this.#chance(0.1)) this.#submit(`run-${this.#submitted++}`);
      if (this.#chance(0.08)) this.#decide();
      if (this.#chance(0.015)) this.#cancel();
      if (this.#next()) continue;
      if (!created) void create();
      else if (this.#submitted < runsMax) this.#submit(`run-${this.#submitted++}`);
      else {
        // The storm is over: whoever has no answer asks again, and nobody is killed any more, until that changes nothing.
        if (stored === this.#stored()) return;
        stored = this.#stored();
        this.#trouble = 0;
        this.#crashes = [];
        for (let index = 0; index < runsMax; index += 1) this.#submit(`run-${index}`);
        void this.#kernel.resume(session).catch(() => {});
        this.#decide();
      }
    }
  }

  /** The state that the living kernel has, and one that knows nothing but the journal. */
  async states(): Promise<{ live: unknown; replayed: unknown }> {
    this.#trouble = 0;
    const live = Promise.all(this.branches.map((branch) => this.#kernel.state(session, branch)));
    const replayed = Promise.all(this.branches.map((branch) => this.#kernel.replay(session, branch)));
    await this.#flush();
    return { live: await live, replayed: await replayed };
  }

  #stored(): number {
    return [...this.journal.branches.values()].reduce((sum, { events }) => sum + events.length, 0);
  }

  async #flush(): Promise<void> {
    do await settle();
    while (this.#queue.length > 0 && this.#next());
    await settle();
  }

  #chance(probability: number): boolean {
    return this.#random() < probability;
  }

  #push(act: () => void, epoch = -1): void {
    this.#queue.push({ epoch, act });
  }

  /** Lets one thing happen, in any order. False when there is nothing left. */
  #next(): boolean {
    const alive = this.#queue.filter(({ epoch }) => epoch === -1 || epoch === this.#epoch);
    this.#queue = alive;
    // Time passes when nothing else happens, and now and then before something does.
    if (alive.length === 0 || this.#chance(0.02)) {
      if (this.#wakeNext()) return true;
      if (alive.length === 0) return false;
    }
    const [chosen] = this.#queue.splice(Math.floor(this.#random() * this.#queue.length), 1);
    this.events += 1;
    chosen?.act();
    return true;
  }

  #wakeNext(): boolean {
    this.#sleepers = this.#sleepers.filter(({ epoch }) => epoch === this.#epoch).sort((a, b) => a.at - b.at);
    const next = this.#sleepers.shift();
    if (next === undefined) return false;
    this.#now = Math.max(this.#now, next.at);
    this.events += 1;
    next.wake();
    return true;
  }

  #crash(create: () => Promise<void>): void {
    this.#crashes.shift();
    this.#epoch += 1;
    this.#kernel = this.#start();
    void create().then(() => this.#kernel.resume(session).catch(() => {}));
  }

  /** The way to a port and back, for a kernel of this epoch. */
  #wire(epoch: number): Wire {
    return <T>(what: string, act: () => T | Promise<T>) =>
      new Promise<T>((resolve, reject) => {
        const lost = new AiosError("UNAVAILABLE", `${what}: lost on the way`);
        const answer = (tell: () => void) => {
          if (this.#chance(this.#trouble)) this.#push(() => reject(lost), epoch);
          else this.#push(tell, epoch);
        };
        const arrive = () => {
          new Promise<T>((done) => done(act())).then(
            (value) => answer(() => resolve(value)),
            (error) => answer(() => reject(error)),
          );
        };
        // What was sent arrives also when the sender is dead by then.
        if (this.#chance(this.#trouble)) this.#push(() => reject(lost), epoch);
        else this.#push(arrive);
        if (this.#chance(this.#trouble)) this.#push(arrive);
      });
  }

  #start(): Kernel {
    const epoch = this.#epoch;
    const wire = this.#wire(epoch);
    const ports: Ports = {
      journal: this.journal.port(wire),
      model: modelTwin(wire, () => ({ ...this.#answer(), cost_usd: 0.001 })),
      tools: this.tools.port(wire),
      gate: gateTwin(wire, truth),
      approvals: this.approvals.port(wire),
    };
    return openKernel({
      ports: this.#plan.sabotage?.(ports, this) ?? ports,
      clock: this.#clock(epoch),
      limits,
      id: () => `id-${++this.#ids}`,
    });
  }

  #clock(epoch: number): Clock {
    const now = () => this.#now;
    return {
      now,
      monotonic: now,
      sleep: (ms, signal) =>
        new Promise((resolve, reject) => {
          const sleeper = { at: this.#now + ms, epoch, wake: resolve };
          this.#sleepers.push(sleeper);
          signal?.addEventListener("abort", () => {
            this.#sleepers = this.#sleepers.filter((other) => other !== sleeper);
            reject(signal.reason);
          });
        }),
    };
  }

  #answer(): ModelCompletion {
    const facts = {
      provider: "twin",
      model: "twin-1",
      usage: { prompt_tokens: 9, completion_tokens: 1, total_tokens: 10 },
    };
    if (this.#chance(0.1)) throw new AiosError("UNAVAILABLE", "the model is away");
    if (this.#chance(0.3))
      return {
        ...facts,
        directives: [{ type: "message", role: "assistant", content: "done" }],
        stop_reason: "completed",
      };
    const count = 1 + Math.floor(this.#random() * 3);
    const directives = Array.from({ length: count }, () => this.#directive());
    return { ...facts, directives, stop_reason: "tool_call" };
  }

  #directive(): ModelDirective {
    if (this.#chance(0.1)) return { type: "text_delta", delta: "hm " };
    const names = ["look", "look", "change", "change", "danger", "danger", "never", "unknown"];
    const tool_name = names[Math.floor(this.#random() * names.length)] ?? "look";
    const input = { which: Math.floor(this.#random() * 3) };
    const requested_capabilities = this.#chance(0.3) ? ["look", ...(this.#chance(0.2) ? ["danger"] : [])] : [];
    return { type: "tool_call", call: { call_id: "call_1", tool_name, input, requested_capabilities } };
  }

  /** The same run is asked for on every branch there is: its id means another run on each. */
  #submit(runId: string): void {
    for (const branch of this.branches) {
      const request = { session, branch, runId, objective: `do ${runId}`, actor: "alice" };
      this.#kernel.submit(request).then(
        () => this.promises.runs.add(`${branch}/${runId}`),
        () => {},
      );
    }
  }

  #fork(): void {
    this.#kernel.fork(session, "main", "try", this.#forkAt()).then(
      () => {
        if (!this.branches.includes("try")) this.branches.push("try");
      },
      () => {},
    );
  }

  /** Always the same, once the fork is there: whoever heard no answer asks again for the same fork. */
  #forkAt(): number {
    const there = this.journal.branches.get(`${session}/try`);
    return there?.forkedAt ?? 1 + Math.floor(this.#random() * Math.max(1, this.journal.read(session, "main").length));
  }

  /** Somebody decides about what is asked; sometimes twice, and not the same. */
  #decide(): void {
    for (const { approval_id } of this.approvals.pending()) {
      const times = this.#chance(0.2) ? 2 : 1;
      for (let time = 0; time < times; time += 1) {
        const approved = this.#chance(0.6);
        this.#kernel.resolveApproval(session, approval_id, approved, "bob").then(
          (resolution) => this.promises.decisions.set(approval_id, resolution.approved),
          () => {},
        );
      }
    }
  }

  #cancel(): void {
    this.#kernel
      .cancel(session, this.branches[Math.floor(this.#random() * this.branches.length)] ?? "main", "enough", "carol")
      .catch(() => {});
  }
}

const limits: Limits = { ...defaultLimits, iterationsMax: 4, retryMs: 10, stalledMs: 500, approvalTimeoutMs: 60_000 };

const config = {
  agent_id: "system",
  owner: "alice",
  workspace_root: "/",
  policy: { ...defaultPolicy, max_events_per_turn: 400 },
  budget: { ...defaultBudget, error_budget_remaining: 100 },
};

/** Lets everything that can go on go on. */
const settle = () => new Promise((resolve) => setImmediate(resolve));
