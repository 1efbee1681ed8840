import type { Tool } from "../tool.ts";
import { gitBirths } from "./git/birth.ts";
import { gitChanges } from "./git/changes.ts";
import { gitReads } from "./git/reads.ts";
import { gitRemotes } from "./git/remotes.ts";
import type { RemoteWorld } from "./git/way.ts";

/** Repositories, by a git that heeds neither hooks nor configuration of anybody else's. */
export const gitTools = (world: RemoteWorld): readonly Tool[] => [
  ...gitReads,
  ...gitBirths(world),
  ...gitChanges,
  ...gitRemotes(world),
];
