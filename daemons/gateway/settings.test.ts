import { readFileSync } from "node:fs";
import { expect, it } from "vitest";
import { configSchema, parseToml } from "#lib/config/config";
import { settingsOf } from "./settings.ts";

const image = readFileSync(new URL("../../rootfs/etc/aios/config.toml", import.meta.url), "utf8");
const read = (more = "") => settingsOf(parseToml(configSchema, image + more, "config.toml"));

it("the image's configuration asks Claude first, then OpenAI, each at its price", () => {
  const { providers, ...rest } = read();
  expect(providers.map(({ name, fallbackOnly }) => [name, fallbackOnly])).toEqual([
    ["claude", false],
    ["openai", true],
  ]);
  expect(providers[0]).toMatchObject({
    ...{ baseUrl: "https://api.anthropic.com", ownServer: true, price: { inputUsd: 3, outputUsd: 15 } },
    ...{ rateLimitRpm: 50, monthlyBudgetUsd: 100, needsKey: true, inside: false },
  });
  expect(providers[1]).toMatchObject({ baseUrl: "https://api.openai.com/v1", price: { inputUsd: 2.5, outputUsd: 10 } });
  expect(rest).toMatchObject({
    unknown: [],
    allowOutbound: true,
    alertPercent: 80,
    attemptsMax: 3,
    requestTimeoutMs: 120_000,
  });
});

it("any endpoint can be named, and one without a price is not asked", () => {
  const house = `
[gateway.providers.house]
protocol = "openai"
base_url = "http://10.0.0.5:8000/v1/"
model = "qwen"
max_tokens = 100
monthly_budget_usd = 0.0
rate_limit_rpm = 60
needs_key = false
inside = true
`;
  const [, named] = read(house).providers;
  expect(named).toMatchObject({
    ...{ name: "house", baseUrl: "http://10.0.0.5:8000/v1", ownServer: false, needsKey: false, inside: true },
    price: undefined,
  });
  const priced = read(`${house}\n[gateway.prices.qwen]\ninput_usd = 0.0\noutput_usd = 0.0\n`);
  expect(priced.providers[1]?.price).toEqual({ inputUsd: 0, outputUsd: 0 });
});

it.each([
  ['base_url = "ftp://x"', "an address such as"],
  ['base_url = "https://me:secret@host"', "without a name or a key"],
  ['protocol = "gemini"', "protocol"],
])("refuses %s", (line, reason) => {
  const table = `\n[gateway.providers.house]\n${line}\nmodel = "m"\nmax_tokens = 1\nmonthly_budget_usd = 1\nrate_limit_rpm = 1\n`;
  const whole = line.startsWith("protocol") ? `${table}base_url = "http://h"\n` : `${table}protocol = "openai"\n`;
  expect(() => read(whole)).toThrow(reason);
});

it("needs no [gateway]", () => {
  const without = image.replace(/\[gateway\][\s\S]*?(?=\n\[memory\])/, "");
  expect(without).not.toContain("gateway");
  expect(
    settingsOf(parseToml(configSchema, without, "config.toml")).providers.map(({ name, price }) => [name, price]),
  ).toEqual([
    ["claude", undefined],
    ["openai", undefined],
  ]);
});
