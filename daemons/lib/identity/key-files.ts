import { createPrivateKey, X509Certificate } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import { replaceFile } from "../data/files.ts";
import { AiosError, messageOf } from "../errors.ts";
import { cut } from "../text.ts";
import type { KeyPair } from "./pki.ts";

/** Reads NAME.pem and NAME.key of `folder`. Throws FAILED_PRECONDITION when one is missing, none, or not the other's. */
export function readPair(folder: string, name: string): KeyPair {
  const [certificateFile, keyFile] = [join(folder, `${name}.pem`), join(folder, `${name}.key`)];
  const pair = { certificate: readPem(certificateFile), key: readPem(keyFile) };
  const certificate = parsePem(certificateFile, "certificate", () => new X509Certificate(pair.certificate));
  const key = parsePem(keyFile, "private key", () => createPrivateKey(pair.key));
  if (!certificate.checkPrivateKey(key)) throw incomplete(keyFile, `it is not the key of ${certificateFile}`);
  return pair;
}

function parsePem<T>(path: string, what: string, parse: () => T): T {
  try {
    return parse();
  } catch (error) {
    throw incomplete(path, `it is no ${what} (${cut(messageOf(error), 100)})`);
  }
}

/** Writes NAME.key (0600) and then NAME.pem, each whole or not at all. */
export function writePair(folder: string, name: string, pair: KeyPair): void {
  replaceFile(join(folder, `${name}.key`), pair.key, 0o600);
  replaceFile(join(folder, `${name}.pem`), pair.certificate);
}

/** The text of a PEM file. Throws FAILED_PRECONDITION when it cannot be read. */
export function readPem(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch (error) {
    throw incomplete(path, messageOf(error));
  }
}

/** An identity of which a file is missing. */
export function incomplete(path: string, reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "read",
    object: path,
    reason,
    next: "restore it from a copy, or move its folder away: then a new identity is made, and machines must be told of it",
  });
}
