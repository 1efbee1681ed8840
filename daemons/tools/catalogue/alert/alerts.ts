import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { object, timestamp } from "../shared/index.ts";

/** Alerts that are kept; beyond it the oldest are forgotten. */
const alertsMax = 1_000;

const severities = ["info", "warning", "critical"] as const;

interface Alert {
  readonly id: string;
  readonly severity: (typeof severities)[number];
  readonly title: string;
  readonly message: string;
  readonly source: string;
  readonly raised_at: number;
  /** How often it was raised while it was open, and when last. */
  readonly count: number;
  readonly last_at: number;
  readonly acknowledged_by: string;
  readonly acknowledged_at: number;
  readonly note: string;
}

const described = object({
  id: Type.String(),
  severity: Type.Enum([...severities]),
  title: Type.String(),
  message: Type.String(),
  source: Type.String({ description: "who raised it" }),
  raised_at: timestamp,
  count: Type.Integer({ description: "how often it was raised while it was open" }),
  last_at: timestamp,
  acknowledged_by: Type.String({ description: "empty while it is open" }),
  acknowledged_at: timestamp,
  note: Type.String(),
});

export function alertTools({ state, clock }: { state: State; clock: Clock }): readonly Tool[] {
  const alerts = openDocuments<Alert>(state, "alert");
  return [raiseTool(alerts, clock), listTool(alerts), acknowledgeTool(alerts, clock)];
}

const isOpen = ({ acknowledged_by }: Alert) => acknowledged_by === "";

const raiseTool = (alerts: Documents<Alert>, clock: Clock) =>
  changes({
    name: "alert.raise",
    summary:
      "Raises an alert for the machine's operators. One of the same title and source that is open is counted up.",
    input: object({
      severity: Type.Enum([...severities]),
      title: Type.String({ minLength: 1, maxLength: 200 }),
      message: Type.Optional(Type.String({ maxLength: 4096 })),
    }),
    output: object({ id: Type.String(), count: Type.Integer() }),
    capabilities: ["alert:raise"],
    undo: {
      prepare: async ({ executionId, caller, input: { title } }) => {
        const same = openLike(alerts, caller.name, title);
        return same === undefined ? { id: executionId } : { id: same.id, before: same };
      },
      restore: async ({ id, before }: { id: string; before?: Alert }) => {
        if (before === undefined) await alerts.remove(id);
        else await alerts.put(id, before);
      },
    },
    risk: "low",
    timeoutMs: 5_000,
    idempotent: false,
    exclusive: "alerts",
    run: async ({ executionId, caller, input: { severity, title, message = "" } }) => {
      const at = clock.now();
      const same = openLike(alerts, caller.name, title);
      const fresh = { id: executionId, title, source: caller.name, raised_at: at, count: 0 };
      const none = { acknowledged_by: "", acknowledged_at: 0, note: "" };
      const known = same ?? { ...fresh, ...none };
      const alert = { ...known, severity, message, count: known.count + 1, last_at: at };
      await alerts.put(alert.id, alert);
      await alerts.keep(alertsMax);
      return { id: alert.id, count: alert.count };
    },
  });

const openLike = (alerts: Documents<Alert>, source: string, title: string) =>
  alerts.list(alertsMax).find((one) => isOpen(one) && one.source === source && one.title === title);

const listTool = (alerts: Documents<Alert>) =>
  reads({
    name: "alert.list",
    summary: "Lists alerts, the newest first: the open ones, the acknowledged ones, or all.",
    input: object({
      state: Type.Optional(Type.Enum(["open", "acknowledged", "all"], { description: "open unless given" })),
      severity: Type.Optional(Type.Enum([...severities])),
      limit: Type.Optional(Type.Integer({ minimum: 1, maximum: 500, description: "100 unless given" })),
    }),
    output: object({ alerts: Type.Array(described), total: Type.Integer({ description: "also those not listed" }) }),
    capabilities: ["alert:read"],
    timeoutMs: 5_000,
    run: ({ input: { state = "open", severity, limit = 100 } }) => {
      const wanted = alerts
        .list(alertsMax)
        .filter((one) => state === "all" || isOpen(one) === (state === "open"))
        .filter((one) => severity === undefined || one.severity === severity);
      return { alerts: wanted.slice(0, limit), total: wanted.length };
    },
  });

const acknowledgeTool = (alerts: Documents<Alert>, clock: Clock) =>
  changes({
    name: "alert.acknowledge",
    summary: "Marks an alert as seen by the caller, with a note.",
    input: object({
      id: Type.String({ pattern: "^[0-9a-f-]{36}$", description: "an alert's id" }),
      note: Type.Optional(Type.String({ maxLength: 1024 })),
    }),
    output: object({ acknowledged: Type.Boolean() }),
    capabilities: ["alert:acknowledge"],
    undo: {
      prepare: async ({ input: { id } }) => ({ id, before: alertOf(alerts, id) }),
      restore: async ({ id, before }: { id: string; before: Alert }) => {
        if (alerts.get(id) !== undefined) await alerts.put(id, before);
      },
    },
    risk: "low",
    timeoutMs: 5_000,
    idempotent: true,
    exclusive: "alerts",
    run: async ({ caller, input: { id, note = "" } }) => {
      const alert = alertOf(alerts, id);
      if (!isOpen(alert)) return { acknowledged: false };
      await alerts.put(id, { ...alert, acknowledged_by: caller.name, acknowledged_at: clock.now(), note });
      return { acknowledged: true };
    },
  });

function alertOf(alerts: Documents<Alert>, id: string): Alert {
  const found = alerts.get(id);
  if (found !== undefined) return found;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "find alert",
    object: id,
    reason: "there is none, or it is forgotten",
  });
}
