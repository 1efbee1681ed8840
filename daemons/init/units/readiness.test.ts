/** Over real sockets: a unit's health as the library's server tells it. */
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { type Health, health } from "#lib/rpc/health";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity } from "#lib/rpc/service";
import { probing, watchHealth } from "./readiness.ts";

let folder: string;
let socket: string;
let told: boolean[];
let stop: AbortController;
let servers: { forceShutdown(): void }[];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-readiness-");
  socket = join(folder, "unit.sock");
  told = [];
  stop = new AbortController();
  servers = [];
});
afterEach(() => {
  stop.abort();
  for (const server of servers) server.forceShutdown();
  rmSync(folder, { recursive: true });
});

async function serve(answer: Health = health([])): Promise<Health> {
  const server = createServer([answer.service], () => coreIdentity("orchestrator"), silentLog);
  servers.push(server);
  await listen(server, { path: socket, identity: coreIdentity("orchestrator"), mode: 0o600 });
  return answer;
}

const watch = (clock = systemClock, firstAnswerMs = 5_000) =>
  watchHealth(socket, firstAnswerMs, clock, (ready) => told.push(ready), stop.signal);

async function eventually(wanted: () => boolean): Promise<void> {
  for (let tries = 0; tries < 3_000 && !wanted(); tries += 1) await systemClock.sleep(10);
  expect(wanted(), `told ${told}`).toBe(true);
}

describe("a unit's health", () => {
  it("is heard as soon as it changes, from before there is a socket", async () => {
    const watching = watch();
    await systemClock.sleep(50);
    const state = await serve();
    await eventually(() => told.length === 1);
    state.set(true);
    await eventually(() => told.length === 2);
    state.set(false);
    await eventually(() => told.length === 3);
    expect(told).toEqual([false, true, false]);
    stop.abort();
    await watching;
  });

  it("is heard again from the next server on the same path, also after a file that is no socket", async () => {
    writeFileSync(socket, "");
    void watch();
    await systemClock.sleep(50);
    const state = await serve();
    state.set(true);
    await eventually(() => told.at(-1) === true);
    servers.pop()?.forceShutdown();
    const next = await serve();
    await eventually(() => told.at(-1) === false);
    next.set(true);
    await eventually(() => told.at(-1) === true);
  });

  it("of a unit that never answers ends with why", async () => {
    await expect(watch(systemClock, 100)).rejects.toThrow("did not answer its health check within 0.1 s");
  });

  it("of a unit that answers not ready is no hang", async () => {
    await serve();
    const outcome = await Promise.race([watch(systemClock, 1_000), systemClock.sleep(1_500).then(() => "watching")]);
    expect(outcome).toBe("watching");
    expect(told).toEqual([false]);
  });

  it("of a unit that stops answering ends with why", async () => {
    const clock = new ManualClock();
    const state = await serve();
    state.set(true);
    const watching = watch(clock).catch((error: Error) => error.message);
    const pump = setInterval(() => clock.advance(probing.connectAgainMs), 5);
    await eventually(() => told.includes(true));
    clearInterval(pump);
    servers.pop()?.forceShutdown();
    for (let look = 0; look < probing.silencesMax; look += 1) {
      await clock.advance(probing.everyMs);
      // The answer does not come, in real time.
      await systemClock.sleep(150);
    }
    expect(await watching).toMatch(/^stopped answering its health check for 90 s$/);
  });
});
