import type { Tool } from "../../tool.ts";
import { gitBirths } from "./birth.ts";
import { gitChanges } from "./changes.ts";
import { gitReads } from "./reads.ts";
import { gitRemotes } from "./remotes.ts";
import type { RemoteWorld } from "./way.ts";

/** Repositories, by a git that heeds neither hooks nor configuration of anybody else's. */
export const gitTools = (world: RemoteWorld): readonly Tool[] => [
  ...gitReads,
  ...gitBirths(world),
  ...gitChanges,
  ...gitRemotes(world),
];
