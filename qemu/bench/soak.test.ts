import { resolve } from "node:path";
import { expect, it } from "vitest";
import { rowOf } from "./row.ts";
import { soak } from "./soak.ts";

it("the runtime answers mixed calls over reloads with flat memory and no stuck sequence", async () => {
  const measures = await soak(resolve(import.meta.dirname, "../.."), 8_000, () => {});
  const rows = measures.map((measure) => rowOf("soak", measure, "c", "m"));
  expect(rows.filter(({ ok }) => ok === false)).toEqual([]);
  expect(rows.find(({ name }) => name === "soak.calls")?.value).toBeGreaterThan(100);
  expect(rows.find(({ name }) => name === "soak.reloads")?.value).toBeGreaterThan(0);
}, 60_000);
