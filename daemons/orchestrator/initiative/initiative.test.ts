import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { Event } from "#proto/aios/memory";
import { type InitiativeParts, openInitiative } from "./initiative.ts";

it("what was lost of each record is noticed", () => {
  const folder = mkdtempSync("/tmp/aios-initiative-");
  mkdirSync(`${folder}/run`);
  for (const name of ["schedules", "triggers", "services"]) writeFileSync(`${folder}/${name}.json`, "{");
  const pushed: Event[] = [];
  const memory = {
    pushEvent: async (event: Event) => {
      pushed.push(event);
      return {};
    },
  };
  openInitiative({
    ...{ paths: { run: `${folder}/run`, etc: `${folder}/etc` }, folder, memory, agents: [], configured: "full" },
    ...{ clock: new ManualClock(), log: silentLog },
  } as unknown as InitiativeParts);
  const lost = pushed.map(({ category, dataJson }) => `${category} ${JSON.parse(dataJson.toString()).detail}`);
  expect(lost).toEqual(
    ["schedules", "triggers", "services"].map((name) => expect.stringContaining(`state.lost ${folder}/${name}.json`)),
  );
  rmSync(folder, { recursive: true });
});
