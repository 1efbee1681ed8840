/**
 * A trigger makes a goal of a notice: planned, granted, approved where the level wants it, with a dedupe key and a
 * cool-down. It backs off: its cool-down doubles with each goal that follows soon after another, up to `cool_down_max`,
 * and begins anew when twice that has passed: a service that dies again after twenty seconds is restored again, one
 * that dies at once over and over gets some ten goals in its first ten minutes and then one every ten. What is noticed
 * and gives no goal is held back, and told by `aiosctl status` and `aiosctl autonomy` until it is well.
 */
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { durationMs, parseToml } from "#lib/config/config";
import { durationType } from "#lib/config/duration-type";
import { messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import { readDeclarations } from "../declarations.ts";
import { type Durable, fieldsOf, mapOf } from "../durable.ts";
import { fits, type Notice, type Severity, severities } from "./notices.ts";

const strict = { additionalProperties: false } as const;

const duration = durationType("30d");

/** `/etc/aios/triggers/<name>.toml`: what is noticed, and the goal that it is a reason for. */
const triggerSchema = Type.Object(
  {
    trigger: Type.Object(
      {
        summary: Type.String({ minLength: 1 }),
        category: Type.String({ minLength: 1, description: 'a category such as "service.down", or "service.*"' }),
        source: Type.Optional(Type.String({ minLength: 1 })),
        least_severity: Type.Optional(Type.Enum([...severities])),
        goal: Type.String({ minLength: 3, maxLength: 1_000, description: 'words such as "restore service {subject}"' }),
        priority: Type.Optional(Type.Integer({ minimum: 0, maximum: 3 })),
        cool_down: duration,
        // Given: each goal that follows soon after another doubles the cool-down, up to this.
        cool_down_max: Type.Optional(duration),
      },
      strict,
    ),
  },
  strict,
);

interface Trigger {
  readonly name: string;
  readonly category: string;
  readonly source: string;
  readonly leastSeverity: Severity;
  readonly goal: string;
  readonly priority: number;
  /** The pause after a goal, and the longest that it grows to. */
  readonly coolDownMs: number;
  readonly coolDownMaxMs: number;
}

export function parseTrigger(name: string, text: string, file: string): Trigger {
  const { trigger } = parseToml(triggerSchema, text, file);
  return {
    name,
    category: trigger.category,
    source: trigger.source ?? "",
    leastSeverity: trigger.least_severity ?? "warning",
    goal: trigger.goal,
    priority: trigger.priority ?? 2,
    coolDownMs: durationMs(trigger.cool_down),
    coolDownMaxMs: durationMs(trigger.cool_down_max ?? trigger.cool_down),
  };
}

/** The triggers of `folder`, and what is wrong with the files that cannot be used. */
export function readTriggers(folder: string): { triggers: Trigger[]; faults: string[] } {
  const { read, faults } = readDeclarations(folder, parseTrigger);
  return { triggers: read, faults };
}

/** Subjects that may go into the words of a goal: what is noticed is data, and must not become further words. */
const subjectPattern = /^[A-Za-z0-9/][A-Za-z0-9/._@:-]{0,127}$/;

/** A goal that was given: when, milliseconds since the epoch, and how many of its kind came soon after one another. */
export interface Given {
  readonly goal: string;
  readonly at: number;
  readonly row: number;
}

/** Whether a value read from a file holds them by trigger and subject. */
export const isGivenMap = mapOf(fieldsOf({ goal: "string", at: "number", row: "number" }));

interface TriggersParts {
  readonly triggers: () => readonly Trigger[];
  /** The last goal of each, by trigger and subject. */
  readonly record: Durable<Readonly<Record<string, Given>>>;
  readonly clock: Clock;
  readonly log: Log;
  submit(goal: {
    readonly trigger: string;
    readonly words: string;
    readonly priority: number;
    readonly dedupeKey: string;
    /** The reason for the goal. */
    readonly notice: Notice;
  }): Promise<string>;
  /** Whether a goal waits for a person's answer. */
  asks(goal: string): Promise<boolean>;
}

export interface Triggers {
  /** Gives the goals that a notice is a reason for. Never fails; resolves when they were given, or none. */
  consider(notice: Notice): Promise<void>;
  /** Notices that still hold and give no goal at present, each with the reason. */
  heldBack(): string[];
}

/** Cool-downs, and notices that are held back, that are remembered. */
const rememberedMax = 1_000;

/**
 * Time after which a notice that is held back and was not told again is not known any more: duties that give goals look
 * more often.
 */
const heldMs = 900_000;

export function openTriggers({ triggers, record, clock, log, submit, asks }: TriggersParts): Triggers {
  const held = new Map<string, { readonly text: string; readonly at: number }>();
  const hold = (key: string, words: string, { subject, detail }: Notice, reason: string) => {
    if (!held.has(key)) log.warn("a notice gives no goal", { subject, detail, reason });
    if (!held.has(key) && held.size >= rememberedMax) return;
    held.set(key, { text: `${words} (${subject}: ${detail}): ${reason}`, at: clock.monotonic() });
  };
  const consider = async (trigger: Trigger, notice: Notice) => {
    if (!subjectPattern.test(notice.subject)) {
      return log.warn("a notice gives no goal: its subject is no name", {
        trigger: trigger.name,
        source: notice.source,
      });
    }
    const key = `${trigger.name}:${notice.subject}`;
    if (severities.indexOf(notice.severity) < severities.indexOf(trigger.leastSeverity)) return void held.delete(key);
    const words = trigger.goal.replaceAll("{subject}", notice.subject);
    const last = record.value[key];
    const until = last === undefined ? 0 : coolingUntil(trigger, last);
    // A clock that was set back since does not hold it up.
    if (last !== undefined && last.at <= clock.now() && clock.now() < until) {
      const again = new Date(until).toISOString().slice(11, 19);
      const times = last.row === 1 ? "already" : `${last.row} times in a row`;
      return hold(key, words, notice, `given ${times}, and not again before ${again} UTC`);
    }
    try {
      const goal = await submit({ trigger: trigger.name, words, priority: trigger.priority, dedupeKey: key, notice });
      if (goal === last?.goal && (await asks(goal)))
        return hold(key, words, notice, `given already, and its goal asks (aiosctl goal show ${goal})`);
      held.delete(key);
      // Still at it.
      if (goal === last?.goal) return;
      remember(key, { goal, at: clock.now(), row: rowAfter(trigger, last, clock.now()) });
      log.info("a notice gave a goal", { trigger: trigger.name, goal, subject: notice.subject });
    } catch (error) {
      hold(key, words, notice, messageOf(error));
    }
  };
  const remember = (key: string, given: Given) => {
    const entries = Object.entries({ ...record.value, [key]: given }).toSorted(([, a], [, b]) => b.at - a.at);
    record.set(Object.fromEntries(entries.slice(0, rememberedMax)));
  };
  return {
    async consider(notice) {
      const found = triggers().filter(
        ({ category, source }) => fits(category, notice.category) && (source === "" || source === notice.source),
      );
      for (const trigger of found) await consider(trigger, notice);
    },
    heldBack() {
      for (const [key, { at }] of held) if (clock.monotonic() - at > heldMs) held.delete(key);
      return [...held.values()].map(({ text }) => text);
    },
  };
}

/** Until when a trigger gives no further goal of that kind. */
function coolingUntil({ coolDownMs, coolDownMaxMs }: Trigger, { at, row }: Given): number {
  return at + Math.min(coolDownMaxMs, coolDownMs * 2 ** (row - 1));
}

/** The number in its row of a goal that is given now: after twice the longest cool-down a new row begins. */
function rowAfter({ coolDownMaxMs }: Trigger, last: Given | undefined, now: number): number {
  return last === undefined || now - last.at > 2 * coolDownMaxMs ? 1 : last.row + 1;
}
