import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Head } from "./head.ts";

/** How often the head is told at most. */
const tellEveryMs = 1_000;

/** The head as somebody else has seen it. */
export interface Witnessed extends Head {
  /** PEM, of the key that signed it. */
  readonly publicKey: string;
}

/** The ledger's word on itself, beside its head. */
export interface Present {
  /** PEM. */
  readonly publicKey: string;
  /** The hash of an entry as it stands in the ledger now; undefined when there is no such entry. */
  hashAt(sequence: number): Buffer | undefined;
  /** The last entry by which a person has acknowledged what was wrong; 0 when none has. */
  acknowledged(): number;
}

/**
 * Somebody beside the ledger who remembers its head: the console reads `told` and keeps what it has seen in `kept`, in a folder
 * of its own. A ledger that is put back, with the head that fits it, does not fit what the console remembers; and the console
 * follows no ledger that has another entry where it has seen one, however far that has come.
 */
export interface Witness {
  /** Tells a head, at most once a second the latest. It is on disk. */
  tell(head: Head): void;
  /** What the console has seen last; undefined when it has seen nothing. */
  seen(): Witnessed | undefined;
  close(): void;
}

export interface WitnessFiles {
  /** Written by the ledger. */
  readonly told: string;
  /** Written by the console. */
  readonly kept: string;
}

/**
 * The heads as JSON files: sequence, hash and signature (hexadecimal), publicKey (PEM); in `told` also `after`, sequence and hash
 * of the entry at the kept head's place, and `acknowledged`, a sequence.
 */
export function openWitness({ told, kept }: WitnessFiles, present: Present, clock: Clock, log: Log): Witness {
  const over = new AbortController();
  let latest: Head | undefined;
  let telling = false;

  const write = () => {
    if (latest === undefined) return;
    const { sequence, hash, signature } = latest;
    latest = undefined;
    const before = readHead(kept)?.sequence ?? 0;
    const text = {
      ...{ sequence, hash: hash.toString("hex"), signature: signature.toString("hex"), publicKey: present.publicKey },
      after: { sequence: before, hash: present.hashAt(before)?.toString("hex") ?? "" },
      acknowledged: present.acknowledged(),
    };
    try {
      writeFileSync(`${told}.new`, JSON.stringify(text), { mode: 0o644 });
      renameSync(`${told}.new`, told);
    } catch (error) {
      log.warn("the ledger's head cannot be told to the console", { error });
    }
  };
  const loop = async () => {
    while (latest !== undefined) {
      write();
      await clock.sleep(tellEveryMs, over.signal);
    }
  };
  return {
    tell: (head) => {
      latest = head;
      if (telling) return;
      telling = true;
      loop()
        .catch(() => {})
        .finally(() => {
          telling = false;
        });
    },
    seen: () => readHead(kept),
    close: () => {
      write();
      over.abort();
    },
  };
}

/** A head in a file. Undefined when there is none, or what is there is none: then nothing has been seen, as the console says too. */
export function readHead(file: string): Witnessed | undefined {
  try {
    const { sequence, hash, signature, publicKey } = JSON.parse(readFileSync(file, "utf8")) as Record<string, unknown>;
    if (!Number.isInteger(sequence) || typeof hash !== "string" || typeof signature !== "string") return undefined;
    const bytes = { hash: Buffer.from(hash, "hex"), signature: Buffer.from(signature, "hex") };
    return { sequence: Number(sequence), ...bytes, publicKey: String(publicKey) };
  } catch (error) {
    if (error instanceof SyntaxError || errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
