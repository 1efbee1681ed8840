import { readFileSync, renameSync, writeFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { errnoOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { Head, Seal } from "./head.ts";

/** How often the head is told at most. */
const tellEveryMs = 1_000;

/** The head as somebody else has seen it. */
export type Witnessed = Head;

/**
 * Somebody beside the ledger who remembers its head: the console reads `told` and keeps what it has seen in `kept`, in a folder
 * of its own. A ledger that is put back, with the head that fits it, does not fit what the console remembers.
 */
export interface Witness {
  /** Tells a head, at most once a second the latest. */
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

/** The heads as JSON files: sequence, hash and signature (hexadecimal), publicKey (PEM). */
export function openWitness({ told, kept }: WitnessFiles, seal: Seal, clock: Clock, log: Log): Witness {
  const over = new AbortController();
  let latest: Head | undefined;
  let telling = false;

  const write = () => {
    if (latest === undefined) return;
    const { sequence, hash, signature } = latest;
    latest = undefined;
    const text = { sequence, hash: hash.toString("hex"), signature: signature.toString("hex") };
    try {
      writeFileSync(`${told}.new`, JSON.stringify({ ...text, publicKey: seal.publicKey }), { mode: 0o644 });
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
    seen: () => {
      try {
        const { sequence, hash, signature } = JSON.parse(readFileSync(kept, "utf8")) as Record<string, unknown>;
        return {
          sequence: Number(sequence),
          hash: Buffer.from(String(hash), "hex"),
          signature: Buffer.from(String(signature), "hex"),
        };
      } catch (error) {
        if (errnoOf(error) === "ENOENT") return undefined;
        log.warn("what the console remembers of the ledger cannot be read", { error });
        return { sequence: 0, hash: Buffer.alloc(0), signature: Buffer.alloc(0) };
      }
    },
    close: () => {
      write();
      over.abort();
    },
  };
}
