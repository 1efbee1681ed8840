import { expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { shareCores } from "./cores.ts";

const never = new AbortController().signal;

/** A worker whose batch in flight ends when `batchEnds` is called; it counts what runs at once. */
function twin(threads: number) {
  const told: number[] = [];
  let running = threads;
  let holding: Promise<void> | undefined;
  let batchEnds = () => {};
  return {
    told,
    get running() {
      return running;
    },
    beginBatch() {
      const held = Promise.withResolvers<void>();
      holding = held.promise;
      batchEnds = () => {
        holding = undefined;
        held.resolve();
      };
    },
    endBatch: () => batchEnds(),
    async setThreads(next: number) {
      told.push(next);
      await holding;
      running = next;
    },
  };
}

const turns = async () => {
  for (let at = 0; at < 10; at++) await Promise.resolve();
};

it("gives one worker all it wishes, without a message when it has that", async () => {
  const cores = shareCores(4, new ManualClock());
  const worker = twin(3);
  const seat = cores.seat(worker, 3);
  await seat.enter(never);
  await seat.enter(never);
  seat.leave();
  seat.leave();
  expect(worker.told).toEqual([]);
});

it("takes cores from one before it gives them to another, whose calls wait that long", async () => {
  const cores = shareCores(2, new ManualClock());
  const [a, b] = [twin(2), twin(2)];
  const [seatA, seatB] = [cores.seat(a, 2), cores.seat(b, 2)];
  await seatA.enter(never);
  a.beginBatch();
  let entered = false;
  const entering = seatB.enter(never).then(() => {
    entered = true;
  });
  await turns();
  expect([a.told, entered]).toEqual([[1], false]);
  a.endBatch();
  await entering;
  expect([a.running, b.running]).toEqual([1, 1]);
  seatA.leave();
  await turns();
  expect(b.running).toBe(2);
  await seatA.enter(never);
  expect(a.running + b.running).toBe(2);
});

it("lets more workers than cores take turns, so that each goes on", async () => {
  const clock = new ManualClock();
  const cores = shareCores(2, clock);
  const workers = [twin(1), twin(1), twin(1)];
  const seats = workers.map((worker) => cores.seat(worker, 1));
  const entered = seats.map(() => false);
  seats.map((seat, at) => seat.enter(never).then(() => (entered[at] = true)));
  await turns();
  expect(entered).toEqual([true, true, false]);
  const ran = workers.map(() => 0);
  for (let round = 0; round < 6; round++) {
    await clock.advance(300);
    await turns();
    expect(workers.reduce((sum, { running }) => sum + running, 0)).toBeLessThanOrEqual(2);
    workers.forEach(({ running }, at) => {
      ran[at] = (ran[at] ?? 0) + running;
    });
  }
  expect(entered).toEqual([true, true, true]);
  expect(Math.min(...ran)).toBeGreaterThanOrEqual(3);
});

it("frees what a worker had that ended, and whoever waited for it", async () => {
  const cores = shareCores(1, new ManualClock());
  const [a, b] = [twin(1), twin(1)];
  const [seatA, seatB] = [cores.seat(a, 1), cores.seat(b, 1)];
  await seatA.enter(never);
  a.beginBatch();
  const gone = new AbortController();
  const leaving = seatB.enter(gone.signal);
  gone.abort(new Error("gone"));
  await expect(leaving).rejects.toThrow("gone");
  seatB.leave();
  const entering = seatB.enter(never);
  seatA.close();
  a.endBatch();
  await entering;
  expect(b.running).toBe(1);
});

it("uses fewer cores while others on the machine use them", async () => {
  const cores = shareCores(4, new ManualClock());
  const worker = twin(4);
  const seat = cores.seat(worker, 4);
  await seat.enter(never);
  cores.setUsable(2);
  await turns();
  expect(worker.running).toBe(2);
  cores.setUsable(0);
  await turns();
  expect(worker.running).toBe(1);
  cores.setUsable(9);
  await turns();
  expect(worker.running).toBe(4);
});
