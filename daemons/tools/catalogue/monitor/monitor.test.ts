import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { ManualClock } from "#lib/clock";
import { coreIdentity } from "#lib/rpc/service";
import type { AnyCall } from "../../tool.ts";
import { usageTools } from "./usage.ts";

/** What /proc/stat says: user and idle time in hundredths of a second, guest time counted in user already. */
let stat = { user: 0, idle: 0 };

vi.mock("node:fs", async (importOriginal) => ({
  ...(await importOriginal<typeof import("node:fs")>()),
  readFileSync: () => `cpu  ${stat.user} 0 0 ${stat.idle} 0 0 0 0 ${stat.user} 0\ncpu0 0\ncpu1 0\ncpu10 0\nintr 1\n`,
}));

beforeEach(() => {
  stat = { user: 1000, idle: 1000 };
});

afterEach(() => vi.restoreAllMocks());

const { signal } = new AbortController();
const call = {
  executionId: "e",
  caller: coreIdentity("orchestrator"),
  input: {},
  resources: {},
  signal,
} as unknown as AnyCall;

it("measures over the last second or two, and waits for no more than the first tenth of one", async () => {
  const clock = new ManualClock();
  const cpu = usageTools(clock)[0];
  const measured = async () => (await cpu?.run(call)) as { percent: number; cores: number };
  const first = measured();
  stat = { user: 1010, idle: 1000 };
  await clock.advance(100);
  expect(await first).toMatchObject({ percent: 100, cores: 3 });
  stat = { user: 1029, idle: 1171 };
  await clock.advance(1_900);
  expect(await measured()).toMatchObject({ percent: 10 });
  // At once again: over the span since the older sample, without waiting.
  expect(await measured()).toMatchObject({ percent: 10 });
  stat = { user: 1129, idle: 1171 };
  await clock.advance(1_000);
  expect(await measured()).toMatchObject({ percent: 100 });
  expect(await measured()).toMatchObject({ percent: 100 });
});
