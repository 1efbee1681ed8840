/**
 * What is repeated is counted. Eight agents that look at the machine every few seconds made 28 MB of ledger a day. A
 * call of an agent that changes nothing, for no task and by no id, is written in full when it is new, when it ends
 * otherwise and once a day; the same call in between is an entry an hour. A crash loses an hour's counts, never a call
 * that acted.
 */
import { hash } from "node:crypto";
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Ledger } from "../ledger/index.ts";
import type { Tool } from "../tool.ts";
import { type Facts, type Repeated, repeated } from "./record.ts";

/** Repeats of a call are written together, this often. */
const writtenEveryMs = 3_600_000;

/** A call is written in full again after this long, however often it is repeated. */
const fullEveryMs = 86_400_000;

/** Calls that are known at most; of one beyond, each repeat is written in full. */
const knownMax = 1_000;

/** Longer inputs are not kept: each call is written in full. Characters. */
const inputLengthMax = 4_096;

/** Fields that are moments differ with each repeat of a call; tools mark them by this description. */
const moment = "milliseconds since the epoch";

/** How a call ended: what makes a repeat of it worth no entry of its own. */
type Ending = Pick<Repeated, "success" | "error">;

/**
 * Calls that agents repeat and that change nothing: what they look at every few seconds, and what is refused again and again.
 * The first is in the ledger in full, those that are the same and end the same are counted, and the count is an entry once an
 * hour and at the daemon's end. A crash loses at most an hour's counts, never a call that acted.
 */
export interface Repeats {
  /** Whether the same call stands in the ledger in full, and recently. */
  knows(tool: Tool | undefined, facts: Facts): boolean;
  /** Counts a call as a repeat; false when it is none: it ended otherwise, or is not known. */
  count(tool: Tool | undefined, facts: Facts, ending: Ending, durationMs: number): boolean;
  /** The call stands in the ledger in full now. */
  written(tool: Tool | undefined, facts: Facts, ending: Ending): void;
  /** Hands all counts to the ledger. */
  close(): void;
}

interface Known {
  readonly facts: Facts;
  readonly ending: Ending;
  /** Monotonic. */
  readonly since: number;
  count: number;
  durationMs: number;
  /** Milliseconds since the epoch, of the first and last repeat that was counted. */
  from: number;
  to: number;
}

export function openRepeats(ledger: Ledger, clock: Clock, log: Log): Repeats {
  const known = new Map<string, Known>();
  const over = new AbortController();
  let watching = false;

  const write = async (one: Known): Promise<void> => {
    const { facts, ending, count, durationMs, from, to } = one;
    if (count === 0) return;
    one.count = 0;
    one.durationMs = 0;
    try {
      await ledger.append(repeated(facts, { ...ending, count, durationMs: Math.round(durationMs / count), from, to }));
    } catch (error) {
      // Counted on: the next time may find room.
      one.count += count;
      one.durationMs += durationMs;
      one.from = from;
      log.warn("repeats of a call cannot be written yet", { tool: facts.tool, reason: messageOf(error) });
    }
  };
  const watch = async () => {
    for (;;) {
      await clock.sleep(writtenEveryMs, over.signal);
      await Promise.all([...known.values()].map(write));
      for (const [key, { since, count }] of known)
        if (count === 0 && clock.monotonic() - since >= fullEveryMs) known.delete(key);
    }
  };
  const find = (tool: Tool | undefined, facts: Facts): Known | undefined => {
    const found = known.get(keyOf(tool, facts));
    return found === undefined || clock.monotonic() - found.since >= fullEveryMs ? undefined : found;
  };

  return {
    knows: (tool, facts) => find(tool, facts) !== undefined,
    count: (tool, facts, { success, error }, durationMs) => {
      const found = find(tool, facts);
      if (found === undefined || found.ending.success !== success || found.ending.error !== error) return false;
      found.to = clock.now();
      if (found.count === 0) found.from = found.to;
      found.count += 1;
      found.durationMs += durationMs;
      if (!watching) watch().catch(() => {});
      watching = true;
      return true;
    },
    written: (tool, facts, ending) => {
      const key = keyOf(tool, facts);
      const before = known.get(key);
      if (before !== undefined) void write(before);
      else if (known.size >= knownMax || facts.input.length > inputLengthMax) return;
      known.set(key, { facts, ending, since: clock.monotonic(), count: 0, durationMs: 0, from: 0, to: 0 });
    },
    close: () => {
      over.abort();
      for (const one of known.values()) void write(one);
    },
  };
}

/** A key of who, what and why, which repeated calls share. Moments in the input are left out. */
function keyOf(tool: Tool | undefined, { caller, agentId, tool: name, taskId, reason, input }: Facts): string {
  return hash(
    "sha256",
    JSON.stringify([caller.kind, caller.name, agentId, name, taskId, reason, timeless(tool, input)]),
  );
}

function timeless(tool: Tool | undefined, input: string): unknown {
  const properties = (tool?.input as { properties?: Record<string, { description?: string }> } | undefined)?.properties;
  const moments = Object.entries(properties ?? {}).filter(([, { description }]) => description === moment);
  if (moments.length === 0) return input;
  const left = { ...(JSON.parse(input) as Record<string, unknown>) };
  for (const [name] of moments) delete left[name];
  return left;
}
