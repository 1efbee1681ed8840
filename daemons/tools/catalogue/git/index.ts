import type { Tool } from "../../tool.ts";
import { gitChanges } from "./changes.ts";
import { gitBirths } from "./create.ts";
import { gitReads } from "./reads.ts";
import type { RemoteWorld } from "./remote-access.ts";
import { gitRemotes } from "./remotes.ts";

/** Repositories, by a git that heeds neither hooks nor configuration of anybody else's. */
export const gitTools = (world: RemoteWorld): readonly Tool[] => [
  ...gitReads,
  ...gitBirths(world),
  ...gitChanges,
  ...gitRemotes(world),
];
