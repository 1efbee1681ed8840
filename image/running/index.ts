/** How the steps of a plan run: which begins when, and who follows it. The build alone comes in. */
export { runSteps } from "./run-steps.ts";
