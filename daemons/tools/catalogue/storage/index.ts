/** Tools of storage: disks, file systems, snapshots, and room to be made. For the catalogue. */
import type { Tool } from "../../tool.ts";
import { type CleanWorld, cleanTool } from "./clean.ts";
import { mkfs } from "./format.ts";
import { mount, unmount } from "./mount.ts";
import { storageReads } from "./reads.ts";
import { type SnapshotWorld, snapshotTools } from "./snapshot.ts";

export const storageTools = (world: SnapshotWorld & CleanWorld): readonly Tool[] => [
  ...storageReads,
  mount,
  unmount,
  mkfs,
  ...snapshotTools(world),
  cleanTool(world),
];
