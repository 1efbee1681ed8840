import { forceHeader } from "#lib/rpc/service";
import { ToolRegistryService } from "#proto/aios/tools";
import { type Command, type Context, exit, text, UsageError, wholeNumber } from "../command.ts";
import { duration, moment } from "../words.ts";
import { callTool, optionsOf } from "./tools.ts";

/** How often a follower asks for what is new. Each time is a call, and in the ledger. */
const followEveryMs = 2_000;

/** The reason that a follower gives: its own calls are not shown. */
const followReason = "aiosctl audit --follow";

/** A verification reads every entry: a million in some ten seconds. */
export const verifyTimeoutMs = 320_000;

/** One call of the ledger, as sec.audit tells it. */
interface Entry {
  readonly sequence: number;
  readonly at: number;
  readonly execution_id: string;
  readonly caller: string;
  readonly tool: string;
  readonly reason: string;
  readonly state: "waiting" | "open" | "done" | "failed" | "interrupted" | "refused";
  readonly error: string;
  readonly duration_ms: number | null;
}

export const audit: Command = {
  name: "audit",
  summary: "the calls in the ledger, the oldest of them first",
  usage: "[--agent NAME] [--tool NAME] [--since WHEN] [--limit N] [--follow]",
  args: [0, 0],
  options: {
    agent: { type: "string", value: "NAME", about: "only those of this agent, daemon or operator" },
    tool: { type: "string", value: "NAME", about: "only those of this tool" },
    since: { type: "string", value: "WHEN", about: "not before: 30m, 2h, 7d ago, or 2026-01-31T12:00Z" },
    limit: { type: "string", short: "n", value: "N", about: "the last so many (50)" },
    follow: { type: "boolean", short: "f", about: "stay, and show what comes" },
  },
  examples: [
    "aiosctl audit --agent task --since 1h",
    "aiosctl audit --tool fs.write --follow --json",
    "aiosctl audit verify",
  ],
  async run(context) {
    const { values, clock, signal } = context;
    const since = sinceOf(text(context, "since"), clock.now());
    const shown = new Set<number>();
    const show = (entries: readonly Entry[]) => {
      for (const entry of [...entries].reverse()) {
        // What has not ended is shown when it has; it is asked for again.
        const waits = values["follow"] === true && !hasEnded(entry);
        if (waits || shown.has(entry.sequence) || entry.reason === followReason) continue;
        shown.add(entry.sequence);
        context.out.line(lineOf(entry));
        context.out.document(entry);
      }
    };
    let entries = await entriesOf(context, since, wholeNumber(context, "limit", 1, 500) ?? 50);
    show(entries);
    while (values["follow"] === true) {
      await clock.sleep(followEveryMs, signal);
      const open = entries.filter((entry) => !hasEnded(entry) && entry.reason !== followReason);
      const from = Math.min(...open.map(({ at }) => at), entries[0]?.at ?? since);
      entries = await entriesOf(context, from, 500);
      show(entries);
    }
    return exit.ok;
  },
};

export const rollback: Command = {
  name: "rollback",
  summary: "take back what executions changed; of several the latest first",
  usage: "EXECUTION... [--reason TEXT] [--force]",
  args: [1, 100],
  options: {
    reason: { type: "string", value: "TEXT", about: "why, for the ledger" },
    force: { type: "boolean", about: "also what was changed since a restore; a copy of that is kept" },
  },
  examples: ["aiosctl rollback 0199f2c4-6a31-7c0e-9d53-2f1b7c0a4e11"],
  async run(context) {
    const client = context.target().client(ToolRegistryService, "tools");
    const reason = text(context, "reason") ?? "rolled back with aiosctl";
    const request = { executionId: context.args.join(","), reason };
    const options = optionsOf(context, verifyTimeoutMs);
    const headers = { ...options.headers, ...(context.values["force"] === true && { [forceHeader]: "yes" }) };
    const { success, error } = await client.rollback(request, { ...options, headers });
    context.out.line(success ? "rolled back" : `not all of it: ${error}`);
    context.out.document({ success, error });
    return success ? exit.ok : exit.failed;
  },
};

async function entriesOf(context: Context, since: number, limit: number): Promise<readonly Entry[]> {
  const agent = text(context, "agent");
  const tool = text(context, "tool");
  const reason = context.values["follow"] === true ? followReason : "aiosctl audit";
  const filter = { ...(agent && { agent_id: agent }), ...(tool && { tool_name: tool }), since, limit };
  const { entries } = (await callTool(context, "sec.audit", filter, reason)) as { entries: readonly Entry[] };
  return entries;
}

const hasEnded = ({ state }: Entry) => state !== "open" && state !== "waiting";

/** Milliseconds since the epoch; 0 when it is not said. */
export function sinceOf(given: string | undefined, now: number): number {
  if (given === undefined) return 0;
  const [, count, unit = ""] = /^([0-9]{1,6})([smhd])$/.exec(given) ?? [];
  const unitMs = { s: 1_000, m: 60_000, h: 3_600_000, d: 86_400_000 }[unit];
  const at = unitMs === undefined ? Date.parse(given) : now - Number(count) * unitMs;
  if (!Number.isNaN(at)) return Math.max(0, Math.floor(at));
  throw new UsageError(`--since ${given}: expected a time ago such as 2h, or a date such as 2026-01-31T12:00Z`);
}

function lineOf({ at, caller, tool, state, execution_id: id, duration_ms: ms, error, reason }: Entry): string {
  const took = ms === null ? "" : ` in ${duration(ms)}`;
  return `${moment(at)} ${caller} ${tool} ${state}${took} ${id} ${error || reason}`.trimEnd();
}
