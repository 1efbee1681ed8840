/**
 * The procedures that the image declares: read, matched with the words of a goal, or the reason why none fits. The
 * other sources of plans come in, and what checks plans; it stands on nothing of the orchestrator's but words and
 * templates.
 */

export { bestFit, procedureSource } from "./procedure-source.ts";
export { type Declared, type Procedure, readProcedures } from "./procedures.ts";
export { isSaid, parametersFrom } from "./said.ts";
export { wordsOf } from "./words.ts";
