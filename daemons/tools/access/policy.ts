import { readFileSync, statSync } from "node:fs";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import type { Config } from "#lib/config/config";
import { approvalMostMs } from "#lib/config/duration";
import { durationType } from "#lib/config/duration-type";
import { autonomyLevel, autonomyPath, effectiveConfigPath } from "#lib/config/effective";
import { errnoOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Risk } from "../tool.ts";
import { openRedaction, type Redaction } from "./redaction.ts";

export type Autonomy = Config["system"]["autonomy_level"];

/** Calls in sixty seconds; absent means without limit. */
export interface Rates {
  readonly calls?: number;
  readonly writes?: number;
  readonly destructive?: number;
  readonly network?: number;
}

export interface Policy {
  readonly autonomy: Autonomy;
  readonly approval: {
    /** Risks at which a change by an agent waits for a person, at the machine's autonomy level. */
    readonly risks: readonly Risk[];
    readonly timeoutMs: number;
    readonly pendingPerAgentMax: number;
  };
  readonly limits: {
    readonly global: Rates;
    readonly agent: Rates;
    readonly tools: Readonly<Record<string, { readonly calls?: number; readonly cooldownMs: number }>>;
  };
  readonly redaction: Redaction;
}

const strict = { additionalProperties: false } as const;
const duration = durationType("1d");
const count = Type.Optional(Type.Integer({ minimum: 0, maximum: 1_000_000 }));
const rates = Type.Object({ calls: count, writes: count, destructive: count, network: count }, strict);
const risks = Type.Array(Type.Enum(["low", "medium", "high", "critical"]), { description: "a list of risk levels" });

/** `/etc/aios/security/policy.toml`. */
const policySchema = Type.Object(
  {
    approval: Type.Object(
      {
        full: risks,
        supervised: risks,
        manual: risks,
        timeout: durationType(`${approvalMostMs / 86_400_000}d`),
        pending_per_agent_max: Type.Integer({ minimum: 1, maximum: 100 }),
      },
      strict,
    ),
    limits: Type.Object(
      {
        global: rates,
        agent: rates,
        tools: Type.Optional(
          Type.Record(
            Type.String({ pattern: "^[a-z][a-z0-9_]*\\.[a-z][a-z0-9_]*$" }),
            Type.Object({ calls: count, cooldown: Type.Optional(duration) }, strict),
          ),
        ),
      },
      strict,
    ),
    redaction: Type.Object(
      { keys: Type.Array(Type.String({ minLength: 3, maxLength: 64 }), { maxItems: 64 }) },
      strict,
    ),
  },
  strict,
);

const secretWords = [
  "password",
  "passphrase",
  "token",
  "secret",
  "api_key",
  "private_key",
  "credential",
  "authorization",
];

/** The policy while none can be read: every change by an agent waits for a person. */
export const strictest: Policy = {
  autonomy: "manual",
  approval: { risks: ["low", "medium", "high", "critical"], timeoutMs: 86_400_000, pendingPerAgentMax: 50 },
  limits: { global: { calls: 300, writes: 60 }, agent: { calls: 60, writes: 20 }, tools: {} },
  redaction: openRedaction(secretWords),
};

/** How often the files are looked at for a change. */
const lookEveryMs = 1_000;

export interface Policies {
  /** The policy in effect. Never rejects: a mistake in the files is logged once, and {@link strictest} holds. */
  current(): Promise<Policy>;
  /** The policy that was in effect last, for those who cannot wait. */
  last(): Policy;
}

/** The policy in `<etc>/security/policy.toml` at the autonomy level in effect. */
export function openPolicies(paths: { readonly etc: string; readonly run: string }, clock: Clock, log: Log): Policies {
  const file = `${paths.etc}/security/policy.toml`;
  let lookedAt = Number.NEGATIVE_INFINITY;
  let seen: string | undefined;
  let policy: Promise<Policy> = Promise.resolve(strictest);
  let last = strictest;

  const read = async (): Promise<Policy> => {
    try {
      last = await readPolicy(file, autonomyLevel(paths.run));
    } catch (error) {
      log.error("no policy: every change by an agent waits for a person", { error });
      last = strictest;
    }
    return last;
  };
  return {
    last: () => last,
    current: () => {
      if (clock.monotonic() - lookedAt >= lookEveryMs) {
        lookedAt = clock.monotonic();
        const found = `${stampOf(file)} ${stampOf(effectiveConfigPath(paths.run))} ${stampOf(autonomyPath(paths.run))}`;
        if (found !== seen) policy = read();
        seen = found;
      }
      return policy;
    },
  };
}

/** The policy in `file` at an autonomy level. Throws INVALID_ARGUMENT with file, line, key and what was expected. */
export async function readPolicy(file: string, autonomy: Autonomy): Promise<Policy> {
  // Loaded when first needed: the socket answers sooner after start.
  const { parseToml, durationMs } = await import("#lib/config/config");
  const { approval, limits, redaction } = parseToml(policySchema, readFileSync(file, "utf8"), file);
  const tools = Object.entries(limits.tools ?? {}).map(([name, { cooldown = "0ms", ...rest }]) => {
    return [name, { ...rest, cooldownMs: durationMs(cooldown) }] as const;
  });
  return {
    autonomy,
    approval: {
      risks: approval[autonomy],
      timeoutMs: durationMs(approval.timeout),
      pendingPerAgentMax: approval.pending_per_agent_max,
    },
    limits: { global: limits.global, agent: limits.agent, tools: Object.fromEntries(tools) },
    redaction: openRedaction(redaction.keys),
  };
}

/** Changes when the file does. */
function stampOf(file: string): string {
  try {
    const { mtimeMs, ino, size } = statSync(file);
    return `${mtimeMs}:${ino}:${size}`;
  } catch (error) {
    return errnoOf(error) ?? "unreadable";
  }
}
