import { mkdtempSync, rmSync } from "node:fs";
import { connect as connectTls } from "node:tls";
import grpc from "@grpc/grpc-js";
import { ManualClock, systemClock } from "#lib/clock";
import { createCa, issueCertificate } from "#lib/identity/certify";
import type { KeyPair } from "#lib/identity/pki";
import type { Role } from "#lib/identity/role";
import { type Log, silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity, identify, type Service, type ServiceDefinition } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { openPeer } from "#lib/testing/sockets";
import { type Console, type ConsoleParts, openConsole } from "../console.ts";

/** For tests: a machine's console on a free port of loopback, with twins of its daemons on Unix sockets. */
export interface Twin {
  readonly folder: string;
  readonly clock: ManualClock;
  readonly console: Console;
  /** Starts a daemon with these services on its socket. */
  daemon(name: string, ...services: Service[]): Promise<{ stop(): void }>;
  /** A client of a service through the port; without credentials it shows no certificate. */
  client<S extends ServiceDefinition>(definition: S, shows?: KeyPair, trusts?: string): Client<S>;
  close(): Promise<void>;
}

export const now = systemClock.now();
export const ca = await createCa("operator", now);
export const client = (role: Role, name: string = role, atMs = now, by = ca) =>
  issueCertificate(by, { kind: "client", name, role }, atMs);

/** The machine "aios" as an operator provisions it. */
export const provisioned = {
  ca: ca.certificate,
  ...(await issueCertificate(ca, { kind: "server", name: "aios", addresses: ["127.0.0.1"] }, now)),
};

export async function openTwin(parts: Partial<ConsoleParts> = {}, log: Log = silentLog): Promise<Twin> {
  const folder = mkdtempSync("/tmp/aios-console-");
  const closing: (() => Promise<void> | void)[] = [];
  const clock = new ManualClock(now);
  const opened = await openConsole({
    where: { host: "127.0.0.1", port: 0 },
    identity: provisioned,
    address: (name) => `unix:${socketPath(folder, name, "console")}`,
    descriptors: () => ({}),
    clock,
    log,
    ...parts,
  });
  return {
    folder,
    clock,
    console: opened,
    async daemon(name, ...services) {
      const server = createServer(services, (call) => identify(coreIdentity("console"), call.metadata), log);
      await listen(server, { path: openPeer(folder, name, "console"), identity: coreIdentity("console"), mode: 0o600 });
      closing.push(() => server.forceShutdown());
      return { stop: () => server.forceShutdown() };
    },
    client(definition, shows, trusts = ca.certificate) {
      const [key, certificate] = shows ? [Buffer.from(shows.key), Buffer.from(shows.certificate)] : [null, null];
      const credentials = grpc.credentials.createSsl(Buffer.from(trusts), key, certificate);
      const made = connect(definition, `127.0.0.1:${opened.port}`, credentials, {
        "grpc.ssl_target_name_override": "aios",
      });
      closing.push(() => made.close());
      return made;
    },
    async close() {
      for (const close of closing.splice(0)) await close();
      await opened.close();
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

/** A bare TLS client's view: how long until the machine closed the connection, and what it had sent. */
export function knock(
  port: number,
  shows?: Partial<KeyPair>,
  protocols = ["h2"],
): Promise<{ received: number; error?: string }> {
  return new Promise((resolve) => {
    let received = 0;
    const socket = connectTls({
      host: "127.0.0.1",
      port,
      rejectUnauthorized: false,
      ALPNProtocols: protocols,
      ...(shows && { key: shows.key, cert: shows.certificate }),
    });
    socket.on("data", (data) => {
      received += data.length;
    });
    socket.on("error", (error) => resolve({ received, error: error.message }));
    socket.on("close", () => resolve({ received }));
  });
}
