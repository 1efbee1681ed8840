/**
 * The wires to model providers: each protocol, its faults, and what was learned about a server.
 * The lanes come in; the SDKs are loaded at a provider's first call.
 */
export { claudeWire } from "./claude.ts";
export { type FaultKind, ProviderFault, UnfitAnswer } from "./fault.ts";
export { openLearned } from "./learned.ts";
export { openaiWire } from "./openai.ts";
export { isLoopback } from "./transport.ts";
