/**
 * The little that PID 1 loads before it says its first line: the command line, the screen, the line itself.
 * Every part of init comes in; what is added here makes the first line later.
 */
export { type Cmdline, parseCmdline } from "./cmdline.ts";
export { sayFirstLine } from "./first-line.ts";
export { openScreen, type Screen } from "./screen.ts";
