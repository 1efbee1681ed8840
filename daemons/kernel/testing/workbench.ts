/** For tests: a kernel over twins that answer at once, and what a test wants to know of them. */
import { ManualClock } from "#lib/clock";
import { type Kernel, openKernel, type TickRequest, type TickResult } from "../kernel.ts";
import type { EventKind, KindName, KindOf } from "../kinds.ts";
import { defaultBudget, defaultLimits, defaultPolicy, type Limits } from "../limits.ts";
import type {
  Capability,
  ModelCompletion,
  ModelCompletionRequest,
  ModelDirective,
  PolicyGateDecision,
} from "../ports.ts";
import type { SessionConfig } from "../state.ts";
import { ApprovalsTwin, gateTwin, JournalTwin, modelTwin, straight, ToolsTwin } from "./twins.ts";

const read = { capabilities: ["fs:read:/a"], risk: "low", changes: false } as const;
const write = { capabilities: ["fs:write:/a"], risk: "high", changes: true } as const;

export const config: SessionConfig = {
  agent_id: "system",
  owner: "alice",
  workspace_root: "/",
  policy: defaultPolicy,
  budget: defaultBudget,
};

/** An answer that ends the run. */
export const say = (text: string): ModelCompletion => ({
  provider: "twin",
  model: "twin-1",
  directives: [{ type: "message", role: "assistant", content: text }],
  stop_reason: "completed",
  usage: { prompt_tokens: 10, completion_tokens: 5, total_tokens: 15 },
});

export const callOf = (
  tool_name: string,
  input: Record<string, string> = {},
  requested_capabilities: string[] = [],
): ModelDirective => ({
  type: "tool_call",
  call: { call_id: "call_1", tool_name, input, requested_capabilities },
});

/** An answer that makes calls and wants to know what came of them. */
export const use = (...directives: ModelDirective[]): ModelCompletion => ({
  ...say(""),
  directives,
  stop_reason: "tool_call",
});

export class Workbench {
  readonly clock = new ManualClock();
  readonly journal = new JournalTwin();
  readonly approvals = new ApprovalsTwin();
  readonly tools = new ToolsTwin({ needs: { "fs.read": read, "fs.write": write }, run: () => this.runTool() });
  /** The model's next answers, in order. */
  answers: ((request: ModelCompletionRequest) => ModelCompletion)[] = [];
  /** The requests that it was given. */
  readonly asked: ModelCompletionRequest[] = [];
  gate: (capability: Capability) => keyof PolicyGateDecision = () => "allowed";
  limits: Limits = { ...defaultLimits, retryMs: 0 };
  cost = 0;
  runTool: () => null = () => null;
  kernel: Kernel = this.start();
  #ids = 0;

  /** A workbench with the session "s". */
  static async make(): Promise<Workbench> {
    const bench = new Workbench();
    await bench.kernel.createSession("s", "test", config);
    return bench;
  }

  /** Another kernel on the same world. */
  start(): Kernel {
    return openKernel({
      ports: {
        journal: this.journal.port(straight),
        model: modelTwin(straight, (request) => ({ ...this.#answer(request), cost_usd: this.cost })),
        tools: this.tools.port(straight),
        gate: gateTwin(straight, (capability) => this.gate(capability)),
        approvals: this.approvals.port(straight),
      },
      clock: this.clock,
      limits: this.limits,
      id: () => `id-${++this.#ids}`,
    });
  }

  tick(objective: string, more: Partial<TickRequest> = {}): Promise<TickResult> {
    return this.kernel.tick({ session: "s", objective, actor: "alice", ...more });
  }

  kinds(branch = "main"): EventKind[] {
    return this.journal.read("s", branch).map(({ kind }) => kind);
  }

  all<N extends KindName>(type: N, branch = "main"): KindOf<N>[] {
    return this.kinds(branch).filter((kind): kind is KindOf<N> => kind.type === type);
  }

  /** The story of a branch: phases and notes by their own names. */
  names(branch = "main"): string[] {
    return this.kinds(branch).map((kind) => {
      if (kind.type === "Custom") return kind.event_type;
      return kind.type === "PhaseEntered" ? kind.phase : kind.type;
    });
  }

  #answer(request: ModelCompletionRequest): ModelCompletion {
    this.asked.push(request);
    const next = this.answers.shift();
    if (next === undefined) throw new Error("the model was not expected to be asked");
    return next(request);
  }
}
