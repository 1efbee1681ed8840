/**
 * How a plan is made and checked: by procedures, by what was learned, by models, in this order. Goals and sessions come
 * in; it stands on agents, since they say what can be done here.
 */

export { grantable, planCheck } from "./check-plan.ts";
export { type GoalDecision, noteOf, openDecisionLog } from "./decisions.ts";
export { extraGrants } from "./extra-grants.ts";
export { gatewayThinker } from "./gateway-source.ts";
export { contextOver, decisionStore } from "./memory-store.ts";
export { type Allowance, type Answer, allowances, type Thinker, type Thought } from "./model-source.ts";
export { sendsOut } from "./outbound.ts";
export { grammarInput, requiredObject } from "./plan-schema.ts";
export { type Planner, plannerOver } from "./planner.ts";
export { runtimeThinker } from "./runtime-source.ts";
export { planSources } from "./sources.ts";
export { strangePlaces } from "./steering.ts";
export { chooseTools } from "./tool-choice.ts";
