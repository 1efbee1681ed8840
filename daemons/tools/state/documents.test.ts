import { mkdtempSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { openDocuments } from "./documents.ts";
import { openState, type State } from "./state.ts";

let folder: string;
let state: State;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-documents-");
  state = openState(folder, systemClock);
});

afterEach(() => {
  state.commits.close();
  rmSync(folder, { recursive: true });
});

it("documents are kept by kind and id over a restart, the newest first, and the oldest give way", async () => {
  const alerts = openDocuments<{ text: string }>(state, "alert");
  for (const id of ["a", "b", "c"]) await alerts.put(id, { text: id });
  await openDocuments(state, "backup").put("a", { other: true });
  await alerts.put("a", { text: "again" });
  state.commits.close();
  state = openState(folder, systemClock);
  const again = openDocuments<{ text: string }>(state, "alert");
  expect(again.list(10)).toEqual([{ text: "c" }, { text: "b" }, { text: "again" }]);
  expect(again.list(1)).toEqual([{ text: "c" }]);
  expect(await again.keep(2)).toEqual([{ text: "again" }]);
  expect(again.get("a")).toBeUndefined();
  await again.remove("c");
  expect(again.list(10)).toEqual([{ text: "b" }]);
  expect(openDocuments(state, "backup").get("a")).toEqual({ other: true });
});
