import { existsSync, mkdirSync, mkdtempSync, renameSync, rmSync } from "node:fs";
import { homedir, userInfo } from "node:os";
import { dirname, join } from "node:path";
import { type Clock, systemClock } from "../clock.ts";
import { replaceFile } from "../data/files.ts";
import { errnoOf } from "../errors.ts";
import { incomplete, readPair, readPem, writePair } from "./key-files.ts";
import { type KeyPair, readCertificate, validityMs } from "./pki.ts";

/**
 * A person's identity to the machines they run: their own authority, and a certificate of it with the role admin. All
 * PEM.
 */
interface OperatorIdentity {
  /** The name machines know them by. */
  readonly name: string;
  readonly ca: KeyPair;
  readonly client: KeyPair;
}

/** A machine's identity: it proves who it is, and knows its operator. All PEM. */
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
export async function ensureOperatorIdentity(folder: string, clock: Clock = systemClock): Promise<OperatorIdentity> {
  if (!existsSync(folder)) await createFolder(folder, clock);
  else if (!existsSync(join(folder, "ca.key"))) await createAuthority(folder, clock);
  const ca = readPair(folder, "ca");
  if (needsRenewal(folder, clock)) {
    writePair(folder, "operator", await issueClient(ca, clock));
  }
  const client = readPair(folder, "operator");
  return { name: readCertificate(client.certificate).name, ca, client };
}

/**
 * A new certificate for a machine, valid under `machineName` and each of `addresses` (host names or IP addresses),
 * from the operator's authority in `folder`.
 */
export async function issueMachineCertificate(
  folder: string,
  machineName: string,
  addresses: readonly string[],
  clock: Clock = systemClock,
): Promise<MachineIdentity> {
  const { ca } = await ensureOperatorIdentity(folder, clock);
  const { issueCertificate } = await import("./certify.ts");
  const pair = await issueCertificate(ca, { kind: "server", name: machineName, addresses }, clock.now());
  return { ca: ca.certificate, ...pair };
}

/** Makes the folder under another name and renames it: it appears whole, and of two programs that do this at once one wins. */
async function createFolder(folder: string, clock: Clock): Promise<void> {
  const identity = await newIdentity(clock);
  mkdirSync(dirname(folder), { recursive: true });
  const made = mkdtempSync(`${folder}.new-`);
  writeIdentity(made, identity);
  try {
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true });
    if (errnoOf(error) !== "ENOTEMPTY" && errnoOf(error) !== "EEXIST") throw error;
  }
}

/** An authority in a folder that is there without one. */
async function createAuthority(folder: string, clock: Clock): Promise<void> {
  const identity = await newIdentity(clock);
  // This program may have made it elsewhere meanwhile: from here on nothing comes between.
  if (existsSync(join(folder, "ca.key"))) return;
  if (existsSync(join(folder, "ca.pem"))) throw incomplete(join(folder, "ca.key"), "ca.pem is there without it");
  writeIdentity(folder, identity);
}

type NewIdentity = Pick<OperatorIdentity, "ca" | "client">;

async function newIdentity(clock: Clock): Promise<NewIdentity> {
  const { createCa } = await import("./certify.ts");
  const ca = await createCa("aios-operator", clock.now());
  return { ca, client: await issueClient(ca, clock) };
}

/** The key last: it is what says that the authority is there. */
function writeIdentity(folder: string, { ca, client }: NewIdentity): void {
  writePair(folder, "operator", client);
  replaceFile(join(folder, "ca.pem"), ca.certificate);
  replaceFile(join(folder, "ca.key"), ca.key, 0o600);
}

async function issueClient(ca: KeyPair, clock: Clock): Promise<KeyPair> {
  const { issueCertificate } = await import("./certify.ts");
  return issueCertificate(ca, { kind: "client", name: loginName(), role: "admin" }, clock.now());
}

function needsRenewal(folder: string, clock: Clock): boolean {
  const path = join(folder, "operator.pem");
  return !existsSync(path) || readCertificate(readPem(path)).notAfter - clock.now() < renewBeforeMs;
}

function loginName(): string {
  const name = userInfo().username.replace(/[^A-Za-z0-9._-]/g, "");
  return /^[A-Za-z0-9]/.test(name) && /[A-Za-z0-9]$/.test(name) && name.length <= 64 ? name : "operator";
}
