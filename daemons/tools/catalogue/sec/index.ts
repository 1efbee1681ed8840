/** Tools of sec: weaknesses, certificates, grants, the ledger, protected places, and approvals. For the catalogue. */

import type { Clock } from "#lib/clock";
import { dataUnreadable, keysOutOfReach, momentOf } from "#lib/data/machine-state";
import type { Protection } from "../../access/index.ts";
import type { State } from "../../state/index.ts";
import type { Tool } from "../../tool.ts";
import type { KernelFolders } from "../shared/index.ts";
import { type ApprovalWorld, approvalTools } from "./approvals.ts";
import { certificateTools } from "./certificates.ts";
import { type GrantWorld, grantTools } from "./grants.ts";
import { integrityTool } from "./integrity.ts";
import { type LedgerWorld, ledgerTools } from "./ledger.ts";
import { placesTool } from "./places.ts";
import { scanTool } from "./scan.ts";

interface SecWorld extends GrantWorld, LedgerWorld, ApprovalWorld {
  readonly state: State;
  readonly clock: Clock;
  readonly kernel: KernelFolders;
  readonly protection: Pick<Protection, "places">;
  /** The machine's folders: the tools' own is below `state`, init's word of the machine in `run`. */
  readonly paths: { readonly run: string; readonly state: string };
}

export function secTools(world: SecWorld): readonly Tool[] {
  const { state, clock, kernel, protection, paths } = world;
  const now = () => momentOf(paths.run, clock);
  const checkKeys = () => {
    if (dataUnreadable(paths.run)) throw keysOutOfReach("make", "the authority for services");
  };
  return [
    scanTool(kernel),
    integrityTool(state, clock),
    ...certificateTools(`${paths.state}/ledger`, now, checkKeys),
    ...grantTools(world),
    ...ledgerTools(world),
    placesTool(protection.places),
    ...approvalTools(world),
  ];
}
