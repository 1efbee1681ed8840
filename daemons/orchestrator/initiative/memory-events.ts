import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import type { Client } from "#lib/rpc/service";
import type { Event, MemoryServiceService } from "#proto/aios/memory";
import { type Notice, type Severity, severities } from "./notices.ts";

type Memory = Pick<Client<typeof MemoryServiceService>, "pushEvent" | "updateMetric" | "getRecentEvents">;

/** How often what other daemons put down as events is looked at, and how many of the newest. */
const lookEveryMs = 10_000;
const lookedAtMax = 200;

const callTimeoutMs = 2_000;

interface MemoryEvents {
  push(notice: Notice): Promise<void>;
  measure(key: string, value: number): Promise<void>;
  /** Runs until `signal` is aborted: tells what others have put down since it began. */
  watch(tell: (notice: Notice) => Promise<void>, signal: AbortSignal): Promise<void>;
}

/** Events and metrics in aios-memory's operational part. Losing one while it is away is borne: they are of the moment. */
export function memoryEvents(memory: Memory, clock: Clock, log: Log): MemoryEvents {
  const own = new Set<string>();
  const quietly = async (act: string, call: Promise<unknown>) => {
    await call.catch((error) => log.debug(act, { reason: messageOf(error) }));
  };
  return {
    async push({ category, source, severity, subject, detail }) {
      const id = uuidv7(clock.now());
      remember(own, id);
      const dataJson = Buffer.from(JSON.stringify({ severity, subject, detail }));
      const event = { id, timestamp: clock.now(), category, source, dataJson, critical: severity === "critical" };
      await quietly("an event was not kept", memory.pushEvent(event, { timeoutMs: callTimeoutMs }));
    },
    measure: (key, value) =>
      quietly(
        "a metric was not kept",
        memory.updateMetric({ key, value, timestamp: clock.now() }, { timeoutMs: callTimeoutMs }),
      ),
    async watch(tell, signal) {
      const begun = clock.now();
      while (!signal.aborted) {
        const request = { count: lookedAtMax, category: "", source: "" };
        const answer = await memory.getRecentEvents(request, { timeoutMs: callTimeoutMs }).catch(() => undefined);
        for (const event of answer?.events ?? []) {
          if (own.has(event.id) || event.timestamp < begun) continue;
          remember(own, event.id);
          await tell(noticeOf(event));
        }
        await clock.sleep(lookEveryMs, signal).catch(() => {});
      }
    },
  };
}

const rememberedMax = 2_000;

function remember(ids: Set<string>, id: string): void {
  ids.add(id);
  const [oldest] = ids;
  if (ids.size > rememberedMax && oldest !== undefined) ids.delete(oldest);
}

/** An event of another daemon: what its JSON does not say is taken from the event itself. */
function noticeOf({ category, source, dataJson, critical }: Event): Notice {
  const data = objectIn(dataJson);
  const textOf = (field: string) => (typeof data[field] === "string" ? String(data[field]) : "");
  const severity = severities.find((one) => one === textOf("severity")) ?? (critical ? "critical" : "info");
  return {
    category,
    source,
    severity: severity satisfies Severity,
    subject: textOf("subject") || source,
    detail: textOf("detail"),
  };
}

function objectIn(bytes: Buffer): Record<string, unknown> {
  try {
    const value: unknown = JSON.parse(bytes.toString("utf8") || "{}");
    return value !== null && typeof value === "object" ? (value as Record<string, unknown>) : {};
  } catch {
    return {};
  }
}
