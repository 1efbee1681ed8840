import { AutonomyService, type AutonomyState } from "#proto/aios/autonomy";
import { type Command, type Context, exit, text, UsageError } from "../command.ts";
import { moment } from "../words.ts";

const client = (context: Context) => context.target().client(AutonomyService, "orchestrator");

const levels = ["full", "supervised", "manual"];

export const autonomy: Command = {
  name: "autonomy",
  summary: "how far the machine acts by itself; with LEVEL, set it",
  usage: "[full|supervised|manual|configured]",
  args: [0, 1],
  examples: ["aiosctl autonomy", "aiosctl autonomy supervised", "aiosctl autonomy configured"],
  async run(context) {
    const [level] = context.args;
    if (level === undefined) return show(context, await client(context).getAutonomy({}));
    if (level !== "configured" && !levels.includes(level)) {
      throw new UsageError(`${level}: expected ${levels.join(", ")}, or configured for what the configuration says`);
    }
    return show(context, await client(context).setAutonomy({ level: level === "configured" ? "" : level }));
  },
};

export const emergencyStop: Command = {
  name: "emergency stop",
  summary: "stop all that runs for goals, within a second; nothing starts until it is resumed, also after a restart",
  usage: "[--reason TEXT]",
  args: [0, 0],
  options: { reason: { type: "string", value: "TEXT", about: "why, for whoever finds it stopped" } },
  examples: ['aiosctl emergency stop --reason "it deletes the wrong files"'],
  run: async (context) => show(context, await client(context).emergencyStop({ reason: text(context, "reason") ?? "" })),
};

export const emergencyResume: Command = {
  name: "emergency resume",
  summary: "go on where the machine was stopped",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl emergency resume"],
  run: async (context) => show(context, await client(context).emergencyResume({}, { timeoutMs: resumeTimeoutMs })),
};

/** Each goal's tasks that were stopped half-way are looked up in the ledger first. */
const resumeTimeoutMs = 60_000;

function show({ out }: Context, state: AutonomyState): typeof exit.ok {
  const { level, configuredLevel, stopped, stoppedBy, stoppedAt, reason, goalsHeld, resting, heldBack, unstored } =
    state;
  out.line(`${level}${level === configuredLevel ? "" : ` (the configuration says ${configuredLevel})`}`);
  if (level === "manual")
    out.line('agents begin nothing by themselves; what is held back is done when you give it: aiosctl goal submit "…"');
  if (stopped) {
    out.line(
      `stopped by ${stoppedBy} at ${moment(stoppedAt)} UTC${reason && `: ${reason}`}; ${goalsHeld} goals are held`,
    );
    if (unstored !== "") out.line(`a reboot would forget that it is stopped, until this is mended: ${unstored}`);
    out.line('"aiosctl emergency resume" lets it go on');
  }
  for (const one of resting) out.line(`duties rest: ${one}`);
  for (const one of heldBack) out.line(`held back: ${one}`);
  out.document(state);
  return exit.ok;
}
