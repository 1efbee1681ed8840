import { createPrivateKey, createPublicKey, generateKeyPairSync, type KeyObject, sign, verify } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import { replaceFile } from "#lib/files";

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
}

/** The machine's ledger key (Ed25519) in `folder`, made at the first start. */
export function openSeal(folder: string): Seal {
  const key = readOrMakeKey(`${folder}/ledger.key`, `${folder}/ledger.pub`);
  const publicKey = createPublicKey(key);
  return {
    sign: (sequence, hash) => ({ sequence, hash, signature: sign(null, signedText(sequence, hash), key) }),
    fits: ({ sequence, hash, signature }) => verify(null, signedText(sequence, hash), publicKey, signature),
    signText: (text) => sign(null, Buffer.from(text), key),
    fitsText: (text, signature) => verify(null, Buffer.from(text), publicKey, signature),
    publicKey: publicKey.export({ type: "spki", format: "pem" }).toString(),
  };
}

const signedText = (sequence: number, hash: Buffer) =>
  Buffer.from(`aios-ledger-head-1 ${sequence} ${hash.toString("hex")}`);

function readOrMakeKey(privatePath: string, publicPath: string): KeyObject {
  if (existsSync(privatePath)) return createPrivateKey(readFileSync(privatePath));
  const { privateKey, publicKey } = generateKeyPairSync("ed25519");
  replaceFile(publicPath, publicKey.export({ type: "spki", format: "pem" }), 0o444);
  replaceFile(privatePath, privateKey.export({ type: "pkcs8", format: "pem" }), 0o400);
  return privateKey;
}
