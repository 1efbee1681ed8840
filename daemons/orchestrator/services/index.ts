/**
 * The calls of clients and agents: a service of gRPC each, the messages, and who may call what. Nobody comes in but the
 * daemon's own wiring.
 */

export { autonomyService } from "./autonomy-service.ts";
export { nameOf, ownGoal, refusal, roleOf } from "./callers.ts";
export { dutiesService } from "./duties-service.ts";
export { furtherCalls } from "./further-calls.ts";
export { goalControlService } from "./goal-control-service.ts";
export { knownGoals } from "./known-goals.ts";
export { goalMessage, handoutMessage, taskMessage } from "./messages.ts";
export { sessionsService } from "./sessions-service.ts";
