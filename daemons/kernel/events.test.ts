import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { decodeEvent, type EventRecord, encodeEvent, momentOf } from "./events.ts";
import { eventKind, kinds } from "./kinds.ts";
import { f32, f64 } from "./wire.ts";

/** Written by hand from the crate's serde attributes, one line each. */
const golden = (name: string) =>
  readFileSync(new URL(`golden/${name}.jsonl`, import.meta.url), "utf8")
    .trimEnd()
    .split("\n");

const [first = ""] = golden("records");
const withKind = (kind: unknown) => ({ ...JSON.parse(first), kind });

describe("the JSON of events", () => {
  test.each(golden("kinds"))("%s", (line) => {
    const { kind } = decodeEvent(withKind(JSON.parse(line)));
    expect(eventKind.write(kind, "kind")).toBe(line);
    expect(kind.type).toBe(JSON.parse(line).type);
  });

  test("every kind has a line", () => {
    const covered = new Set(golden("kinds").map((line) => JSON.parse(line).type));
    expect(Object.keys(kinds).filter((name) => !covered.has(name))).toEqual([]);
    expect(Object.keys(kinds)).toHaveLength(74);
  });

  test.each(golden("records"))("%s", (line) => {
    expect(encodeEvent(decodeEvent(line))).toBe(line);
  });

  test("a kind of a newer writer is read as Custom", () => {
    const { kind } = decodeEvent(withKind({ type: "MoonLanded", crater: 3 }));
    expect(kind).toEqual({ type: "Custom", event_type: "MoonLanded", data: { crater: 3 } });
  });

  test("absent fields take the crate's defaults, unknown ones are dropped", () => {
    const { agent_id: _, actor: __, schema: ___, ...rest } = JSON.parse(first);
    const event = decodeEvent({ ...rest, trace_id: null, novelty: 1 });
    expect(encodeEvent(event)).toBe(
      first
        .replace('"agent_id":"system"', '"agent_id":""')
        .replace('"actor":{"type":"user"}', '"actor":{"type":"system","component":"arcan-daemon"}'),
    );
  });

  test.each([
    ["2026-11-21T05:30:00+01:00", "2026-11-21T04:30:00Z"],
    ["2026-11-21T04:30:00.000Z", "2026-11-21T04:30:00Z"],
    ["2026-11-21T04:30:00.1Z", "2026-11-21T04:30:00.100Z"],
    ["2026-11-21T04:30:00.1234567Z", "2026-11-21T04:30:00.123456700Z"],
  ])("the moment %s is %s", (given, normal) => {
    expect(decodeEvent({ ...JSON.parse(first), timestamp: given }).timestamp).toBe(normal);
  });

  test("moments of the clock", () => {
    expect(momentOf(1_700_000_000_000)).toBe("2023-11-14T22:13:20Z");
    expect(momentOf(1_700_000_000_007)).toBe("2023-11-14T22:13:20.007Z");
  });

  test.each([
    [0, "0.0"],
    [-0, "-0.0"],
    [5, "5.0"],
    [-2.5, "-2.5"],
    [1e15, "1000000000000000.0"],
    [1e16, "1e16"],
    [1.5e17, "1.5e17"],
    [0.00001, "0.00001"],
    [0.000001, "1e-6"],
    [123456.789, "123456.789"],
  ])("the double %d is written %s", (value, text) => {
    expect(f64.write(value, "x")).toBe(text);
  });

  test("floats of 32 bits are written with the fewest digits", () => {
    expect(f32.write(0.1 + 0.2, "x")).toBe("0.3");
    expect(f32.write(1 / 3, "x")).toBe("0.33333334");
  });

  test.each([
    ["not JSON", "expected an object"],
    ['{"session_id":"s"}', "event.event_id: expected a string"],
    [first.replace('"sequence":1', '"sequence":-1'), "event.sequence: expected a whole number"],
    [first.replace("04:30:00Z", "later"), "event.timestamp: expected a moment in RFC 3339"],
    [first.replace('"user"', '"ghost"'), "event.actor.type: expected one of user, agent, system"],
  ])("%s is refused", (text, problem) => {
    expect(() => decodeEvent(text)).toThrow(problem);
  });

  test("what is not of its kind is not written", () => {
    const event = decodeEvent(first);
    const broken = { ...event, kind: { type: "StepStarted", index: -1 } } as EventRecord;
    expect(() => encodeEvent(broken)).toThrow("event.kind.index: expected a whole number of 32 bits");
  });
});
