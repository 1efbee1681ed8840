import { setTimeout as delay } from "node:timers/promises";
import { expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { ProviderFault } from "./providers/fault.ts";
import { requested } from "./providers/wire.ts";

const silenceMs = 200;
const settings = { timeoutMs: silenceMs, clock: systemClock, key: undefined, caller: new AbortController().signal };

it("a caller that reads nothing is told so: no provider is to blame for it, or left alone", async () => {
  const pieces = requested(settings, async function* ({ signal, renew }) {
    for (const text of ["a", "b"]) {
      renew();
      signal.throwIfAborted();
      yield { text };
    }
  });
  expect((await pieces.next()).value).toEqual({ text: "a" });
  await delay(2 * silenceMs);
  const error = await pieces.next().catch((thrown: unknown) => thrown);
  expect(error).toBeInstanceOf(AiosError);
  expect(error).toMatchObject({ code: "ABORTED", message: expect.stringContaining("has read nothing for 0.2 s") });
});

it("a provider's silence counts from when the caller has read what there was", async () => {
  const pieces = requested(settings, async function* ({ signal }) {
    yield { text: "a" };
    await delay(10 * silenceMs, undefined, { signal });
    yield { text: "b" };
  });
  await pieces.next();
  await delay(silenceMs / 2);
  await expect(pieces.next()).rejects.toBeInstanceOf(ProviderFault);
});
