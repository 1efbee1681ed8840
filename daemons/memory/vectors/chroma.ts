/**
 * Chroma waits for a quiet machine. It is an index that can be rebuilt and the memory is ready without it: it starts
 * once the machine is less than half busy, at the latest 8 s after the memory. Its idle cost is nothing: the half core
 * it was seen to spin is what SIGTERM leaves behind, so it is ended by SIGINT.
 */
import type { ChildProcess } from "node:child_process";
import { mkdirSync, statSync } from "node:fs";
import { createServer } from "node:net";
import type { Clock } from "#lib/clock";
import { replaceFile } from "#lib/data/files";
import { messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import type { Log } from "#lib/log";
import { beginning, ending } from "#lib/text";
import { type ChromaUrl, heartbeat, proveSearch } from "./chroma-api.ts";

/** Whether vectors can be searched. */
interface VectorStatus {
  readonly ready: boolean;
  /** Where it answers, or why it does not. */
  readonly detail: string;
  /** Process of our own server; 0 when there is none. */
  readonly pid: number;
  /** Where it answers; undefined while it is not ready. */
  readonly url?: ChromaUrl;
}

export interface Vectors {
  status(): VectorStatus;
  /** Something went wrong in using it: whether it is there is asked at once, and not at the next beat. */
  suspect(): void;
  /** Called each time it has become ready. */
  onReady(listener: () => void): void;
  stop(): Promise<void>;
}

interface ChromaOptions {
  /** Starts the server with its configuration file. Its standard input is its tie to us: it ends when that closes. */
  readonly spawn: (configFile: string) => ChildProcess;
  readonly configFile: string;
  /** Where it keeps its data; made when missing. */
  readonly dataFolder: string;
  /** Resolves when the server may start. */
  readonly settled: (signal: AbortSignal) => Promise<void>;
  readonly clock: Clock;
  readonly log: Log;
  /** A heartbeat that takes longer is a silence; 5 s unless given. */
  readonly heartbeatTimeoutMs?: number;
}

/** The means by which both kinds of server are kept. */
type Keeping = Pick<ChromaOptions, "settled" | "clock" | "log" | "heartbeatTimeoutMs">;

/** Pause after a failure; doubles with each further one, and starts again after a steady minute. */
const pauseMinMs = 500;
const pauseMaxMs = 60_000;
const steadyMs = 60_000;

/** The server answers within this, or is taken for hung. */
const startTimeoutMs = 60_000;
const startLookMs = 50;

/** How often a running server is asked whether it is there, and how many silences end it. */
const beatMs = 30_000;
const silentBeatMs = 5_000;
const silencesMax = 3;

/** The end of the server's standard error that is kept, characters. */
const wordsLengthMax = 4_000;

/** SIGINT ends it within 30 ms; SIGTERM would make it hang and spin. */
const endGraceMs = 3_000;

/** Keeps our own Chroma server running on loopback. Nothing of ours waits for it: search says when it is not there. */
export function superviseChroma(options: ChromaOptions): Vectors {
  let child: ChildProcess | undefined;
  const vectors = keep(options, async (watch) => {
    const url = `http://127.0.0.1:${await freePort()}`;
    writeServerConfig(options, new URL(url).port);
    child = options.spawn(options.configFile);
    const exited = exitOf(child);
    try {
      await Promise.race([exited, serve(url, { ...watch, intact: () => databaseFile(options.dataFolder) })]);
    } finally {
      await end(child, exited, options.clock);
      child = undefined;
    }
  });
  return { ...vectors, status: () => ({ ...vectors.status(), pid: child?.pid ?? 0 }) };
}

/** Watches a Chroma server elsewhere. */
export function watchRemoteChroma(url: ChromaUrl, options: Keeping): Vectors {
  return keep(options, (watch) => serve(url, { ...watch, intact: () => "elsewhere" }));
}

/** The means of one attempt at keeping a server. */
interface Watch {
  readonly clock: Clock;
  /** Search works, at this address. */
  readonly proved: (url: ChromaUrl) => void;
  /** Sleeps until the next beat, or until somebody suspects the server. */
  readonly beat: (ms: number) => Promise<void>;
  readonly signal: AbortSignal;
  readonly answers: (url: ChromaUrl) => Promise<boolean>;
}

/** Runs `attempt` again and again; it calls `proved` once search works, and returns or throws when it no longer does. */
function keep({ settled, clock, log, heartbeatTimeoutMs }: Keeping, attempt: (watch: Watch) => Promise<void>): Vectors {
  const ending = new AbortController();
  const { signal } = ending;
  const listeners: (() => void)[] = [];
  let nap = new AbortController();
  let url: ChromaUrl | undefined;
  let detail = "the vector server has not been started yet";

  const run = async () => {
    await settled(signal);
    let pauseMs = pauseMinMs;
    while (!signal.aborted) {
      const startedAt = clock.monotonic();
      const proved = (address: ChromaUrl) => {
        url = address;
        detail = `a vector was stored and found at ${url}`;
        log.info("vectors ready", { url, ms: Math.round(clock.monotonic() - startedAt) });
        for (const listener of listeners) listener();
      };
      const beat = async (ms: number) => {
        nap = new AbortController();
        await clock.sleep(ms, AbortSignal.any([signal, nap.signal])).catch(() => signal.throwIfAborted());
      };
      const reason = await attempt({
        clock,
        proved,
        beat,
        signal,
        answers: (at) => answers(at, heartbeatTimeoutMs),
      }).then(
        () => "the vector server ended",
        (error) => messageOf(error),
      );
      url = undefined;
      const before = detail;
      detail = `no vectors: ${reason}; it is tried again`;
      if (signal.aborted) return;
      if (detail !== before) log.warn("vectors not ready", { reason });
      if (clock.monotonic() - startedAt > steadyMs) pauseMs = pauseMinMs;
      await clock.sleep(pauseMs, signal);
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  };
  const done = run().catch((error) => {
    if (!signal.aborted) throw error;
  });

  return {
    status: () => ({ ready: url !== undefined, detail, pid: 0, ...(url !== undefined && { url }) }),
    suspect: () => nap.abort(),
    onReady: (listener) => void listeners.push(listener),
    async stop() {
      ending.abort(new Error("aios-memory is ending"));
      await done;
    },
  };
}

/**
 * Waits for the server, proves it, and then throws when it has been silent for too long, or when what `intact` says of its
 * data has changed: a server whose folder was removed goes on answering, and keeps nothing.
 */
async function serve(
  url: ChromaUrl,
  { clock, proved, beat, signal, answers, intact }: Watch & { readonly intact: () => string },
): Promise<void> {
  const deadline = clock.monotonic() + startTimeoutMs;
  while (!(await answers(url))) {
    if (clock.monotonic() > deadline) throw new Error(`nothing answers at ${url} after ${startTimeoutMs / 1000} s`);
    await clock.sleep(startLookMs, signal);
  }
  await proveSearch(url, uuidv7(clock.now()));
  const data = intact();
  proved(url);
  for (let silences = 0; silences < silencesMax; ) {
    await beat(silences === 0 ? beatMs : silentBeatMs);
    silences = (await answers(url)) ? 0 : silences + 1;
    if (intact() !== data) throw new Error("its data folder was removed or replaced");
  }
  throw new Error(`the server at ${url} was silent ${silencesMax} times`);
}

/** Which file the server's database is: another answer, another file. */
function databaseFile(folder: string): string {
  const stat = statSync(`${folder}/chroma.sqlite3`, { throwIfNoEntry: false });
  return stat === undefined ? "none" : `${stat.dev}:${stat.ino}`;
}

async function answers(url: ChromaUrl, timeoutMs?: number): Promise<boolean> {
  try {
    await heartbeat(url, timeoutMs);
    return true;
  } catch {
    return false;
  }
}

/** Rejects when the process has ended, with its last words. */
async function exitOf(child: ChildProcess): Promise<never> {
  let words = "";
  child.stderr?.on("data", (chunk: Buffer) => {
    words = ending(words + chunk.toString("utf8"), wordsLengthMax);
  });
  const how = await new Promise<string>((resolve) => {
    child.once("error", (error) => resolve(`does not start: ${error.message}`));
    child.once("exit", (code, signal) => resolve(`ended (${signal ?? `exit code ${code}`})`));
  });
  const reason = lastWord(words);
  throw new Error(`the vector server ${how}${reason === "" ? "" : `: ${reason}`}`);
}

/** The line that names an error (a stack follows it), else the last one. */
function lastWord(words: string): string {
  const lines = words.split("\n").filter((line) => line.trim() !== "");
  return beginning((lines.find((line) => /error|panic/i.test(line)) ?? lines.at(-1) ?? "").trim(), 300);
}

async function end(child: ChildProcess, exited: Promise<never>, clock: Clock): Promise<void> {
  child.kill("SIGINT");
  const gone = exited.catch(() => "gone");
  if ((await Promise.race([gone, clock.sleep(endGraceMs)])) !== "gone") child.kill("SIGKILL");
  await gone;
}

function writeServerConfig({ configFile, dataFolder }: ChromaOptions, port: string): void {
  mkdirSync(dataFolder, { recursive: true });
  const lines = [
    `port: ${port}`,
    `listen_address: "127.0.0.1"`,
    `persist_path: ${JSON.stringify(dataFolder)}`,
    "allow_reset: false",
  ];
  replaceFile(configFile, `${lines.join("\n")}\n`, 0o600);
}

/** A port of the loopback interface that nothing listens on. */
async function freePort(): Promise<number> {
  return await new Promise((resolve, reject) => {
    const probe = createServer();
    probe.once("error", reject);
    probe.listen(0, "127.0.0.1", () => {
      const address = probe.address();
      probe.close(() => resolve(typeof address === "object" && address !== null ? address.port : 0));
    });
  });
}
