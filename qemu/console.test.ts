import { PassThrough } from "node:stream";
import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, it } from "vitest";
import { Console } from "./console.ts";

function open(): { console: Console; print(text: string): Promise<void> } {
  const console = new Console();
  const stream = new PassThrough();
  console.read(stream);
  return {
    console,
    print: async (text) => {
      stream.write(text);
      await delay(1);
    },
  };
}

describe("Console", () => {
  it("finds lines printed before and after it is asked, whole though they arrive in pieces", async () => {
    const { console, print } = open();
    await print("[    0.1] booting\r\nphase 1/6 hard");
    expect((await console.waitFor("booting", 10)).text).toBe("[    0.1] booting");
    const waiting = console.waitFor("phase 1/6 hardware", 1000);
    await print("ware: ready\r\n");
    expect((await waiting).text).toBe("phase 1/6 hardware: ready");
  });

  it("takes colours and cursor movements off", async () => {
    const { console, print } = open();
    await print("\u001b[2J\u001b[01;31mGRUB\u001b[0m\n");
    expect(console.lines.map(({ text }) => text)).toEqual(["GRUB"]);
  });

  it("waits for the line after another, not for an earlier one alike", async () => {
    const { console, print } = open();
    await print("ready\n");
    const first = await console.waitFor("ready", 10);
    const second = console.waitFor("ready", 1000, first);
    await print("ready again\n");
    expect((await second).text).toBe("ready again");
  });

  it("says what was printed when the line does not come", async () => {
    const { console, print } = open();
    await print("Kernel panic\n");
    await expect(console.waitFor("autonomous", 5)).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
      message: expect.stringMatching(/autonomous.*5 ms[\s\S]*Kernel panic/),
    });
  });

  it("fails at once when the machine ends, also when it had ended before", async () => {
    const { console, print } = open();
    const waiting = console.waitFor("autonomous", 60_000);
    await print("last words");
    console.ended({ status: 1, signal: undefined });
    await expect(waiting).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringMatching(/exit status 1[\s\S]*last words/),
    });
    await expect(console.waitFor("autonomous", 60_000)).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("shows a follower every line once, those already there first", async () => {
    const { console, print } = open();
    const seen: string[] = [];
    await print("one\n");
    const stop = console.follow(({ text }) => seen.push(text));
    await print("two\n");
    stop();
    await print("three\n");
    expect(seen).toEqual(["one", "two"]);
  });
});
