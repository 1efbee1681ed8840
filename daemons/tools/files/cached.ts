/**
 * What may wait for a disk goes to Node's thread pool, what the kernel has in memory does not. A trip to the pool costs
 * 60 µs, looking up a path that the gate has just walked costs 2. Holding a file, looking at it and letting it go is
 * asked for at once. A path, and a small file's content, are first asked for by calls that the kernel answers from
 * memory or not at all (openat2 with RESOLVE_CACHED, preadv2 with RWF_NOWAIT); what they do not tell, new names and
 * syncing go to the pool.
 */
import { closeSync } from "node:fs";
import { openLibc } from "#lib/linux/libc";

/**
 * Looks that the kernel answers from memory or not at all: they never wait for a disk or a server, so they are asked for at once,
 * where a thread of the pool costs twenty times as much. What they do not tell, a thread finds out.
 */
const signatures = {
  syscall: { arguments: ["int64", "int64", "string", "buffer", "uint64"], return: "int64" },
  preadv2: { arguments: ["int32", "buffer", "int32", "int64", "int32"], return: "int64" },
} as const;

let opened: ReturnType<typeof openLibc<typeof signatures>> | undefined;

function libc() {
  opened ??= openLibc(signatures);
  return opened;
}

/** openat2(2), by its number, which all machines share: not every C library has the function. */
const openat2 = 437n;
const fromRoot = -100n;

/** struct open_how: O_PATH and O_CLOEXEC, which open nothing; RESOLVE_NO_SYMLINKS and RESOLVE_CACHED. */
const how = Buffer.from(new BigUint64Array([0o12_000_000n, 0n, 0x24n]).buffer);

/** Whether `path` stands and no symbolic link is on its way or at its end. False also when the kernel does not know it from memory. */
export function standsPlainly(path: string): boolean {
  const fd = Number(libc().libc.syscall(openat2, fromRoot, path, how, BigInt(how.length)));
  if (fd < 0) return false;
  closeSync(fd);
  return true;
}

/** Content up to this size is read from memory, bytes. */
const sizeMaxBytes = 65_536;

/** RWF_NOWAIT. */
const noWait = 8;

const room = Buffer.alloc(sizeMaxBytes + 1);
let vector: Buffer | undefined;

/** The content of an open file of this `size`, bytes. Undefined when it is not all in memory, or the size is another by now. */
export function readCached(fd: number, size: number): Buffer | undefined {
  if (size === 0 || size > sizeMaxBytes) return undefined;
  // A struct iovec: one byte more, so that a file that has grown is noticed.
  vector ??= Buffer.from(new BigUint64Array([libc().addressOf(room), 0n]).buffer);
  vector.writeBigUInt64LE(BigInt(size + 1), 8);
  const length = Number(libc().libc.preadv2(fd, vector, 1, 0n, noWait));
  return length === size ? Buffer.from(room.subarray(0, size)) : undefined;
}
