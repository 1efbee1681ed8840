import type { Tool } from "../tool.ts";
import { gitBirths } from "./git/birth.ts";
import { gitChanges } from "./git/changes.ts";
import { gitReads } from "./git/reads.ts";
import { gitRemotes } from "./git/remotes.ts";
import type { Outbound } from "./outbound.ts";

/** Repositories, by a git that heeds neither hooks nor configuration of anybody else's. */
export const gitTools = (outbound: Outbound): readonly Tool[] => [
  ...gitReads,
  ...gitBirths(outbound),
  ...gitChanges,
  ...gitRemotes(outbound),
];
