import type { Capability, PolicyGateDecision, PolicyGatePort, PolicySet } from "#kernel/ports";

/** Sessions whose policies are kept. Beyond them the oldest is forgotten: it is denied everything until it is set again. */
const sessionsMax = 10_000;

/** The kernel's gate: each session's policy, the gated before the allowed, and all else denied. */
export function policyGate(): PolicyGatePort {
  const policies = new Map<string, PolicySet>();
  return {
    set_policy: async (session, policy) => {
      policies.delete(session);
      policies.set(session, policy);
      const [oldest] = policies.keys();
      if (policies.size > sessionsMax && oldest !== undefined) policies.delete(oldest);
    },
    evaluate: async (session, requested): Promise<PolicyGateDecision> => {
      const policy = policies.get(session);
      const verdicts = requested.map((capability) => [verdict(policy, capability), capability] as const);
      const of = (wanted: keyof PolicyGateDecision) =>
        verdicts.flatMap(([found, capability]) => (found === wanted ? [capability] : []));
      return { allowed: of("allowed"), requires_approval: of("requires_approval"), denied: of("denied") };
    },
  };
}

function verdict(policy: PolicySet | undefined, capability: Capability): keyof PolicyGateDecision {
  if (policy === undefined || hasDots(capability)) return "denied";
  if (policy.gate_capabilities.some((pattern) => matches(pattern, capability))) return "requires_approval";
  return policy.allow_capabilities.some((pattern) => matches(pattern, capability)) ? "allowed" : "denied";
}

/** A path that is not resolved could lead out of what a pattern means. */
const hasDots = (capability: Capability) => /(^|[:/])\.\.?(\/|$)/.test(capability);

/**
 * Whether a pattern covers a capability: namespace, action and resource each. In a resource `*` stands for anything within one
 * part of a path, `**` for anything; a pattern without a resource covers only a capability without one.
 */
export function matches(pattern: string, capability: Capability): boolean {
  if (pattern === "*") return true;
  const asked = split(capability);
  return split(pattern).every((part, index) => partMatches(part, asked[index]));
}

/** Namespace, action, resource; a resource may have colons of its own. */
function split(text: string): readonly [string, string | undefined, string | undefined] {
  const [namespace = "", action, ...rest] = text.split(":");
  return [namespace, action, rest.length === 0 ? undefined : rest.join(":")];
}

function partMatches(pattern: string | undefined, asked: string | undefined): boolean {
  if (pattern === undefined || asked === undefined) return pattern === asked;
  const source = pattern
    .split(/(\*\*|\*)/)
    .map((piece) =>
      piece === "**" ? ".*" : piece === "*" ? "[^/]*" : piece.replaceAll(/[\\^$.|?+()[\]{}/-]/g, "\\$&"),
    )
    .join("");
  return new RegExp(`^${source}$`, "s").test(asked);
}
