import { Type } from "typebox";
import { describe, expect, it } from "vitest";
import { durationMs, parseToml } from "./config.ts";
import { durationType } from "./duration-type.ts";

const schema = Type.Object(
  {
    system: Type.Object(
      {
        level: Type.Union([Type.Literal("a"), Type.Literal("b")]),
        port: Type.Optional(Type.Integer({ minimum: 1, description: "a port" })),
        prices: Type.Optional(Type.Record(Type.String(), Type.Number({ minimum: 0 }))),
      },
      { additionalProperties: false },
    ),
  },
  { additionalProperties: false },
);

describe("parseToml", () => {
  it("reads what fits", () => {
    expect(parseToml(schema, '[system]\nlevel = "a"\n', "c.toml")).toEqual({ system: { level: "a" } });
  });

  it.each([
    ['[system]\nlevel = "a"\nport = 0\n', "c.toml:3: system.port: 0 is not what is expected: a port"],
    ['[system]\nlevel = "a"\ncolour = 1\n', "c.toml:3: system.colour: no such key"],
    ['[system]\nlevel = "a"\n"x/y" = 1\n', "system.x/y: no such key"],
    ['[system]\nlevel = "a"\n[system.prices]\n"meta/llama~3" = -1\n', "system.prices.meta/llama~3: -1 is not"],
    ["[system]\nport = 1\n", "c.toml:1: system.level: the key is missing"],
    ['[system]\nlevel = "c"\n', 'c.toml:2: system.level: "c" is not what is expected: "a" or "b"'],
    ["[system]\nlevel = \n", "c.toml:2"],
  ])("names file, line, key and what was expected in %j", (text, message) => {
    expect(() => parseToml(schema, text, "c.toml")).toThrow(message);
  });
});

describe("a duration of a file", () => {
  const durations = Type.Object({ wait: Type.Record(Type.String(), durationType("30d")) });

  it("is kept as written, also when it is longer than a timer can wait", () => {
    expect(parseToml(durations, '[wait]\na = "720h"\n', "c.toml")).toEqual({ wait: { a: "720h" } });
  });

  it.each(["721h", "31d", "99999999999999999999s"])("is refused with its key and the most allowed: %s", (text) => {
    expect(() => parseToml(durations, `[wait]\na = "1s"\nb = "${text}"\n`, "c.toml")).toThrow(
      `c.toml:3: wait.b: "${text}" is not what is expected: a duration such as 30s, 5m or 1h, at most 30d`,
    );
  });
});

describe("durationMs", () => {
  it("reads units", () => {
    expect(["250ms", "2s", "5m", "1h", "1d"].map(durationMs)).toEqual([250, 2_000, 300_000, 3_600_000, 86_400_000]);
  });

  it("refuses others", () => {
    expect(() => durationMs("5 minutes")).toThrow("expected a number and");
  });
});
