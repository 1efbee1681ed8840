import type { PolicyGateDecision, PolicyGatePort } from "#kernel/ports";
import { type Capability, capabilityIn, covers, hasDots, parseCapability, thingOf } from "#lib/capability";

/** Sessions whose policies are kept. Beyond them the oldest is forgotten: it is denied everything until it is set again. */
const sessionsMax = 10_000;

interface Policy {
  readonly gated: readonly Capability[];
  readonly allowed: readonly Capability[];
}

/** The kernel's gate: each session's policy, the gated before the allowed, and all else denied. */
export function policyGate(): PolicyGatePort {
  const policies = new Map<string, Policy>();
  return {
    set_policy: async (session, { gate_capabilities, allow_capabilities }) => {
      const policy = {
        gated: gate_capabilities.map(parseCapability),
        allowed: allow_capabilities.map(parseCapability),
      };
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

function verdict(policy: Policy | undefined, text: string): keyof PolicyGateDecision {
  const asked = capabilityIn(text);
  const thing = asked === undefined || hasDots(text) ? undefined : thingOf(asked);
  if (policy === undefined || thing === undefined) return "denied";
  if (policy.gated.some((granted) => covers(granted, thing))) return "requires_approval";
  return policy.allowed.some((granted) => covers(granted, thing)) ? "allowed" : "denied";
}
