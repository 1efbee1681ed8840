/**
 * A full disk keeps the tools a way out. No call runs unrecorded, so a disk without room would refuse the deletions
 * that make some. The tools keep a file of allocated blocks and cut slices of 128 KiB off for a commit that found no
 * room, which is tried again at once: cut off whole, it would be anybody's. The database's log is emptied after each
 * commit then, or it would grow into all of it. While the file is not whole only reads and tools that say so
 * (`whenFull`) pass the gate, people's to the last slice and others' to the half; what is refused is not written down.
 * Deletions have no undo then: a copy on the same volume would take the room that they make.
 */
import { closeSync, constants, fstatSync, fsyncSync, ftruncateSync, openSync, statfsSync } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { openLibc } from "#lib/linux/libc";
import type { Log } from "#lib/log";
import type { Identity } from "#lib/rpc/service";

/** Maximum size of the reserve, bytes: thousands of calls with their entries. On a small volume it is a share. */
const sizeMax = 16 * 1024 * 1024;
const shareMax = 1 / 16;

/** Bytes that are given at once. The rest stays out of the reach of whoever else waits for room. */
const slice = 128 * 1024;

/** Agents and the daemons that call for them are taken while more is left: the rest is people's. */
const shareOfPeople = 1 / 2;

/** It is made after the boot, and looked after from then on. */
const firstMs = 5_000;
const everyMs = 60_000;

/**
 * Room on the disk that the tools keep for their own records, so that a full disk can still be looked at, and room be made on it. A
 * file gives it up slice by slice, to writes that found no room; the disk is `full` from then on, until there is room for the whole
 * file again.
 */
export interface Reserve {
  /** Some of it is given, and there was no room yet to make it whole. Looks whether there is now. */
  full(): boolean;
  /** Gives a slice to a write that found no room, which is tried again at once. False when nothing is left. */
  give(): boolean;
  /**
   * Lets a call through that is taken while the disk is full: it reads, or its tool says so; people's until nothing is left, others'
   * until half is. Throws RESOURCE_EXHAUSTED for the rest, before anything is written.
   */
  admit(act: Act, caller: Identity): void;
  close(): void;
}

/** An act to be let through. Reads always are, and so is a change that says `whenFull`. */
interface Act {
  readonly name: string;
  readonly effect: "read" | "change";
  readonly whenFull?: string;
}

interface ReserveParts {
  readonly path: string;
  readonly clock: Clock;
  readonly log: Log;
  /** Called when the first slice is given. */
  readonly filled?: () => void;
  /** Of the volume, bytes; tests pass a twin. */
  readonly room?: (folder: string) => { readonly total: number; readonly available: number };
}

export function openReserve({ path, clock, log, filled, room = roomOf }: ReserveParts): Reserve {
  const folder = dirname(path);
  const size = Math.floor(Math.min(sizeMax, room(folder).total * shareMax) / slice) * slice;
  const fd = openSync(path, constants.O_RDWR | constants.O_CREAT, 0o600);
  let left = fstatSync(fd).size;
  /** One that is there and smaller has given the rest. */
  let given = left > 0 && left < size;
  const over = new AbortController();

  /** Twice its size must be free: nobody is to run full because it was made. */
  const needed = () => 2 * size - left;
  const regain = () => {
    if (left >= size || room(folder).available < needed()) return;
    try {
      allocate(fd, size);
    } catch (error) {
      log.warn("the reserve cannot be made whole yet; it is tried again", { reason: messageOf(error) });
    }
    left = fstatSync(fd).size;
    if (left < size || !given) return;
    given = false;
    log.info("there is room on the data volume again: all calls are taken");
  };
  const full = () => {
    if (given) regain();
    return given;
  };
  const watch = async () => {
    for (let waitMs = firstMs; ; waitMs = everyMs) {
      await clock.sleep(waitMs, over.signal);
      regain();
    }
  };
  watch().catch(() => {});
  return {
    full,
    give: () => {
      if (left === 0) return false;
      if (!given) {
        log.error("the data volume is full: only reads, and what makes room, are carried out");
        if (filled !== undefined) setImmediate(filled);
      }
      given = true;
      left = Math.max(0, left - slice);
      ftruncateSync(fd, left);
      // What was freed can be had when the file system has written it down.
      fsyncSync(fd);
      return true;
    },
    admit: ({ name, effect, whenFull }, caller) => {
      if (!full()) return;
      const isTaken = effect === "read" || whenFull !== undefined;
      if (isTaken && left > (caller.kind === "operator" ? 0 : size * shareOfPeople)) return;
      throw refused(name, isTaken, room(folder).available, needed());
    },
    close: () => {
      over.abort();
      closeSync(fd);
    },
  };
}

const signatures = { fallocate: { arguments: ["int32", "int32", "int64", "int64"], return: "int32" } } as const;
let opened: ReturnType<typeof openLibc<typeof signatures>> | undefined;

/** Makes a file so long, of blocks that are its own from now on, without writing them. */
function allocate(fd: number, bytes: number): void {
  opened ??= openLibc(signatures);
  opened.check(opened.libc.fallocate(fd, 0, 0n, BigInt(bytes)), "allocate the reserve");
}

/** The room on a volume, of which root's share counts as taken. */
function roomOf(folder: string) {
  const { blocks, bavail, bsize } = statfsSync(folder);
  return { total: blocks * bsize, available: bavail * bsize };
}

/** The next step for people. */
export const makeRoom =
  'make room with storage.clean, or fs.delete with "permanent": true, of what storage.usage and fs.disk_usage show';

const mib = (bytes: number) => `${Math.floor(bytes / 1024 / 1024)} MiB`;

function refused(name: string, isTaken: boolean, available: number, needed: number): AiosError {
  const what = isTaken
    ? "what is left for records is kept for people"
    : "only reads, and what makes room, are carried out";
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "execute",
    object: name,
    reason: `the data volume is full (${mib(available)} are free, ${mib(needed)} are needed): ${what}`,
    next: makeRoom,
  });
}
