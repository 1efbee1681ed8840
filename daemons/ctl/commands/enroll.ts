import { createPrivateKey, X509Certificate } from "node:crypto";
import { mkdirSync } from "node:fs";
import { userInfo } from "node:os";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { replaceFile } from "#lib/data/files";
import { AiosError } from "#lib/errors";
import { type EnrolmentCode, parseCode, renewalStep, shortFingerprint } from "#lib/identity/enrolment-code";
import { writePair } from "#lib/identity/key-files";
import { readMachines, rememberMachine, withPort } from "#lib/identity/machines";
import { fingerprint, type KeyPair, readCertificate } from "#lib/identity/pki";
import { connect } from "#lib/rpc/client";
import { managementPort } from "#manifest";
import { EnrollmentService, type EnrollResponse } from "#proto/aios/console";
import { type Command, exit, text, UsageError } from "../command.ts";
import { shakeHands } from "../handshake.ts";

/** An answer can be lost on its way; the machine answers the same key again. */
const triesMax = 3;

export const enroll: Command = {
  name: "enroll",
  summary: "become the first admin of a new machine, with the code on its console",
  usage: "HOST[:PORT] CODE [--name NAME] [--as PERSON]",
  args: [2, 7],
  options: {
    name: { type: "string", value: "NAME", about: "what to call the machine here (its own name unless given)" },
    as: { type: "string", value: "PERSON", about: "what the machine calls you (your login name unless given)" },
  },
  examples: [
    "aiosctl enroll 192.0.2.7 K7QM-2RXD-9FHT-0W3C-VB5N-8E4A",
    "aiosctl enroll 192.0.2.7 K7QM-2RXD-9FHT-0W3C-VB5N-8E4A --name lab --as alice",
  ],
  async run(context) {
    const { args, out, folder } = context;
    const [host = "", ...typed] = args;
    const code = parseCode(typed.join(""));
    if (code === undefined)
      throw new UsageError("this is no code: it has six groups of four letters and digits; look for a slip");
    const address = withPort(host, managementPort);
    const { ca, machine } = await machineAt(address, code);
    const alias = text(context, "name") ?? machine;
    refuseAnother(folder, alias);
    const person = text(context, "as") ?? userInfo().username;
    const { certificate, key } = await certify(address, machine, ca, code, person);
    const identity = `machines/${alias}`;
    mkdirSync(join(folder, identity), { recursive: true, mode: 0o700 });
    writePair(join(folder, identity), "operator", { certificate, key });
    replaceFile(join(folder, identity, "ca.pem"), ca);
    rememberMachine(folder, alias, { address, name: machine, identity });
    const { name, role = "" } = readCertificate(certificate);
    out.line(`${machine} at ${address} takes you as ${name}, ${role}; try "aiosctl --machine ${alias} status"`);
    out.document({ machine: alias, address, identity: name, role });
    return exit.ok;
  },
};

/** The authority (PEM) and name of the machine at an address, once it has proved to be the one that shows the code. */
async function machineAt(address: string, code: EnrolmentCode): Promise<{ ca: string; machine: string }> {
  const { shown } = await shakeHands(address, undefined, false);
  const leaf = new X509Certificate(shown.raw);
  const issuer = shown.issuerCertificate as typeof shown.issuerCertificate | undefined;
  const ca = new X509Certificate(issuer?.raw ?? shown.raw);
  const known = shortFingerprint(fingerprint(ca.raw)) === code.fingerprint;
  if (known && leaf.verify(ca.publicKey)) return { ca: ca.toString(), machine: readCertificate(leaf.raw).name };
  throw new AiosError("UNAUTHENTICATED", {
    act: "enrol on",
    object: address,
    reason: "it is not the machine that shows this code: its authority is another, or someone is in between",
    next: "nothing was sent; compare address and code with the machine's console",
  });
}

/** Sends the secret to the machine, whose authority is known by now, and takes its certificate for a new key. */
async function certify(
  address: string,
  machine: string,
  ca: string,
  code: EnrolmentCode,
  person: string,
): Promise<KeyPair> {
  const { createCsr } = await import("#lib/identity/certify");
  const { csr, key } = await createCsr(person);
  const credentials = grpc.credentials.createSsl(Buffer.from(ca));
  const client = connect(EnrollmentService, address, credentials, { "grpc.ssl_target_name_override": machine });
  try {
    const { certificatePem } = await again(() => client.enroll({ code: code.secret, csrDer: csr }));
    const certificate = new X509Certificate(certificatePem);
    if (!certificate.verify(new X509Certificate(ca).publicKey) || !certificate.checkPrivateKey(createPrivateKey(key)))
      throw new AiosError(
        "DATA_LOSS",
        `enrol on ${address}: the certificate that came is not for the key that was sent; try again`,
      );
    return { certificate: certificatePem, key };
  } finally {
    client.close();
  }
}

async function again(ask: () => Promise<EnrollResponse>): Promise<EnrollResponse> {
  for (let tries = 1; ; tries++) {
    try {
      return await ask();
    } catch (error) {
      if (!(error instanceof AiosError) || error.code !== "UNAVAILABLE") throw error;
      if (tries === triesMax)
        throw new AiosError("UNAVAILABLE", {
          act: "enrol on",
          object: "this machine",
          reason: "it takes no one without a certificate any more: it has an admin, or the code is too old",
          next: `ask its admin for a certificate; where it has none, ${renewalStep}`,
        });
    }
  }
}

/** A name that stands for another machine already is not taken over. */
function refuseAnother(folder: string, alias: string): void {
  const known = readMachines(folder).machines[alias];
  if (known === undefined) return;
  throw new UsageError(
    `a machine called ${alias} (${known.address}) is known here already: give this one another with --name, or "aiosctl machines forget ${alias}" first`,
  );
}
