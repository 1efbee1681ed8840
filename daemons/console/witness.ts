/**
 * The ledger's head is remembered by the console. The ledger is signed with a key that lies beside it, so an older copy
 * with its own head would pass. The console keeps the furthest head that it has seen, in its own folder; verification
 * compares. With each head the ledger tells what it has where the kept one stands: the console follows no ledger that
 * has another entry there, however far it has come.
 */
import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { moveAside } from "#lib/data/damaged";
import { replaceFile } from "#lib/data/files";
import { errnoOf } from "#lib/errors";
import type { Log } from "#lib/log";

/** How often the ledger's head is looked at. */
const lookEveryMs = 5_000;

/** The longest head, bytes. */
const headLengthMax = 4096;

/** The end of the tools' ledger, signed with the ledger's key. */
interface Head {
  readonly sequence: number;
  /** Hexadecimal. */
  readonly hash: string;
  readonly signature: string;
  /** PEM; that of the first head that was seen holds until a person has acknowledged that there is another. */
  readonly publicKey: string;
}

/** A head as the ledger tells it. */
interface Told extends Head {
  /** The entry that the ledger has now where the kept head stands: another hash means another ledger. */
  readonly after?: { readonly sequence: number; readonly hash: string };
  /** The last entry by which a person has acknowledged what is wrong. */
  readonly acknowledged?: number;
}

/**
 * Remembers the end of the tools' ledger, apart from the ledger: keeps in `kept` the furthest head seen in `told`, until `signal`
 * is aborted. When an older ledger is put back, with the head that fits it, the tools' verification finds what is remembered here:
 * a head is followed only by one of a ledger that still has it, however far that has come.
 */
export async function rememberHead(
  { told, kept }: { readonly told: string; readonly kept: string },
  clock: Clock,
  log: Log,
  signal: AbortSignal,
): Promise<void> {
  let complained = false;
  while (!signal.aborted) {
    try {
      const problem = look(told, kept, clock, log);
      if (problem !== undefined && !complained) log.error(problem, { told });
      complained = problem !== undefined;
    } catch (error) {
      if (!complained) log.error("the ledger's head cannot be remembered", { error });
      complained = true;
    }
    await clock.sleep(lookEveryMs, signal).catch(() => {});
  }
}

/** Keeps the head that is told when it follows the one that is kept. Returns what is wrong with it. */
function look(told: string, kept: string, clock: Clock, log: Log): string | undefined {
  // First of all: that it is damaged is said also while the ledger tells nothing yet.
  const before = keptHead(kept, clock, log);
  const now: Told | undefined = readHead(told);
  if (now === undefined) return undefined;
  if (!isSigned(now)) return "the ledger's head is not signed with its key";
  if (before?.sequence === now.sequence && before.hash === now.hash) return undefined;
  const acknowledged = (now.acknowledged ?? 0) > (before?.sequence ?? 0);
  if (before !== undefined && !acknowledged) {
    const problem = problemBetween(before, now);
    if (problem !== undefined) return problem;
    // Told before this head was kept: the next one says what the ledger has there.
    if (now.after?.sequence !== before.sequence) return undefined;
  }
  const { sequence, hash, signature, publicKey } = now;
  replaceFile(kept, JSON.stringify({ sequence, hash, signature, publicKey }), 0o600);
  return undefined;
}

function problemBetween(before: Head, { sequence, publicKey, after }: Told): string | undefined {
  if (publicKey !== before.publicKey) return "the ledger's head is signed with another key";
  if (sequence < before.sequence)
    return `the ledger ended at entry ${before.sequence} and now ends at entry ${sequence}: an older one was put back`;
  if (after?.sequence === before.sequence && after.hash !== before.hash)
    return `entry ${before.sequence} of the ledger is not the one that was seen: an older one was put back and went on`;
  return undefined;
}

/** The head that was seen before. A file that holds no head is moved aside: the ledger is watched from here on. */
function keptHead(kept: string, clock: Clock, log: Log): Head | undefined {
  try {
    return readHead(kept);
  } catch (error) {
    const aside = moveAside(kept, clock);
    log.error("what was seen of the ledger cannot be read: it is watched from its present head on", { error, aside });
    return undefined;
  }
}

/** A head in a file; undefined when there is none. Throws when what is there is none. */
function readHead(file: string): Head | undefined {
  try {
    const text = readFileSync(file, "utf8");
    if (text.length > headLengthMax) throw new Error(`${file}: over ${headLengthMax} bytes`);
    const head = JSON.parse(text) as Head;
    if (!Number.isInteger(head?.sequence) || typeof head.publicKey !== "string") throw new Error(`${file}: no head`);
    return head;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isSigned({ sequence, hash, signature, publicKey }: Head): boolean {
  const text = Buffer.from(`aios-ledger-head-1 ${sequence} ${hash}`);
  return verify(null, text, createPublicKey(publicKey), Buffer.from(signature, "hex"));
}
