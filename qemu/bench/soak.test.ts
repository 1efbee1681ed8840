import { resolve } from "node:path";
import { expect, it } from "vitest";
import { rowOf } from "./row.ts";
import { soak } from "./soak.ts";

it("the runtime answers mixed calls over reloads and no sequence is stuck", async () => {
  const measures = await soak(resolve(import.meta.dirname, "../.."), 8_000, () => {});
  const rows = measures.map((measure) => rowOf("soak", measure, "c", "m"));
  // Memory is for the long run: in seconds a heap has not found its size.
  expect(rows.filter(({ name, ok }) => ok === false && !name.endsWith(".growth"))).toEqual([]);
  expect(rows.find(({ name }) => name === "soak.calls")?.value).toBeGreaterThan(100);
  expect(rows.find(({ name }) => name === "soak.reloads")?.value).toBeGreaterThan(0);
});
