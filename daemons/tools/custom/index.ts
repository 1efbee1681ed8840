/**
 * Tools that others register at run time and carry out on a socket of theirs.
 * The service comes in, and tools.ts, which opens it.
 */
export { type CustomTools, openCustomTools } from "./custom.ts";
