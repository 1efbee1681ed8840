import { describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { durableTwin } from "../testing/further-twin.ts";
import type { Notice } from "./notices.ts";
import { openTriggers, parseTrigger } from "./triggers.ts";

const noon = Date.UTC(2026, 2, 28, 12);

describe("triggers", () => {
  const trigger = parseTrigger(
    "service-down",
    '[trigger]\nsummary = "s"\ncategory = "service.*"\nsource = "monitor"\ngoal = "restore service {subject}"\ncool_down = "2s"\ncool_down_max = "10s"\n',
    "t.toml",
  );
  const notice: Notice = {
    category: "service.down",
    severity: "critical",
    subject: "nginx",
    detail: "stopped",
    source: "monitor",
  };
  const open = () => {
    const clock = new ManualClock(noon);
    const given: string[] = [];
    const over = { at: 0, refusal: "", asks: false };
    const submit = async ({ words, dedupeKey }: { words: string; dedupeKey: string }) => {
      if (over.refusal !== "") throw new Error(over.refusal);
      given.push(`${words} / ${dedupeKey}`);
      return `goal-${over.at}`;
    };
    const triggers = openTriggers({
      ...{ triggers: () => [trigger], record: durableTwin({}), clock, log: silentLog, submit },
      asks: async () => over.asks,
    });
    return { clock, given, over, triggers, tell: triggers.consider };
  };

  it("give a goal for what was noticed, and no second one while they cool down", async () => {
    const { clock, given, tell } = open();
    await tell(notice);
    await tell(notice);
    await tell({ ...notice, subject: "other" });
    expect(given).toEqual(["restore service nginx / service-down:nginx", "restore service other / service-down:other"]);
    await clock.advance(2_000);
    await tell(notice);
    expect(given).toHaveLength(3);
  });

  it("cool down twice as long after each goal that follows soon, and forget it after a while", async () => {
    const { clock, given, over, tell } = open();
    const gaps: number[] = [];
    for (let second = 0, last = 0; second < 60; second += 1) {
      const before = given.length;
      await tell(notice);
      if (given.length > before) {
        gaps.push(second - last);
        last = second;
        over.at += 1;
      }
      await clock.advance(1_000);
    }
    expect(gaps).toEqual([0, 2, 4, 8, 10, 10, 10, 10]);
    await clock.advance(20_000);
    for (const wait of [1, 2_000]) {
      await tell(notice);
      over.at += 1;
      await clock.advance(wait);
    }
    await tell(notice);
    expect(given).toHaveLength(gaps.length + 2);
  });

  it("tell what they hold back, until it is well again", async () => {
    const { clock, over, tell, triggers } = open();
    over.refusal = "the level is manual";
    await tell(notice);
    expect(triggers.heldBack()).toEqual(["restore service nginx (nginx: stopped): the level is manual"]);
    over.refusal = "";
    await tell(notice);
    expect(triggers.heldBack()).toEqual([]);
    await clock.advance(1_000);
    await tell(notice);
    expect(triggers.heldBack()).toEqual([
      "restore service nginx (nginx: stopped): given already, and not again before 12:00:02 UTC",
    ]);
    await tell({ ...notice, severity: "info", detail: "ready" });
    expect(triggers.heldBack()).toEqual([]);
  });

  it("tell once of a goal that still asks, and give it no cool-down for that", async () => {
    const { clock, over, tell, triggers } = open();
    await tell(notice);
    over.asks = true;
    for (let beats = 0; beats < 3; beats += 1) {
      await clock.advance(20_000);
      await tell(notice);
      expect(triggers.heldBack()).toEqual([
        "restore service nginx (nginx: stopped): given already, and its goal asks (aiosctl goal show goal-0)",
      ]);
    }
    over.asks = false;
    await tell(notice);
    expect(triggers.heldBack()).toEqual([]);
  });

  it("do not tell for ever what nobody tells them any more", async () => {
    const { clock, over, tell, triggers } = open();
    over.refusal = "the level is manual";
    await tell(notice);
    await clock.advance(800_000);
    expect(triggers.heldBack()).toHaveLength(1);
    await clock.advance(200_000);
    expect(triggers.heldBack()).toEqual([]);
  });

  it.each([
    ["of another source", { source: "dev" }],
    ["of another category", { category: "disk.full" }],
    ["that is mere information", { severity: "info" as const }],
    ["whose subject has words of its own", { subject: "nginx and then remove all" }],
  ])("pass over a notice %s", async (_, more) => {
    const { given, tell } = open();
    await tell({ ...notice, ...more });
    expect(given).toEqual([]);
  });
});
