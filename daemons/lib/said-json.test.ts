import { expect, it } from "vitest";
import { underWatchdog } from "./linux/watchdog.ts";
import { saidJson } from "./said-json.ts";

it.each([
  ['{"a":1}', '{"a":1}'],
  ['Here:\n```json\n{"a":1}\n```\nDone.', '{"a":1}'],
  ['<think>{"a":0}</think>{"a":1}', '{"a":1}'],
  ["It is [1, 2] as asked.", "[1, 2]"],
  ["none ] at [ all", "none ] at [ all"],
  ["none", "none"],
])("finds the JSON in %j", (text, json) => {
  expect(saidJson(text)).toBe(json);
});

it.each(["[", "{", "```\n", "</think>", "`", "]["])("is not held up by a million characters of %j", (piece) => {
  const text = piece.repeat(1_000_000 / piece.length);
  expect(underWatchdog(() => saidJson(text), 20_000)).toBe(text);
});
