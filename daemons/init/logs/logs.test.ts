/** The logs of units: rings, readers, files, and what comes through a unit's pipes. */
import { appendFileSync, existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync } from "node:fs";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { allowanceLimits, droppedLines } from "./log-allowance.ts";
import { fileLimits, flushAfterMs } from "./log-files.ts";
import { pipeLimits } from "./log-pipe.ts";
import { type LogLine, type Logs, logLimits, openLogs } from "./logs.ts";

let clock: ManualClock;
let folder: string;

beforeEach(() => {
  clock = new ManualClock();
  folder = mkdtempSync("/tmp/aios-logs-");
});
afterEach(() => rmSync(folder, { recursive: true }));

describe("logs", () => {
  it("keep the last lines of each unit, and merge them in the order of writing", async () => {
    const logs = openLogs(clock);
    logs.write("b", "first\n");
    await clock.advance(1);
    for (let line = 0; line < logLimits.lines * 3; line += 1) logs.write("a", `${line}\n`);
    await clock.advance(1);
    logs.write("b", "last\n");
    expect(logs.tail("a", 1e6).length).toBeLessThanOrEqual(logLimits.lines * 1.25);
    expect(logs.tail("a", 1)[0]?.text).toBe(`${logLimits.lines * 3 - 1}`);
    expect(logs.tail("", 2).map(({ text }) => text)).toEqual([`${logLimits.lines * 3 - 1}`, "last"]);
    expect(logs.tail("nobody", 2)).toEqual([]);
  });

  it("keep the order of writing when the clock is set back", () => {
    const times = [5_000, 6_000, 1_000, 2_000];
    const logs = openLogs({ ...systemClock, now: () => times.shift() ?? 0 });
    for (const [unit, text] of [
      ["a", "1"],
      ["b", "2"],
      ["a", "3"],
      ["b", "4"],
    ] as const)
      logs.write(unit, text);
    expect(logs.tail("", 2).map(({ text, timestamp }) => [text, timestamp])).toEqual([
      ["3", 1_000],
      ["4", 2_000],
    ]);
    expect(logs.tail("a", 1)[0]?.text).toBe("3");
  });

  it("are read at their end in a moment, however many units have said however much", () => {
    const logs = openLogs(clock);
    for (let unit = 0; unit < 40; unit += 1)
      for (let line = 0; line < logLimits.lines; line += 1) logs.write(`u${unit}`, `${line}`);
    const before = process.cpuUsage();
    for (let turn = 0; turn < 100; turn += 1) expect(logs.tail("", 3)).toHaveLength(3);
    const { user, system } = process.cpuUsage(before);
    expect((user + system) / 1_000).toBeLessThan(150);
  });

  it("hold a bounded number of characters", () => {
    const logs = openLogs(clock);
    for (let line = 0; line < 500; line += 1) logs.write("a", `${line} ${"x".repeat(8_000)}`);
    const kept = logs.tail("a", 1_000);
    expect(kept.reduce((sum, { text }) => sum + text.length, 0)).toBeLessThanOrEqual(logLimits.length * 1.25);
    expect(kept.length).toBeGreaterThan(200);
    expect(kept.at(-1)?.text).toMatch(/^499 /);
  });

  it("are followed from where the reader began, and a slow reader is told what it missed", async () => {
    const logs = openLogs(clock);
    for (const text of ["1", "2", "3"]) logs.write("a", `${text}\n`);
    const stop = new AbortController();
    const reader = logs.follow("a", 2, stop.signal)[Symbol.asyncIterator]();
    const next = async () => ((await reader.next()).value as LogLine | undefined)?.text;
    expect([await next(), await next()]).toEqual(["2", "3"]);
    logs.write("b", "not asked for\n");
    for (let line = 0; line < logLimits.followers + 7; line += 1) logs.write("a", `${line}\n`);
    const texts: (string | undefined)[] = [];
    while (!texts.at(-1)?.includes("missed")) texts.push(await next());
    expect(texts.length).toBeGreaterThan(logLimits.followers);
    expect(texts.at(-1)).toMatch(/^\d lines missed/);
    const end = reader.next();
    stop.abort();
    expect(await end).toMatchObject({ done: true });
  });

  it("go to files that are rotated, and the lines before the disk was there too", async () => {
    const logs = openLogs(systemClock);
    logs.write("a", "before\n");
    logs.keepIn(folder);
    const path = join(folder, "a.log");
    for (let file = 0; file < 5; file += 1) {
      logs.write("a", `line ${file}\n`);
      while (!existsSync(path) || !readFileSync(path, "utf8").includes(`line ${file}\n`)) await systemClock.sleep(10);
      if (file === 0) expect(readFileSync(path, "utf8")).toBe("before\nline 0\n");
      expect(statSync(path).mode & 0o777).toBe(0o640);
      appendFileSync(path, `${"y".repeat(fileLimits.fileBytes)}\n`);
    }
    logs.write("a", "after\n");
    const closed = logs.close();
    logs.write("a", "closed\n");
    await closed;
    expect(readdirSync(folder).toSorted()).toEqual(["a.log", "a.log.1", "a.log.2"]);
    expect(readFileSync(path, "utf8").slice(-6)).toBe("after\n");
    const begins = ["", ".1", ".2"].map((suffix) => readFileSync(path + suffix, "utf8").slice(0, 6));
    expect(begins).toEqual(["line 4", "line 3", "line 2"]);
  });

  it("are in their file once it is closed, those too that are on their way there", async () => {
    const closed = Array.from({ length: 40 }, async (_, at) => {
      const logs = openLogs(systemClock);
      logs.keepIn(folder);
      logs.write(`${at}`, "on its way\n");
      await systemClock.sleep(flushAfterMs + at / 8);
      logs.write(`${at}`, "last\n");
      await logs.close();
      return readFileSync(join(folder, `${at}.log`), "utf8");
    });
    expect(await Promise.all(closed)).toEqual(closed.map(() => "on its way\nlast\n"));
  });

  it("go on when the disk does not take them", async () => {
    const logs = openLogs(systemClock);
    logs.keepIn(join(folder, "nowhere"));
    logs.write("a", "line\n");
    await systemClock.sleep(320);
    logs.write("a", "next\n");
    await logs.close();
    expect(logs.tail("a", 2).map(({ text }) => text)).toEqual(["line", "next"]);
  });
});

