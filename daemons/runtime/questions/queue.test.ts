import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { ageingMs, callerLengthMax, createQueue, type Priority, queueLengthMax } from "./queue.ts";

const never = new AbortController().signal;

/** A queue whose acts last until they are told to end. */
function held(width = 1) {
  const clock = new ManualClock();
  const queue = createQueue("tiny", clock);
  queue.widen(width);
  const order: string[] = [];
  const ends: (() => void)[] = [];
  const ask = (name: string, priority: Priority = "agent", caller = name, signal = never) =>
    queue.run({ priority, caller }, signal, async () => {
      order.push(name);
      await new Promise<void>((resolve) => ends.push(resolve));
    });
  /** Ends the act that runs longest, after `ms`. */
  const next = async (ms = 100) => {
    await clock.advance(ms);
    ends.shift()?.();
    await clock.advance(0);
  };
  return { clock, queue, order, ask, next };
}

describe("a queue", () => {
  it("takes the most urgent first, and of equals the first", async () => {
    const { order, ask, next } = held();
    for (const [name, priority] of [
      ["first", "background"],
      ["b", "background"],
      ["a", "agent"],
      ["i1", "interactive"],
      ["i2", "interactive"],
      ["h", "health"],
    ] as const) {
      ask(name, priority);
    }
    for (let count = 0; count < 6; count++) await next();
    expect(order).toEqual(["first", "h", "i1", "i2", "a", "b"]);
  });

  it("starves nobody: a call that has waited is as urgent as one that has not", async () => {
    const { clock, order, ask, next } = held();
    ask("running");
    ask("patient", "background", "p");
    await clock.advance(ageingMs * 2);
    ask("newer", "agent", "n");
    ask("newest", "interactive", "i");
    await next();
    expect(order).toEqual(["running", "patient"]);
  });

  it("gives callers the same time, however many calls they make", async () => {
    const { order, ask, next } = held();
    for (let count = 0; count < 10; count++) ask("busy");
    for (let count = 0; count < 3; count++) ask("modest");
    for (let count = 0; count < 7; count++) await next(1_000);
    expect(order.slice(0, 7).filter((name) => name === "modest")).toHaveLength(3);
  });

  it("charges for time, not for calls", async () => {
    const { order, ask, next } = held();
    for (let count = 0; count < 3; count++) ask("long");
    for (let count = 0; count < 20; count++) ask("short");
    for (let count = 0; count < 12; count++) await next(order.at(-1) === "long" ? 5_000 : 100);
    expect(order.filter((name) => name === "long").length).toBeLessThan(3);
  });

  it("runs as many at a time as it is wide", async () => {
    const { queue, order, ask, next } = held(2);
    for (const name of ["a", "b", "c", "d"]) ask(name);
    await next(0);
    expect(order).toEqual(["a", "b", "c"]);
    queue.widen(3);
    await next(0);
    expect(order).toHaveLength(4);
  });

  it("refuses a caller's calls over its share, others' when it is full, and says when to come back", async () => {
    const { queue, ask } = held();
    ask("first");
    for (let count = 0; count < callerLengthMax; count++) ask("greedy").catch(() => {});
    await expect(ask("greedy")).rejects.toMatchObject({
      code: "RESOURCE_EXHAUSTED",
      message: expect.stringContaining(`${callerLengthMax} calls of greedy`),
      retryAfterMs: 60_000,
    });
    for (let count = callerLengthMax; count < queueLengthMax; count++) ask(`other${count}`).catch(() => {});
    await expect(ask("late")).rejects.toMatchObject({
      message: expect.stringContaining(`${queueLengthMax} calls are`),
    });
    expect(queue.status()).toMatchObject({ running: 1, refused: 2, waiting: { agent: queueLengthMax, health: 0 } });
  });

  it("forgets a call whose caller leaves while it waits", async () => {
    const { queue, order, ask, next } = held();
    const leaving = new AbortController();
    ask("running");
    const left = ask("leaves", "agent", "l", leaving.signal);
    ask("stays");
    leaving.abort(new Error("gone"));
    await expect(left).rejects.toThrow("gone");
    await next();
    expect(order).toEqual(["running", "stays"]);
    expect(queue.status().waiting.agent).toBe(0);
  });

  it("goes on after an act that fails", async () => {
    const { queue } = held();
    const ticket = { priority: "agent", caller: "a" } as const;
    await expect(queue.run(ticket, never, () => Promise.reject(new Error("no")))).rejects.toThrow("no");
    expect(await queue.run(ticket, never, async () => "yes")).toBe("yes");
  });
});
