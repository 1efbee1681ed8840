import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { type Clock, systemClock } from "./clock.ts";
import { errnoOf } from "./errors.ts";
import { replaceFile } from "./files.ts";
import { incomplete, readPair, readPem, writePair } from "./key-files.ts";
import { createCa, issueCertificate, type KeyPair, readCertificate, validityMs } from "./pki.ts";

/** Who a person is to the machines they run: their own authority, and a certificate of it with the role admin. All PEM. */
export interface OperatorIdentity {
  /** The name machines know them by. */
  readonly name: string;
  readonly ca: KeyPair;
  readonly client: KeyPair;
}

/** What a machine is given so that it can prove who it is and knows its operator. All PEM. */
export interface MachineIdentity {
  /** The operator's authority: signs the machine's certificate and those of its clients. */
  readonly ca: string;
  readonly certificate: string;
  readonly key: string;
}

/** Certificates are renewed when less than this is left of their life. */
const renewBeforeMs = validityMs.client / 4;

/** Where an operator's identity and machines are kept: AIOS_CONFIG_DIR, else aios in the user's configuration folder. */
export function operatorFolder(env: NodeJS.ProcessEnv): string {
  return env["AIOS_CONFIG_DIR"] ?? join(env["XDG_CONFIG_HOME"] ?? join(homedir(), ".config"), "aios");
}

/**
 * The operator's identity in `folder` (0700): ca.pem, ca.key, operator.pem, operator.key, made when missing; the certificate
 * is renewed in time. Throws FAILED_PRECONDITION when a file is missing or unreadable: an authority is never replaced by itself.
 */
export function ensureOperatorIdentity(folder: string, clock: Clock = systemClock): OperatorIdentity {
  if (!existsSync(folder)) createFolder(folder, clock);
  else if (!existsSync(join(folder, "ca.key"))) createAuthority(folder, clock);
  const ca = readPair(folder, "ca");
  if (needsRenewal(folder, clock)) {
    const subject = { kind: "client", name: loginName(), role: "admin" } as const;
    writePair(folder, "operator", issueCertificate(ca, subject, clock.now()));
  }
  const client = readPair(folder, "operator");
  return { name: readCertificate(client.certificate).name, ca, client };
}

/**
 * A new certificate for a machine, valid under `machineName` and each of `addresses` (host names or IP addresses),
 * from the operator's authority in `folder`.
 */
export function issueMachineCertificate(
  folder: string,
  machineName: string,
  addresses: readonly string[],
  clock: Clock = systemClock,
): MachineIdentity {
  const { ca } = ensureOperatorIdentity(folder, clock);
  const pair = issueCertificate(ca, { kind: "server", name: machineName, addresses }, clock.now());
  return { ca: ca.certificate, ...pair };
}

/** Makes the folder under another name and renames it: it appears whole, and of two programs that do this at once one wins. */
function createFolder(folder: string, clock: Clock): void {
  mkdirSync(dirname(folder), { recursive: true });
  const made = mkdtempSync(`${folder}.new-`);
  createAuthority(made, clock);
  try {
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true });
    if (errnoOf(error) !== "ENOTEMPTY" && errnoOf(error) !== "EEXIST") throw error;
  }
}

/** The key last: it is what says that the authority is there. */
function createAuthority(folder: string, clock: Clock): void {
  if (existsSync(join(folder, "ca.pem"))) throw incomplete(join(folder, "ca.key"), "ca.pem is there without it");
  const ca = createCa("aios-operator", clock.now());
  const subject = { kind: "client", name: loginName(), role: "admin" } as const;
  writePair(folder, "operator", issueCertificate(ca, subject, clock.now()));
  replaceFile(join(folder, "ca.pem"), ca.certificate);
  replaceFile(join(folder, "ca.key"), ca.key, 0o600);
}

function needsRenewal(folder: string, clock: Clock): boolean {
  const path = join(folder, "operator.pem");
  return !existsSync(path) || readCertificate(readPem(path)).notAfter - clock.now() < renewBeforeMs;
}

function loginName(): string {
  const name = userInfo().username.replace(/[^A-Za-z0-9._-]/g, "");
  return /^[A-Za-z0-9]/.test(name) && /[A-Za-z0-9]$/.test(name) && name.length <= 64 ? name : "operator";
}