describe("a unit's pipes", () => {
  let logs: Logs;
  let pipe: PassThrough;
  const texts = (lines = 1e6) => logs.tail("a", lines).map(({ text }) => text);
  const turn = () => new Promise((resolve) => setImmediate(resolve));
  const closed = async (stream: PassThrough) => {
    stream.end();
    while (!stream.closed) await turn();
  };
  const open = () => {
    const stream = new PassThrough({ highWaterMark: 16 * 1024 * 1024 });
    logs.of("a").read(stream);
    return stream;
  };

  beforeEach(() => {
    logs = openLogs(clock);
    pipe = open();
  });

  it("give lines, however the chunks fall, and the last one without an end too", async () => {
    for (const part of ["one\ntw", "o\nthree", "\n\nlast words"]) pipe.write(part);
    await turn();
    expect(texts()).toEqual(["one", "two", "three", ""]);
    await closed(pipe);
    expect(texts()).toEqual(["one", "two", "three", "", "last words"]);
  });

  it("each have a line of their own under way", async () => {
    const errors = open();
    pipe.write("out be");
    errors.write("err be");
    await turn();
    pipe.write("gun\n");
    errors.write("gun\n");
    await turn();
    expect(texts()).toEqual(["out begun", "err begun"]);
  });

  it.each(["…", "\u{1F600}", "é", "磁"])("give %s whole where a read cut it", async (character) => {
    const bytes = Buffer.from(`a${character}b\n`);
    for (const byte of bytes) {
      pipe.write(Buffer.from([byte]));
      await turn();
    }
    expect(texts()).toEqual([`a${character}b`]);
  });

  it("go on in the next line where one is too long, and cut no character", async () => {
    const long = `${"x".repeat(pipeLimits.lineLength - 1)}\u{1F600}end`;
    pipe.write(`${long}\n`);
    await turn();
    expect(texts()).toEqual([long.slice(0, pipeLimits.lineLength - 1), "\u{1F600}end"]);
    pipe.write(long);
    await closed(pipe);
    expect(texts(2)).toEqual([long.slice(0, pipeLimits.lineLength - 1), "\u{1F600}end"]);
  });

  it("may write so many lines in a second; how many were dropped is one line", async () => {
    const { lines } = allowanceLimits;
    const many = (from: number, count: number) => Array.from({ length: count }, (_, at) => `${from + at}\n`).join("");
    pipe.write(many(0, lines + 5));
    pipe.write(many(lines + 5, 700));
    await turn();
    expect(texts()).toHaveLength(lines);
    await clock.advance(allowanceLimits.windowMs);
    expect(texts().slice(lines)).toEqual([droppedLines(705)]);
    pipe.write("next\n");
    await turn();
    await clock.advance(allowanceLimits.windowMs * 3);
    expect(texts().slice(lines + 1)).toEqual(["next"]);
  });

  it("count bytes too, and begin again with a whole line", async () => {
    pipe.write(`kept\n`);
    pipe.write(`${"x".repeat(allowanceLimits.bytes)}\nbegun`);
    await turn();
    await clock.advance(allowanceLimits.windowMs);
    pipe.write(" before\nwhole\n");
    await turn();
    await clock.advance(allowanceLimits.windowMs);
    expect(texts()).toEqual(["kept", droppedLines(1), "whole", droppedLines(1)]);
  });

  it("keep the last words of a program that ends while its lines are dropped", async () => {
    pipe.write("y\n".repeat(allowanceLimits.lines));
    pipe.write("y\n".repeat(1_000));
    // Each by a write of its own, as a program that ends says them.
    for (const part of ["fatal: no config\n", "  at start\n", "  at main\n", "stack"]) {
      pipe.write(part);
      await turn();
    }
    await closed(pipe);
    expect(texts(pipeLimits.lastLines + 1)[0]).toBe(droppedLines(1_003));
    expect(texts(4)).toEqual(["fatal: no config", "  at start", "  at main", "stack"]);
  });

  it("are read no faster than PID 1 can stand: who writes more waits", async () => {
    const chunk = "y\n".repeat(32 * 1024);
    const chunks = (2 * allowanceLimits.bytesRead) / chunk.length;
    for (let at = 0; at < chunks; at += 1) pipe.write(chunk);
    for (let turns = 0; turns < 2 * chunks; turns += 1) await turn();
    expect(pipe.isPaused()).toBe(true);
    const left = pipe.readableLength + pipe.writableLength;
    expect(left).toBeGreaterThan(allowanceLimits.bytesRead * 0.8);
    await clock.advance(allowanceLimits.windowMs);
    for (let turns = 0; turns < 2 * chunks; turns += 1) await turn();
    expect(pipe.readableLength + pipe.writableLength).toBeLessThan(left);
  });

  it("of many units are read no faster together than PID 1 can stand", async () => {
    const chunk = Buffer.alloc(64 * 1024, "y\n");
    const pipes = Array.from({ length: 8 }, (_, at) => {
      const one = new PassThrough({ highWaterMark: 16 * 1024 * 1024 });
      logs.of(`many-${at}`).read(one);
      for (let written = 0; written < allowanceLimits.bytesRead; written += chunk.length) one.write(chunk);
      return one;
    });
    const left = () => pipes.reduce((sum, one) => sum + one.readableLength + one.writableLength, 0);
    const all = pipes.length * allowanceLimits.bytesRead;
    const turns = async () => {
      for (let at = 0; at < 200; at += 1) await turn();
    };
    await turns();
    const read = all - left();
    expect(read).toBeGreaterThanOrEqual(allowanceLimits.bytesReadOfAll);
    expect(read).toBeLessThan(allowanceLimits.bytesReadOfAll + pipes.length * 2 * chunk.length);
    await clock.advance(allowanceLimits.windowMs);
    await turns();
    expect(all - left()).toBeGreaterThan(read);
  });
});
