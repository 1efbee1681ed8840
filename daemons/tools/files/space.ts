import { errnoOf } from "#lib/errors";
import { openLibc } from "#lib/linux/libc";

const signatures = { fallocate: { arguments: ["int32", "int32", "int64", "int64"], return: "int32" } } as const;

/** FALLOC_FL_KEEP_SIZE: the file does not become longer by it. */
const keepSize = 1;

let opened: ReturnType<typeof openLibc<typeof signatures>> | undefined;

/**
 * Takes a disk's room for the first `bytes` of an open file, so that writing them does not end in the middle for lack of it.
 * Throws ENOSPC, and has changed nothing. A file system that knows no such thing is written to as it is.
 */
export function reserveSpace(fd: number, bytes: number): void {
  if (bytes === 0) return;
  opened ??= openLibc(signatures);
  try {
    opened.check(opened.libc.fallocate(fd, keepSize, 0n, BigInt(bytes)), `reserve ${bytes} bytes`);
  } catch (error) {
    if (!["EOPNOTSUPP", "ENOTSUP", "ENOSYS"].includes(errnoOf(error) ?? "")) throw error;
  }
}
