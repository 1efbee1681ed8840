import { readdirSync, readFileSync } from "node:fs";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { durationMs, parseToml } from "#lib/config";
import { errnoOf, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Durable } from "./durable.ts";
import { fits, type Notice, type Severity, severities } from "./notices.ts";

const strict = { additionalProperties: false } as const;

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
        cool_down: Type.String({ pattern: "^[0-9]+(ms|s|m|h|d)$", description: "a duration such as 5m" }),
      },
      strict,
    ),
  },
  strict,
);

export interface Trigger {
  readonly name: string;
  readonly category: string;
  readonly source: string;
  readonly leastSeverity: Severity;
  readonly goal: string;
  readonly priority: number;
  readonly coolDownMs: number;
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
  };
}

/** The triggers of `folder`, and what is wrong with the files that cannot be used. */
export function readTriggers(folder: string): { triggers: Trigger[]; faults: string[] } {
  const triggers: Trigger[] = [];
  const faults: string[] = [];
  for (const file of filesIn(folder)) {
    try {
      triggers.push(parseTrigger(file.slice(0, -5), readFileSync(`${folder}/${file}`, "utf8"), `${folder}/${file}`));
    } catch (error) {
      faults.push(messageOf(error));
    }
  }
  return { triggers, faults };
}

function filesIn(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(".toml"))
      .toSorted();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

/** What a subject may be to go into the words of a goal: what is noticed is data, and must not become further words. */
const subjectPattern = /^[A-Za-z0-9/][A-Za-z0-9/._@:-]{0,127}$/;

export interface TriggersParts {
  readonly triggers: () => readonly Trigger[];
  /** When each last gave a goal, by trigger and subject: milliseconds since the epoch. */
  readonly record: Durable<Readonly<Record<string, number>>>;
  readonly clock: Clock;
  readonly log: Log;
  submit(goal: {
    readonly trigger: string;
    readonly words: string;
    readonly priority: number;
    readonly dedupeKey: string;
  }): Promise<string>;
}

/** Cool-downs that are remembered. */
const rememberedMax = 1_000;

/** Gives the goals that notices are a reason for. The function never fails; it resolves when a goal was given, or none. */
export function openTriggers({
  triggers,
  record,
  clock,
  log,
  submit,
}: TriggersParts): (notice: Notice) => Promise<void> {
  const consider = async (trigger: Trigger, notice: Notice) => {
    if (!subjectPattern.test(notice.subject)) {
      return log.warn("a notice gives no goal: its subject is no name", {
        trigger: trigger.name,
        source: notice.source,
      });
    }
    const key = `${trigger.name}:${notice.subject}`;
    const last = record.value[key] ?? 0;
    // A clock that was set back since does not hold it up.
    if (last <= clock.now() && clock.now() - last < trigger.coolDownMs) return;
    const words = trigger.goal.replaceAll("{subject}", notice.subject);
    try {
      const id = await submit({ trigger: trigger.name, words, priority: trigger.priority, dedupeKey: key });
      remember(key);
      log.info("a notice gave a goal", { trigger: trigger.name, goal: id, subject: notice.subject });
    } catch (error) {
      log.warn("a notice gave no goal", { trigger: trigger.name, reason: messageOf(error) });
    }
  };
  const remember = (key: string) => {
    const entries = Object.entries({ ...record.value, [key]: clock.now() }).toSorted(([, a], [, b]) => b - a);
    record.set(Object.fromEntries(entries.slice(0, rememberedMax)));
  };
  return async (notice) => {
    const rank = severities.indexOf(notice.severity);
    const found = triggers().filter(
      ({ category, source, leastSeverity }) =>
        fits(category, notice.category) &&
        (source === "" || source === notice.source) &&
        rank >= severities.indexOf(leastSeverity),
    );
    for (const trigger of found) await consider(trigger, notice);
  };
}
