import type { Kernel } from "./api.ts";
import { Branches, mainBranch } from "./branches.ts";
import { runsOver } from "./runs.ts";
import { sessionsOver } from "./sessions.ts";
import { loadBranch, type World } from "./writer.ts";

export type { Kernel, TickRequest, TickResult } from "./api.ts";
export type { World } from "./writer.ts";
export { mainBranch };

/** A kernel over its ports. It holds nothing that it could not read from the journal again. */
export function openKernel(world: World): Kernel {
  const all = new Branches(world);
  return {
    ...sessionsOver(all),
    ...runsOver(all),
    state: (session, branch = mainBranch) => all.at(session, branch).state(),
    replay: (session, branch, sequence) => loadBranch(world, session, branch, sequence),
    branches: (session) => all.names(session),
    close: () => all.close(),
  };
}
