/** Tools of git: repositories, by a git that heeds neither hooks nor configuration of anybody else's. For the catalogue. */
import type { Protection } from "../../access/index.ts";
import type { Tool } from "../../tool.ts";
import type { Outbound } from "../shared/index.ts";
import { gitChanges } from "./changes.ts";
import { gitCreations } from "./create.ts";
import { gitReads } from "./reads.ts";
import { gitRemotes } from "./remotes.ts";

interface GitWorld {
  readonly outbound: Outbound;
  readonly protection: Protection;
  readonly paths: { readonly etc: string };
}

export function gitTools({ outbound, protection, paths }: GitWorld): readonly Tool[] {
  const world = { outbound, protection, etc: paths.etc };
  return [...gitReads, ...gitCreations(world), ...gitChanges, ...gitRemotes(world)];
}
