import { hash, X509Certificate } from "node:crypto";
import { existsSync } from "node:fs";
import * as Type from "typebox";
import type { Moment } from "#lib/clock";
import { callAfter } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { readPair, writePair } from "#lib/identity/key-files";
import { type KeyPair, namePattern } from "#lib/identity/pki";
import type { ResolvedPath } from "../../files/index.ts";
import { hold, readHeld } from "../../files/index.ts";
import type { Backups } from "../../state/index.ts";
import { changes, type Tool } from "../../tool.ts";
import { absolutePath, named, object, timestamp } from "../shared/words.ts";
import { placeFile, planWrite, undoWrite } from "../shared/write.ts";

/** The largest certificate file that is read, bytes, and the names in one at most. */
const fileMaxBytes = 256 * 1024;
const namesMax = 32;

/** Only its owner may read a private key. */
const keyMode = 0o600;

const certified = {
  path: Type.String(),
  name: Type.String(),
  addresses: Type.Array(Type.String()),
  not_after: timestamp,
  fingerprint: Type.String({ description: "SHA-256, hexadecimal" }),
  ca: Type.String({ description: "the certificate, PEM, that those must trust who connect" }),
};

const facts = {
  resources: { path: "path" },
  capabilities: ["sec:certify:{path}", "fs:write:{path}"],
  exclusive: "certificates",
  risk: "medium",
  timeoutMs: 20_000,
  idempotent: false,
} as const;

interface Issued extends KeyPair {
  readonly name: string;
  readonly addresses: readonly string[];
}

/**
 * Certificates for services of this machine, by an authority of the tools' own in `folder`: not the one that operators and
 * the console are certified by. `permitKey` throws where none is to be made. Key, certificate and authority go into one PEM file, which nginx and others take for both.
 */
export function certificateTools(folder: string, now: () => Moment, permitKey = () => {}): readonly Tool[] {
  const authority = openAuthority(folder, now, permitKey);
  // Made before the act, because the plan says what will be written; waiting here for it.
  const waiting = new Map<string, Issued>();

  const prepare = async (executionId: string, path: ResolvedPath, issued: Issued, backups: Backups) => {
    const content = Buffer.from(bundle(issued, (await authority()).certificate));
    const written = { sha256: hash("sha256", content), bytes: content.length };
    const plan = await named("back up", path.path, () => planWrite(path, written, backups));
    waiting.set(executionId, issued);
    callAfter(facts.timeoutMs, () => waiting.delete(executionId), "unheld");
    return plan;
  };

  const place = async (executionId: string, path: ResolvedPath) => {
    const issued = waiting.get(executionId);
    if (issued === undefined) throw new Error("no certificate was made");
    waiting.delete(executionId);
    const ca = (await authority()).certificate;
    await named("write", path.path, () => placeFile(path, Buffer.from(bundle(issued, ca)), executionId, keyMode));
    return { path: path.path, ...described(issued), ca };
  };

  const issue = async (name: string, addresses: readonly string[]): Promise<Issued> => {
    // Loaded when first needed: it takes its time.
    const { issueCertificate } = await import("#lib/identity/certify");
    const pair = await issueCertificate(await authority(), { kind: "server", name, addresses }, now());
    return { ...pair, name, addresses };
  };

  const generate = changes({
    name: "sec.cert_generate",
    summary: "Makes a key and a server certificate by the machine's own authority for services, in one PEM file.",
    input: object({
      path: absolutePath,
      name: Type.String({ pattern: namePattern.source, description: "the server's host name" }),
      addresses: Type.Optional(
        Type.Array(Type.String({ minLength: 1, maxLength: 253 }), {
          maxItems: namesMax,
          description: "other names and IP addresses that it is reached by",
        }),
      ),
    }),
    output: object(certified),
    ...facts,
    undo: {
      prepare: async ({ executionId, input, resources: { path } }, backups) =>
        prepare(executionId, path, await issue(input.name, input.addresses ?? []), backups),
      restore: undoWrite.restore,
      settle: async (plan, call) => undoWrite.settle?.(plan, call),
    },
    run: ({ executionId, resources: { path } }) => place(executionId, path),
  });

  const rotate = changes({
    name: "sec.cert_rotate",
    summary: "Replaces a certificate that sec.cert_generate made by a new one for the same names, with a new key.",
    input: object({ path: absolutePath }),
    output: object({ ...certified, previous_fingerprint: Type.String() }),
    ...facts,
    undo: {
      prepare: async ({ executionId, resources: { path } }, backups) => {
        const { name, addresses } = await readIssued(path.path, (await authority()).certificate);
        return prepare(executionId, path, await issue(name, addresses), backups);
      },
      restore: undoWrite.restore,
      settle: async (plan, call) => undoWrite.settle?.(plan, call),
    },
    run: async ({ executionId, resources: { path } }) => {
      const previous = await readIssued(path.path, (await authority()).certificate);
      return { ...(await place(executionId, path)), previous_fingerprint: previous.fingerprint };
    },
  });

  return [generate, rotate];
}

/** The authority in `folder`, made when it is first needed. */
function openAuthority(folder: string, now: () => Moment, permitKey: () => void): () => Promise<KeyPair> {
  const name = "services-ca";
  let authority: Promise<KeyPair> | undefined;
  const make = async () => {
    permitKey();
    const { createCa } = await import("#lib/identity/certify");
    const pair = await createCa("aios-services", now());
    writePair(folder, name, pair);
    return pair;
  };
  return () => {
    authority ??= existsSync(`${folder}/${name}.pem`) ? Promise.resolve(readPair(folder, name)) : make();
    authority.catch(() => {
      authority = undefined;
    });
    return authority;
  };
}

const bundle = ({ certificate, key }: KeyPair, ca: string) =>
  `${key.trimEnd()}\n${certificate.trimEnd()}\n${ca.trimEnd()}\n`;

function described({ certificate, name, addresses }: Issued) {
  const x509 = new X509Certificate(certificate);
  return { name, addresses: [...addresses], not_after: Date.parse(x509.validTo), fingerprint: fingerprintOf(x509) };
}

const fingerprintOf = (x509: X509Certificate) => hash("sha256", x509.raw);

/** Whom a certificate is for. Throws FAILED_PRECONDITION when it is not by our authority. */
async function readIssued(path: string, ca: string) {
  const refuse = (reason: string) =>
    new AiosError("FAILED_PRECONDITION", {
      act: "rotate certificate",
      object: path,
      reason,
      next: "make one by sec.cert_generate",
    });
  const content = await named("read", path, async () => {
    const held = await hold(path);
    try {
      return await readHeld(held, fileMaxBytes);
    } finally {
      await held.close();
    }
  });
  const pem = /-----BEGIN CERTIFICATE-----[^-]+-----END CERTIFICATE-----/.exec(content.toString("latin1"))?.[0];
  if (pem === undefined) throw refuse("it holds no certificate");
  const x509 = parse(pem);
  if (x509 === undefined || !x509.verify(new X509Certificate(ca).publicKey))
    throw refuse("its certificate is not by this machine's authority for services");
  const name = /^CN=(.*)$/m.exec(x509.subject)?.[1] ?? "";
  const names = (x509.subjectAltName ?? "").split(", ").map((one) => one.replace(/^(DNS|IP Address):/, ""));
  return { name, addresses: names.filter((one) => one !== name), fingerprint: fingerprintOf(x509) };
}

function parse(pem: string): X509Certificate | undefined {
  try {
    return new X509Certificate(pem);
  } catch {
    return undefined;
  }
}
