import type { Kernel } from "./api.ts";
import { Branches, mainBranch, noEvent, refusal } from "./branches.ts";
import { runsOver } from "./runs.ts";
import { sessionsOver } from "./sessions.ts";
import type { BranchState } from "./state.ts";
import { loadBranch, type World } from "./writer.ts";

export type { Kernel, TickRequest, TickResult } from "./api.ts";
export { mainBranch };

/** A kernel over its ports. It holds nothing that it could not read from the journal again. */
export function openKernel(world: World): Kernel {
  const all = new Branches(world);
  return {
    ...sessionsOver(all),
    ...runsOver(all),
    state: (session, branch = mainBranch) => all.at(session, branch).state(),
    replay: (session, branch, sequence) => replay(world, session, branch, sequence),
    branches: (session) => all.names(session),
    close: () => all.close(),
  };
}

async function replay(world: World, session: string, branch: string, sequence?: number): Promise<BranchState> {
  const state = await loadBranch(world, session, branch, sequence === undefined ? undefined : Math.max(1, sequence));
  const { head } = state;
  if (head === 0) throw refusal("NOT_FOUND", "replay", `${session}/${branch}`, "there is no such session or branch");
  if (sequence !== undefined && head !== sequence) throw noEvent("replay", state, sequence);
  return state;
}
