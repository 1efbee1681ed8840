import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { getPriority } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Clock, ManualClock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { superviseChroma, type Vectors, watchRemoteChroma } from "./chroma.ts";
import { spawnChroma, untilQuiet } from "./chroma-process.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const settled = async () => {};
/** Real time, but pauses pass in a hundredth of it. */
const hasty: Clock = { ...systemClock, sleep: (ms, signal) => systemClock.sleep(ms / 100, signal) };

let folder: string;
let children: ChildProcess[];
let vectors: Vectors;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-chroma-");
  mkdirSync(join(folder, "data"));
  children = [];
});
afterEach(async () => {
  await vectors.stop();
  rmSync(folder, { recursive: true });
});

function supervise(mode: string): Vectors {
  misbehave(mode);
  vectors = superviseChroma({
    spawn: (configFile) => {
      const child = spawnChroma(here("../testing/fake-chroma.ts"), folder, configFile);
      children.push(child);
      return child;
    },
    configFile: join(folder, "server.yaml"),
    dataFolder: join(folder, "data"),
    settled,
    clock: hasty,
    log: silentLog,
  });
  return vectors;
}

const misbehave = (mode: string) => writeFileSync(join(folder, "data/mode"), mode);

async function until(condition: () => boolean): Promise<void> {
  while (!condition()) await systemClock.sleep(10);
}

describe("our own vector server", () => {
  it("is ready once a vector was stored and found, and yields the processor", async () => {
    const { status } = supervise("");
    expect(status().ready).toBe(false);
    await until(() => status().ready);
    expect(status()).toMatchObject({ detail: expect.stringContaining("stored and found"), pid: children[0]?.pid });
    expect(getPriority(status().pid)).toBe(15);
  });

  it("comes back after it was killed", async () => {
    const { status } = supervise("");
    await until(() => status().ready);
    children[0]?.kill("SIGKILL");
    await until(() => !status().ready);
    await until(() => status().ready);
    expect(children.length).toBe(2);
    expect(status().pid).toBe(children[1]?.pid);
  });

  it("is not ready while it does not find what it stored, and is ended and started again", async () => {
    const { status } = supervise("forgets");
    await until(() => children.length >= 2);
    expect(status().ready).toBe(false);
    expect(status().detail).toMatch(/not found again|not been started/);
    misbehave("");
    await until(() => status().ready);
  });

  it("says with its own words why it ended", async () => {
    const { status } = supervise("dies");
    await until(() => status().detail.includes("exit code 3"));
    expect(status().detail).toContain("cannot open the data folder");
    misbehave("");
    await until(() => status().ready);
  });

  it("is gone after stop, also when it does not listen to SIGINT", async () => {
    const { status, stop } = supervise("deaf to SIGINT");
    await until(() => status().ready);
    await stop();
    expect(children[0]?.signalCode).toBe("SIGKILL");
    expect(status().ready).toBe(false);
  });

  it("ends when its daemon is gone, however that came about", async () => {
    const { status } = supervise("");
    await until(() => status().ready);
    const daemon = spawn(
      process.execPath,
      [
        "-e",
        `const { spawnChroma } = require(${JSON.stringify(here("chroma-process.ts"))});
         console.log(spawnChroma(...${JSON.stringify([here("../testing/fake-chroma.ts"), folder, join(folder, "server.yaml")])}).pid);`,
      ],
      { stdio: ["ignore", "pipe", "inherit"] },
    );
    await vectors.stop();
    const pid = Number(await new Promise((resolve) => daemon.stdout.once("data", resolve)));
    daemon.kill("SIGKILL");
    await until(() => !alive(pid));
  });
});

describe("a vector server elsewhere", () => {
  it("is watched, not started", async () => {
    let document = "";
    const server = createServer(async (request, response) => {
      let text = "";
      for await (const chunk of request) text += chunk;
      if (request.url?.endsWith("/upsert")) document = JSON.parse(text).documents[0];
      response.end(JSON.stringify({ id: "x", documents: [[document]] }));
    });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    vectors = watchRemoteChroma(url, { settled, clock: hasty, log: silentLog });
    await until(() => vectors.status().ready);
    expect(vectors.status()).toEqual({ ready: true, detail: `a vector was stored and found at ${url}`, pid: 0, url });
    server.close();
    await until(() => vectors.status().detail.includes("silent 3 times"));
    expect(vectors.status().ready).toBe(false);
  });
});

describe("untilQuiet", () => {
  it("waits while the machine is busy, but not for ever", async () => {
    vectors = {
      status: () => ({ ready: false, detail: "", pid: 0 }),
      suspect: () => {},
      onReady: () => {},
      stop: async () => {},
    };
    for (const [loads, expectedMs] of [
      [[90, 80, 40], 1_500],
      [[90], 8_000],
    ] as const) {
      const clock = new ManualClock();
      const start = clock.monotonic();
      let at = 0;
      let ended = 0;
      const waiting = untilQuiet(
        () => loads[Math.min(at++, loads.length - 1)] ?? 0,
        clock,
        new AbortController().signal,
      );
      waiting.then(() => {
        ended = clock.monotonic() - start;
      });
      await clock.advance(30_000);
      await waiting;
      expect(ended).toBe(expectedMs);
    }
  });
});

/** A zombie is gone: only its number waits to be read. */
function alive(pid: number): boolean {
  try {
    return !/^State:\s+Z/m.test(readFileSync(`/proc/${pid}/status`, "utf8"));
  } catch {
    return false;
  }
}
