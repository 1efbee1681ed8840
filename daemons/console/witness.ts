import { createPublicKey, verify } from "node:crypto";
import { readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import { replaceFile } from "#lib/files";
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
  /** PEM; that of the first head that was seen holds for good. */
  readonly publicKey: string;
}

/**
 * Remembers the end of the tools' ledger, apart from the ledger: keeps in `kept` the furthest head seen in `told`, until `signal`
 * is aborted. When an older ledger is put back, with the head that fits it, the tools' verification finds what is remembered here.
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
      const problem = look(told, kept);
      if (problem !== undefined && !complained) log.error(problem, { told });
      complained = problem !== undefined;
    } catch (error) {
      if (!complained) log.error("the ledger's head cannot be remembered", { error });
      complained = true;
    }
    await clock.sleep(lookEveryMs, signal).catch(() => {});
  }
}

/** Keeps the head that is told when it is further than the one that is kept. Returns what is wrong with it. */
function look(told: string, kept: string): string | undefined {
  const now = readHead(told);
  if (now === undefined) return undefined;
  const before = readHead(kept);
  if (!isSigned(now, before?.publicKey ?? now.publicKey)) return "the ledger's head is not signed with its key";
  if (before !== undefined && now.sequence < before.sequence)
    return `the ledger ended at entry ${before.sequence} and now ends at entry ${now.sequence}: an older one was put back`;
  if (before === undefined || now.sequence > before.sequence) replaceFile(kept, JSON.stringify(now), 0o600);
  return undefined;
}

function readHead(file: string): Head | undefined {
  try {
    const text = readFileSync(file, "utf8");
    if (text.length > headLengthMax) throw new Error(`${file}: over ${headLengthMax} bytes`);
    return JSON.parse(text) as Head;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

function isSigned({ sequence, hash, signature }: Head, publicKey: string): boolean {
  const text = Buffer.from(`aios-ledger-head-1 ${sequence} ${hash}`);
  return verify(null, text, createPublicKey(publicKey), Buffer.from(signature, "hex"));
}
