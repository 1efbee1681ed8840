/** Tools of process: those that run, and those that these tools start, with what they write. For the catalogue. */
export { processTools } from "./processes.ts";
