/** Tools of service: what PID 1 keeps running, and services that a package brought. For the catalogue. */
import type { Clock } from "#lib/clock";
import type { Tool } from "../../tool.ts";
import { serviceChanges } from "./changes.ts";
import { packagedFolders } from "./packaged.ts";
import { serviceReads } from "./reads.ts";
import { type Units, withPackaged } from "./units.ts";

interface ServiceWorld {
  readonly init: Units;
  readonly clock: Clock;
  /** Services are described below `etc`. */
  readonly paths: { readonly etc: string };
  /** Where packages describe theirs; elsewhere in tests. */
  readonly packaged?: readonly string[];
}

export function serviceTools({ init, clock, paths, packaged = packagedFolders }: ServiceWorld): readonly Tool[] {
  const units = withPackaged(init, packaged);
  return [...serviceReads(units, clock), ...serviceChanges(units, paths.etc, packaged)];
}
