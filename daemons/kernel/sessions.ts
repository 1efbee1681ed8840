import type { Kernel } from "./api.ts";
import { type Branches, busyError, checkedId, mainBranch, noEvent, refusal, requireOpen } from "./branches.ts";
import { noteEvent } from "./notes.ts";
import { sessionConfig } from "./state.ts";

type Sessions = Pick<Kernel, "createSession" | "fork" | "merge" | "restore" | "setBudget" | "closeSession">;

/** The kernel's verbs about sessions and their branches. */
export function sessionsOver(all: Branches): Sessions {
  return {
    createSession: async (session, name, config) => {
      const read = sessionConfig.read(JSON.parse(sessionConfig.write(config, "config")), "config");
      return all
        .at(session, mainBranch)
        .add(({ head }) =>
          head > 0 ? [] : [{ type: "SessionCreated", name, config: JSON.parse(sessionConfig.write(read, "config")) }],
        );
    },
    fork: async (session, from, branch, sequence) => {
      const parent = requireOpen(await all.at(session, from).state());
      const at = sequence ?? parent.head;
      if (at < 1 || at > parent.head) throw noEvent("fork", parent, at);
      if (from === branch)
        throw refusal("ALREADY_EXISTS", "fork", `${session}/${branch}`, "a branch is not its own fork");
      await all.world.ports.journal.fork(session, checkedId(branch), from, at);
      await all
        .at(session, from)
        .add(({ children }) =>
          children.includes(branch)
            ? []
            : [{ type: "BranchCreated", new_branch_id: branch, fork_point_seq: at, name: branch }],
        );
      return all.at(session, branch).state();
    },
    merge: async (session, branch, into) => {
      if (branch === mainBranch) throw refusal("INVALID_ARGUMENT", "merge", branch, "main is merged into nothing");
      const { head } = await all.at(session, branch).add((state) => {
        if (state.run !== undefined) throw busyError(state);
        return state.closed === undefined ? [noteEvent("aios.branch_closed", { merged_into: into })] : [];
      });
      return all.at(session, into).add((state) => {
        requireOpen(state);
        if (state.merged.includes(branch)) return [];
        return [{ type: "BranchMerged", source_branch_id: branch, merge_seq: head }];
      });
    },
    restore: async (session, branch, checkpointId) =>
      all.at(session, branch).add((state) => {
        requireOpen(state);
        if (state.run !== undefined) throw busyError(state);
        const found = state.checkpoints.find((checkpoint) => checkpoint.checkpointId === checkpointId);
        if (found === undefined)
          throw refusal("NOT_FOUND", "restore", checkpointId, "this branch has no such checkpoint");
        if (!found.sound)
          throw refusal("DATA_LOSS", "restore", checkpointId, "the journal is not the one that it was made of");
        return [{ type: "CheckpointRestored", checkpoint_id: checkpointId, restored_to_seq: found.sequence }];
      }),
    setBudget: (session, branch, budget, reason) =>
      all.at(session, branch).add((state) => {
        requireOpen(state);
        return [{ type: "BudgetUpdated", budget, reason }];
      }),
    closeSession: async (session, reason) => {
      const close = (branch: string) =>
        all.at(session, branch).add((state) => {
          if (state.run !== undefined) throw busyError(state);
          return state.closed === undefined ? [{ type: "SessionClosed", reason }] : [];
        });
      const names = await all.names(session);
      const open = (await Promise.all(names.map((branch) => all.at(session, branch).state()))).find(({ run }) => run);
      if (open !== undefined) throw busyError(open);
      // Main comes last: who finds it closed finds all closed.
      for (const branch of names.slice(1)) await close(branch);
      return await close(mainBranch);
    },
  };
}
