/** Asking a time server over UDP, and what is made of its answers. */
import { createSocket } from "node:dgram";
import { once } from "node:events";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { answerTo, startTimeServer, type TimeServerTwin, writeTime } from "#lib/testing/time-server";
import { readReply, request } from "./message.ts";
import { askTime } from "./query.ts";

const made = Date.UTC(2026, 10, 1);
let server: TimeServerTwin;

beforeEach(async () => {
  server = await startTimeServer();
});
afterEach(() => server.close());

const ask = () => askTime("127.0.0.1", server.port, systemClock, made);

describe("a time server", () => {
  it("tells how far its clock is from ours, and how far it may be wrong", async () => {
    server.answer({ aheadMs: 90_061_000 });
    const said = await ask();
    expect(said).toMatchObject({ kind: "time" });
    if (said.kind !== "time") return;
    expect(Math.abs(said.offsetMs - 90_061_000)).toBeLessThan(said.distanceMs);
    // Half of its delay to its own source, and its dispersion.
    expect(said.distanceMs).toBeGreaterThan(12 / 2 + 3);
  });

  it("is told nothing: a client's mode, and random bytes where a clock would stand", async () => {
    await ask();
    await ask();
    const [first, second] = server.questions;
    expect(first).toHaveLength(48);
    expect(first?.readUInt8(0)).toBe((4 << 3) | 3);
    expect(first?.subarray(1, 40)).toEqual(Buffer.alloc(39));
    expect(first?.subarray(40)).not.toEqual(second?.subarray(40));
  });

  it("is asked again when an answer got lost", async () => {
    const clock = new ManualClock();
    server.answer(null, {});
    const asked = askTime("127.0.0.1", server.port, clock, made);
    while (server.questions.length < 1) await systemClock.sleep(5);
    while (server.questions.length < 2) await clock.advance(2_000);
    expect(await asked).toMatchObject({ kind: "time" });
  });

  it("that is silent, or not there, is said to be so", async () => {
    const clock = new ManualClock();
    server.answer(null);
    let said: unknown;
    askTime("127.0.0.1", server.port, clock, made).then((answer) => {
      said = answer;
    });
    while (said === undefined) {
      await clock.advance(2_000);
      await systemClock.sleep(5);
    }
    expect(said).toEqual({ kind: "silent", reason: "no answer" });
    const socket = createSocket("udp4");
    socket.bind(0, "127.0.0.1");
    await once(socket, "listening");
    const { port } = socket.address();
    socket.close();
    expect(await askTime("127.0.0.1", port, systemClock, made)).toEqual({ kind: "silent", reason: "ECONNREFUSED" });
  });

  it.each([
    ["of another question", { spoil: (answer: Buffer) => answer.fill(7, 24, 32) }],
    ["without an origin", { spoil: (answer: Buffer) => answer.fill(0, 24, 32) }],
    ["that was cut", { spoil: (answer: Buffer) => answer.subarray(0, 47) }],
    ["that is empty", { spoil: () => Buffer.alloc(0) }],
    ["of a broadcast", { mode: 5 }],
    ["of a client", { mode: 3 }],
    ["in a version of its own", { version: 7 }],
  ])("does not mislead by an answer %s: the right one is waited for", async (_, odd) => {
    const clock = new ManualClock();
    server.answer(odd, { aheadMs: 60_000 });
    const asked = askTime("127.0.0.1", server.port, clock, made);
    while (server.questions.length < 1) await systemClock.sleep(5);
    await systemClock.sleep(20);
    while (server.questions.length < 2) await clock.advance(2_000);
    expect(await asked).toMatchObject({ kind: "time" });
  });

  it.each([
    ["its clock is not set", { leap: 3 }, /its own clock is not set/],
    ["it has lost its source", { stratum: 16 }, /16 steps/],
    ["it is far from any clock", { rootDispersionMs: 16_000 }, /16 s off/],
    ["its times are missing", { spoil: (answer: Buffer) => answer.fill(0, 40, 48) }, /missing/],
    ["it left before it arrived", { spoil: backwards }, /not in order/],
  ])("tells no time when %s", async (_, odd, reason) => {
    server.answer(odd);
    expect(await ask()).toEqual({ kind: "unusable", reason: expect.stringMatching(reason) });
  });

  it.each(["RATE", "DENY", "RSTR", "INIT"])("may refuse by %s", async (reference) => {
    server.answer({ stratum: 0, leap: 3, reference });
    expect(await ask()).toEqual({ kind: "refused", code: reference });
  });
});

function backwards(answer: Buffer): Buffer {
  writeTime(answer, 40, Date.now() - 60_000);
  return answer;
}

describe("the protocol's seconds", () => {
  it.each([Date.UTC(2026, 10, 2), Date.UTC(2035, 11, 31), Date.UTC(2036, 1, 8), Date.UTC(2090, 0, 1)])(
    "begin anew in 2036, and are read right at %i",
    (nowMs) => {
      const question = { nonce: Buffer.alloc(8, 1), sentWallMs: made, sentMs: 0 };
      const reply = readReply(
        answerTo(request(question), () => nowMs),
        question,
        10,
        made,
      );
      expect(reply).toMatchObject({ kind: "time" });
      if (reply.kind === "time") expect(Math.abs(reply.offsetMs - (nowMs - made))).toBeLessThan(20);
    },
  );
});
