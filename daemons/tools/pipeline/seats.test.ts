import { expect, it } from "vitest";
import { coreIdentity, type Identity } from "#lib/rpc/service";
import { Seats } from "./seats.ts";

const held = () => new Promise<void>(() => {});
const agent = (name: string): Identity => ({ kind: "agent", name });
const operator: Identity = { kind: "operator", name: "alice", role: "admin" };
const full = { code: "RESOURCE_EXHAUSTED" };

/** Fills the places of `count` agents; the number of calls that were taken. */
function fill(seats: Seats, count: number): number {
  let taken = 0;
  for (let at = 0; at < count * 100; at += 1)
    seats
      .during(agent(`a${Math.floor(at / 100)}`), () => {
        taken += 1;
        return held();
      })
      .catch(() => {});
  return taken;
}

it("an agent has its own places, and all agents together leave room for people and daemons", async () => {
  const seats = new Seats();
  expect(fill(seats, 1)).toBe(64);
  expect(fill(seats, 8)).toBe(128);
  await expect(seats.during(agent("late"), held)).rejects.toMatchObject(full);
  for (const caller of [operator, coreIdentity("orchestrator")])
    expect(await seats.during(caller, async () => 1)).toBe(1);
});

it("people and daemons have an end too, and a place is free again when its call has ended", async () => {
  const seats = new Seats();
  fill(seats, 8);
  const ends: (() => void)[] = [];
  for (let at = 0; at < 64; at += 1)
    seats.during(operator, () => new Promise<void>((resolve) => void ends.push(resolve))).catch(() => {});
  await expect(seats.during(coreIdentity("orchestrator"), held)).rejects.toMatchObject(full);
  for (const end of ends) end();
  await new Promise((resolve) => setImmediate(resolve));
  expect(await seats.during(coreIdentity("orchestrator"), async () => 1)).toBe(1);
});
