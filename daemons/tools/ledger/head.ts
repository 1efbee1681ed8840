import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { existsSync, readdirSync, readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { moveAside } from "#lib/data/damaged";
import { replaceFile } from "#lib/data/files";
import { errnoOf, messageOf } from "#lib/errors";

/** The end of the chain, signed: without it a tail that was cut off would not be missed. */
export interface Head {
  readonly sequence: number;
  readonly hash: Buffer;
  readonly signature: Buffer;
}

/** Signs heads and checks them. */
export interface Seal {
  sign(sequence: number, hash: Buffer): Head;
  fits(head: Head): boolean;
  signText(text: string): Buffer;
  fitsText(text: string, signature: Buffer): boolean;
  /** PEM; whoever has it can check heads. */
  readonly publicKey: string;
  /** Why the key that signed before is not there any more; undefined when it is. */
  readonly lost: string | undefined;
  /** The key was made at this start, and there was none before. */
  readonly isNew: boolean;
}

const noSignature = Buffer.alloc(0);

/** Signs nothing, where the machine's key is out of reach: one made for this boot would vanish with it, and prove nothing. */
export const unsigned: Seal = {
  sign: (sequence, hash) => ({ sequence, hash, signature: noSignature }),
  fits: ({ signature }) => signature.length === 0,
  signText: () => noSignature,
  fitsText: (_, signature) => signature.length === 0,
  ...{ publicKey: "", lost: undefined, isNew: true },
};

/**
 * The machine's ledger key (Ed25519) in `folder`, made at the first start. When it is missing or damaged another is made; what
 * the one before has signed still fits, as far as its public part is known: from its file, or from those who have `seen` its heads
 * (PEM).
 */
export function openSeal(folder: string, clock: Clock, seen: readonly string[] = []): Seal {
  const { key, lost, isNew } = readOrMakeKey(folder, clock, seen);
  const publicKey = createPublicKey(key);
  const keys = [publicKey, ...formerKeys(folder, seen)];
  const fitsAny = (text: Buffer, signature: Buffer) => keys.some((one) => verify(null, text, one, signature));
  return {
    sign: (sequence, hash) => ({ sequence, hash, signature: sign(null, signedText(sequence, hash), key) }),
    fits: ({ sequence, hash, signature }) => fitsAny(signedText(sequence, hash), signature),
    signText: (text) => sign(null, Buffer.from(text), key),
    fitsText: (text, signature) => fitsAny(Buffer.from(text), signature),
    publicKey: pemOf(publicKey),
    lost,
    isNew,
  };
}

const signedText = (sequence: number, hash: Buffer) =>
  Buffer.from(`aios-ledger-head-1 ${sequence} ${hash.toString("hex")}`);

const pemOf = (key: KeyObject) => key.export({ type: "spki", format: "pem" }).toString();

interface OwnKey {
  readonly key: KeyObject;
  readonly lost: string | undefined;
  readonly isNew: boolean;
}

function readOrMakeKey(folder: string, clock: Clock, seen: readonly string[]): OwnKey {
  const [privatePath, publicPath] = [`${folder}/ledger.key`, `${folder}/ledger.pub`];
  const known = existsSync(publicPath);
  let lost = known || seen.length > 0 ? "its file was missing" : undefined;
  try {
    const key = createPrivateKey(readFileSync(privatePath));
    if (key.asymmetricKeyType !== "ed25519") throw new Error(`it is a key of another kind (${key.asymmetricKeyType})`);
    const pem = pemOf(createPublicKey(key));
    if (publicKeyIn(publicPath) !== pem) replaceFile(publicPath, pem, 0o444);
    return { key, lost: undefined, isNew: false };
  } catch (error) {
    if (errnoOf(error) !== "ENOENT")
      lost = `${messageOf(error)}; what was there is in ${moveAside(privatePath, clock)}`;
  }
  // Its public part checks what it has signed, for as long as that is kept.
  if (lost !== undefined && known) moveAside(publicPath, clock);
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  replaceFile(publicPath, pemOf(publicKey), 0o444);
  replaceFile(privatePath, privateKey.export({ type: "pkcs8", format: "pem" }), 0o400);
  return { key: privateKey, lost, isNew: lost === undefined };
}

function formerKeys(folder: string, seen: readonly string[]): KeyObject[] {
  const files = readdirSync(folder).filter((name) => name.startsWith("ledger.pub.aside-"));
  const pems = [...files.map((name) => publicKeyIn(`${folder}/${name}`)), ...seen.map(publicKeyOf)];
  return pems.flatMap((pem) => (pem === undefined ? [] : [createPublicKey(pem)]));
}

function publicKeyIn(path: string): string | undefined {
  try {
    return publicKeyOf(readFileSync(path, "utf8"));
  } catch {
    return undefined;
  }
}

/** A public key as PEM; undefined when the text is none. */
function publicKeyOf(text: string): string | undefined {
  try {
    return pemOf(createPublicKey(text));
  } catch {
    return undefined;
  }
}
