/**
 * What agents and people may do: grants, the registry of tools, the policy, protected places.
 * The pipeline, custom tools and the catalogue come in, and tools.ts, which opens it.
 */
export { type Asking, type Grant, type Grants, openGrants } from "./grants.ts";
export { kindsOf, Limits } from "./limits.ts";
export { openPolicies, type Policies, type Policy } from "./policy.ts";
export { type Place, protectedPlaces } from "./protected.ts";
export { openProtection, type Protection } from "./protection.ts";
export { type Redaction, redactedLog } from "./redaction.ts";
export { type CapabilityTable, capabilityTable, openRegistry, type Registry } from "./registry.ts";
