import { PassThrough } from "node:stream";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { ManualClock } from "#lib/clock";
import { typed } from "./keyboard.ts";

let input: PassThrough;
let clock: ManualClock;
let over: AbortController;
let times: number;
let ended: Promise<void>;

const settled = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  input = new PassThrough();
  clock = new ManualClock();
  over = new AbortController();
  times = 0;
  ended = (async () => {
    for await (const _ of typed("code", input, clock, over.signal)) times += 1;
  })();
});
afterEach(async () => {
  over.abort();
  await ended.catch(() => {});
});

describe("a word at the keyboard", () => {
  it.each([
    ["is heard with Enter", ["code\r"], 1],
    ["is heard in capitals, in pieces, and after other lines", ["what?\nC", "OD", "E \r\n"], 1],
    ["is not heard without Enter", ["code"], 0],
    ["is not heard within another text", ["for another code, type code and Enter here\n", "codecode\n"], 0],
    ["is heard after a line of any length", ["x".repeat(100_000), "\n", "code\n"], 1],
    ["is heard once, of a page of it", ["code\n".repeat(1_000)], 1],
    ["is heard after bytes that are no text", ["\u0000\ufffd\u001b[A\n", "code\n"], 1],
  ])("%s", async (_, texts, heard) => {
    for (const text of texts) input.write(text);
    for (let turn = 0; turn < 20; turn++) await settled();
    expect(times).toBe(heard);
  });

  it("is heard again after three seconds", async () => {
    for (const ms of [0, 2_999, 1]) {
      await clock.advance(ms);
      input.write("code\n");
      for (let turn = 0; turn < 5; turn++) await settled();
    }
    await vi.waitFor(() => expect(times).toBe(2));
  });

  it("is not waited for any more when nobody asks, and the keyboard is let go", async () => {
    over.abort();
    await ended;
    expect(input.destroyed).toBe(true);
  });

  it("is told apart from a keyboard that fails", async () => {
    input.destroy(new Error("it was unplugged"));
    await expect(ended).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: "read this machine's keyboard: it was unplugged",
    });
  });
});
