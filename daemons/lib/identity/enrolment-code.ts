import { createHash, randomInt } from "node:crypto";
import { beginning } from "../text.ts";

/**
 * The code on a new machine's console: 24 symbols in groups of four.
 *
 *     7 a secret (35 bits; a wrong one is taken three times from an address)
 *    16 the beginning of the SHA-256 of the machine's CA certificate (80 bits: none can be made to match)
 *     1 a check, so that a mistyped code is noticed before it is sent
 *
 * The secret proves to the machine that one has read its console; the fingerprint proves the machine to its operator
 * before the secret is sent.
 */
export interface EnrolmentCode {
  readonly secret: string;
  /** The beginning of the CA certificate's fingerprint, as symbols. */
  readonly fingerprint: string;
}

/** Crockford's base 32: no letter that looks like a digit, and no U. */
const alphabet = "0123456789ABCDEFGHJKMNPQRSTVWXYZ";
const secretLength = 7;
const fingerprintLength = 16;

/** The word that asks for another code, typed at the machine's own keyboard with Enter. */
export const renewalWord = "code";

/** The next step of whoever has no code that is taken. */
export const renewalStep = `type ${renewalWord} and Enter at the machine's own console for a new one, or restart it`;

/** A new secret. */
export function newSecret(): string {
  return Array.from({ length: secretLength }, () => alphabet[randomInt(alphabet.length)]).join("");
}

/** The part of a certificate's fingerprint (SHA-256, bytes) that a code carries. */
export function shortFingerprint(fingerprint: Buffer): string {
  const bits = BigInt(`0x${fingerprint.toString("hex")}`) >> BigInt(fingerprint.length * 8 - fingerprintLength * 5);
  return Array.from({ length: fingerprintLength }, (_, at) =>
    symbol(bits >> BigInt((fingerprintLength - 1 - at) * 5)),
  ).join("");
}

/** The code as people read it: "K7QM-2RXD-…". */
export function formatCode({ secret, fingerprint }: EnrolmentCode): string {
  const symbols = secret + fingerprint;
  return (symbols + check(symbols)).replace(/.{4}(?=.)/g, "$&-");
}

/** The code that someone typed, in either case, with or without dashes and blanks; undefined when it cannot be one. */
export function parseCode(text: string): EnrolmentCode | undefined {
  const symbols = text.toUpperCase().replace(/[-\s]/g, "").replace(/O/g, "0").replace(/[IL]/g, "1");
  if (symbols.length !== secretLength + fingerprintLength + 1) return undefined;
  const body = symbols.slice(0, -1);
  if (check(body) !== symbols.at(-1)) return undefined;
  return { secret: beginning(body, secretLength), fingerprint: body.slice(secretLength) };
}

function check(symbols: string): string {
  return symbol(BigInt(createHash("sha256").update(symbols).digest().readUInt8(0)));
}

function symbol(bits: bigint): string {
  return alphabet.charAt(Number(bits & 31n));
}
