import type { Moment } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { KeyPair } from "#lib/identity/pki";
import { connect } from "#lib/rpc/client";
import { type Service, service } from "#lib/rpc/service";
import { EnrollmentService } from "#proto/aios/console";
import {
  type HealthCheckRequest,
  HealthService,
  HealthCheckResponse_ServingStatus as Status,
} from "#proto/grpc/health/v1/health";
import { holderOf } from "./admission.ts";
import type { Enrolment } from "./enrolment.ts";

/** The longest request for a certificate, bytes. */
const csrLengthMax = 4096;

/** aios.console.Enrollment: what a client without a certificate may call, while enrolment is open. */
export function enrolmentService(
  enrolment: Enrolment,
  authority: KeyPair,
  machine: string,
  now: () => Moment,
): Service<typeof EnrollmentService> {
  return service(EnrollmentService, {
    enroll: async ({ code, csrDer }, { peer }) => {
      if (csrDer.length > csrLengthMax)
        throw new AiosError("INVALID_ARGUMENT", `read certificate request: over ${csrLengthMax} bytes`);
      const { readCsr, signCsr } = await import("#lib/identity/certify");
      const { name, spki } = await readCsr(csrDer);
      const certificatePem = await enrolment.enrol(
        code,
        { name, key: spki.toString("hex"), from: holderOf(addressOf(peer)) },
        () => signCsr(authority, csrDer, { kind: "client", name, role: "admin" }, now()),
      );
      return { certificatePem, caPem: authority.certificate, machine };
    },
  });
}

/** The address in a peer's "ADDRESS:PORT". */
const addressOf = (peer: string): string => peer.slice(0, peer.lastIndexOf(":")).replace(/^\[|\]$/g, "");

/** Answers each time that someone types `word` at the machine's own keyboard, which PID 1 reads, until `signal`. */
export async function* typedAtKeyboard(init: string, word: string, signal: AbortSignal): AsyncGenerator<unknown> {
  // A machine that was provisioned never asks.
  const { InitService } = await import("#proto/aios/init");
  const peer = connect(InitService, init);
  try {
    yield* peer.watchKeyboard({ word }, { signal });
  } finally {
    peer.close();
  }
}

/** grpc.health.v1 of the whole machine: "" is the console itself, any other name the daemon that serves it. */
export function healthOfAll(daemons: ReadonlyMap<string, string>, address: (daemon: string) => string): Service {
  const peerOf = (request: HealthCheckRequest) => {
    const daemon = daemons.get(request.service);
    if (daemon !== undefined) return connect(HealthService, address(daemon));
    throw new AiosError("NOT_FOUND", `check health of ${request.service}: no such service on this machine`);
  };
  return service(HealthService, {
    check: async (request) => {
      if (request.service === "") return { status: Status.SERVING };
      const peer = peerOf(request);
      try {
        return await peer.check(request);
      } catch {
        return { status: Status.NOT_SERVING };
      } finally {
        peer.close();
      }
    },
    async *watch(request, { signal }) {
      if (request.service === "") {
        yield { status: Status.SERVING };
        await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        return;
      }
      const peer = peerOf(request);
      try {
        yield* peer.watch(request, { signal });
      } finally {
        peer.close();
      }
    },
  });
}
