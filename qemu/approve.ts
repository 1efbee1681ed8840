import { setTimeout as delay } from "node:timers/promises";
import { probe } from "./goals/probe.ts";
import type { Machine } from "./machine.ts";

/** Waits for what is under way, and as an admin approves each call that a person is asked about meanwhile, as it is shown. */
export async function approving<T>(machine: Machine, act: Promise<T>): Promise<T> {
  const over = new AbortController();
  const ended = act.finally(() => over.abort());
  ended.catch(() => {});
  const look = probe(machine);
  try {
    while (!over.signal.aborted) {
      const { waiting } = (await look.call("sec.approvals", {})) as { waiting: { id: string; digest: string }[] };
      for (const { id, digest } of waiting) await look.call("sec.approve", { id, digest });
      await delay(200, undefined, { signal: over.signal }).catch(() => {});
    }
  } finally {
    look.close();
  }
  return ended;
}
