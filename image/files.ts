import { createHash } from "node:crypto";
import { closeSync, openSync, readSync, rmSync } from "node:fs";

/** Removes a folder with everything in it; nothing happens when it is not there. */
export function removeTree(path: string): void {
  rmSync(path, { recursive: true, force: true });
}

/** SHA-256 of a file, without holding it. */
export function hashFile(path: string): string {
  const hash = createHash("sha256");
  const buffer = Buffer.allocUnsafe(4 * 1024 * 1024);
  const file = openSync(path, "r");
  try {
    for (let length = readSync(file, buffer); length > 0; length = readSync(file, buffer))
      hash.update(buffer.subarray(0, length));
  } finally {
    closeSync(file);
  }
  return hash.digest("hex");
}
