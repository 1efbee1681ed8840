import { errnoOf } from "../errors.ts";

/** Whether something failed for want of room on a disk. */
export function isFullDisk(error: unknown): boolean {
  const code = errnoOf(error);
  return code === "SQLITE_FULL" || code === "ENOSPC" || code === "EDQUOT";
}
