/**
 * Readiness is told, not polled. init watches for a daemon's socket to appear (inotify) and then follows
 * `Health.Watch`. Looking every 20 ms cost half a virtual processor during an emulated boot.
 */
import { existsSync, watch } from "node:fs";
import { dirname } from "node:path";
import type { Clock } from "#lib/clock";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";

export const probing = {
  /** Before connecting again to a socket where nobody answered. */
  connectAgainMs: 50,
  /**
   * A unit that answers is asked this often whether it still does, and gets this long. After `silencesMax` silences it
   * is hung.
   */
  everyMs: 20_000,
  answerWithinMs: 10_000,
  silencesMax: 3,
} as const;

type Health = Client<typeof HealthService>;

/**
 * Watches the health of the unit on `socket`, and tells `notice` of each change. Rejects with why when the unit did not
 * answer within `firstAnswerMs`, or stopped answering. One that answers "not ready" is not hung: it knows why, and says so.
 * Ends when aborted.
 */
export async function watchHealth(
  socket: string,
  firstAnswerMs: number,
  clock: Clock,
  notice: (ready: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  const done = new AbortController();
  const either = AbortSignal.any([signal, done.signal]);
  let answered = () => {};
  const firstAnswer = new Promise<void>((resolve) => {
    answered = resolve;
  });
  const told = (ready: boolean) => {
    answered();
    notice(ready);
  };
  try {
    await Promise.race([
      follow(socket, clock, told, either),
      silence(socket, firstAnswer, firstAnswerMs, clock, either),
    ]);
  } finally {
    done.abort();
  }
}

/** Connects, again and again, and passes on what the unit says of itself. */
async function follow(
  socket: string,
  clock: Clock,
  notice: (ready: boolean) => void,
  signal: AbortSignal,
): Promise<void> {
  while (!signal.aborted) {
    await appears(socket, signal);
    if (!signal.aborted) await followConnection(socket, notice, signal);
    await clock.sleep(probing.connectAgainMs, signal).catch(() => {});
  }
}

/**
 * Resolves when there is something at `path`, or when aborted. The kernel tells: looking every few milliseconds for six
 * units took half a processor under emulation.
 */
async function appears(path: string, signal: AbortSignal): Promise<void> {
  if (signal.aborted) return;
  await new Promise<void>((resolve) => {
    const done = () => {
      watcher.close();
      signal.removeEventListener("abort", done);
      resolve();
    };
    const look = () => {
      if (existsSync(path)) done();
    };
    const watcher = watch(dirname(path), look);
    watcher.on("error", done);
    signal.addEventListener("abort", done);
    look();
  });
}

async function followConnection(socket: string, notice: (ready: boolean) => void, signal: AbortSignal): Promise<void> {
  const health = connect(HealthService, `unix:${socket}`);
  try {
    for await (const { status } of health.watch({ service: "" }, { signal })) notice(status === Status.SERVING);
  } catch {
    // The socket is there and nobody listens yet, or the unit is ending: it is looked for again.
  } finally {
    health.close();
  }
}

/** Rejects when the unit keeps silent for too long. */
async function silence(
  socket: string,
  firstAnswer: Promise<void>,
  firstAnswerMs: number,
  clock: Clock,
  signal: AbortSignal,
): Promise<void> {
  const late = clock.sleep(firstAnswerMs, signal).then(
    () => true,
    () => false,
  );
  if (await Promise.race([late, firstAnswer.then(() => false)])) {
    throw new Error(`did not answer its health check within ${firstAnswerMs / 1000} s`);
  }
  const health = connect(HealthService, `unix:${socket}`);
  try {
    for (let silences = 0; !signal.aborted && silences < probing.silencesMax; ) {
      await clock.sleep(probing.everyMs, signal).catch(() => {});
      if (!signal.aborted) silences = (await answers(health, signal)) ? 0 : silences + 1;
    }
  } finally {
    health.close();
  }
  if (!signal.aborted) {
    const seconds = (probing.silencesMax * (probing.everyMs + probing.answerWithinMs)) / 1000;
    throw new Error(`stopped answering its health check for ${seconds} s`);
  }
}

async function answers(health: Health, signal: AbortSignal): Promise<boolean> {
  try {
    await health.check({ service: "" }, { timeoutMs: probing.answerWithinMs, signal });
    return true;
  } catch {
    return false;
  }
}
