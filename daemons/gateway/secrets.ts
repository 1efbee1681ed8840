/**
 * Keys are sealed, and go one way. AES-256-GCM, bound to their names, in the gateway's database; the key that seals
 * them is a file (0400) made at the first boot in the gateway's folder, which no tool may read. A copy of the database
 * alone tells nothing; who has the whole data volume has both, and against that only an encrypted volume helps.
 * `aios.api_gateway.Secrets` has no call that gives a value back.
 */
import { createCipheriv, createDecipheriv, randomBytes } from "node:crypto";
import { chmodSync, existsSync, readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { moveAside } from "#lib/data/damaged";
import { replaceFile } from "#lib/data/files";
import type { Sqlite } from "#lib/data/sqlite";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";

/** The facts about a secret that are shown. `setAt` is milliseconds since the epoch. */
interface SecretInfo {
  readonly name: string;
  readonly setAt: number;
  readonly setBy: string;
}

/** The keys of model providers, sealed at rest. Values leave it towards a provider only. */
export interface Secrets {
  has(name: string): boolean;
  /** The value, or undefined when there is none. Throws FAILED_PRECONDITION when it cannot be opened. */
  get(name: string): string | undefined;
  /** Throws INVALID_ARGUMENT for a name or a value that is none. */
  set(name: string, value: string, by: string): void;
  list(): SecretInfo[];
  /** Whether there was one. */
  remove(name: string): boolean;
}

const namePattern = /^[a-z0-9][a-z0-9-]{0,31}$/;
/** A value that an HTTP header can carry, without blanks. */
const valuePattern = /^[\x21-\x7e]{1,4096}$/;
const secretsMax = 64;

interface Row {
  readonly nonce: Buffer;
  readonly sealed: Buffer;
  readonly tag: Buffer;
}

/**
 * Secrets in `database`, each sealed with AES-256-GCM by the key in `keyFile` and bound to its name. The key is made
 * where there is none: at a machine's first boot. A copy of the database without the key file tells nothing. With a `refusal`
 * there is no key, and nothing is sealed.
 */
export function openSecrets(database: Sqlite, keyFile: string, clock: Clock, refusal?: AiosError): Secrets {
  const key = refusal === undefined ? readKey(keyFile) : undefined;
  const select = database.prepare<[string], Row>("SELECT nonce, sealed, tag FROM secret WHERE name = ?");
  const list = database.prepare<[], SecretInfo>(
    "SELECT name, set_at AS setAt, set_by AS setBy FROM secret ORDER BY name",
  );
  const put = database.prepare(
    "INSERT OR REPLACE INTO secret (name, nonce, sealed, tag, set_at, set_by) VALUES (?, ?, ?, ?, ?, ?)",
  );
  const remove = database.prepare("DELETE FROM secret WHERE name = ?");

  return {
    has: (name) => select.get(name) !== undefined,
    get(name) {
      const row = select.get(name);
      return row && key && open(key, name, row);
    },
    set(name, value, by) {
      check(name, value);
      if (key === undefined) throw refusal;
      if (select.get(name) === undefined && list.all().length >= secretsMax)
        throw keyError(name, `there are ${secretsMax} already, which is the most`, "remove one");
      const nonce = randomBytes(12);
      const cipher = createCipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name));
      const sealed = Buffer.concat([cipher.update(value, "utf8"), cipher.final()]);
      put.run(name, nonce, sealed, cipher.getAuthTag(), clock.now(), by);
    },
    list: () => list.all(),
    remove: (name) => remove.run(name).changes > 0,
  };
}

function check(name: string, value: string): void {
  if (!namePattern.test(name))
    throw keyError(beginning(name, 64), "not a name of lower-case letters, digits and dashes", "use a provider's name");
  // The value itself is in no message.
  if (!valuePattern.test(value))
    throw keyError(
      name,
      "the value is empty, too long, or has blanks in it",
      "give the key alone, at most 4096 characters",
    );
}

function keyError(name: string, reason: string, next: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "set secret", object: name, reason, next });
}

function open(key: Buffer, name: string, { nonce, sealed, tag }: Row): string {
  try {
    const decipher = createDecipheriv("aes-256-gcm", key, nonce).setAAD(Buffer.from(name)).setAuthTag(tag);
    return Buffer.concat([decipher.update(sealed), decipher.final()]).toString("utf8");
  } catch {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "open secret",
      object: name,
      reason: "it was sealed with another key than this machine's, or was changed",
      next: `set it again with "aiosctl secrets set ${name}"`,
    });
  }
}

const keyBytes = 32;

/** Moves a key file aside that is none, so that the gateway starts; `lost` is told that the secrets are to be set again. */
export function keepSoundKey(file: string, clock: Clock, lost: (what: string) => void): void {
  if (!existsSync(file)) return;
  try {
    readKey(file);
  } catch (error) {
    const next = 'put it back from a backup, or set providers\' keys again with "aiosctl secrets set NAME"';
    lost(
      `the key that seals providers' keys is none (${messageOf(error)}) and is now ${moveAside(file, clock)}; ${next}`,
    );
  }
}

function readKey(file: string): Buffer {
  try {
    const key = readFileSync(file);
    if (key.length !== keyBytes)
      throw new Error(
        `read ${file}: ${key.length} bytes, not ${keyBytes}; restore it, or remove it and set the secrets again`,
      );
    chmodSync(file, 0o400);
    return key;
  } catch (error) {
    if (errnoOf(error) !== "ENOENT") throw error;
    const key = randomBytes(keyBytes);
    replaceFile(file, key, 0o400);
    return key;
  }
}
