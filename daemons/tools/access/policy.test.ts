import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { openPolicies, readPolicy, strictest } from "./policy.ts";

const shipped = `${import.meta.dirname}/../../../rootfs/etc/aios/security/policy.toml`;
const clock = new ManualClock();
let folder: string;
let logged: string[];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-policy-");
  mkdirSync(`${folder}/security`);
  logged = [];
});
afterEach(() => rmSync(folder, { recursive: true }));

const log = {
  ...silentLog,
  error: (_: string, fields?: object) => void logged.push(String(Object.values(fields ?? {}))),
};
const open = () => openPolicies({ etc: folder, run: folder }, clock, log);
const write = (text: string) => writeFileSync(`${folder}/security/policy.toml`, text);
const level = (autonomy_level: string) =>
  writeFileSync(`${folder}/config.json`, JSON.stringify({ system: { autonomy_level } }));

const text = `
[approval]
full = []
supervised = ["critical"]
manual = ["low", "critical"]
timeout = "2m"
pending_per_agent_max = 3
[limits.global]
calls = 10
[limits.agent]
[limits.tools."fs.write"]
calls = 2
cooldown = "1s"
[redaction]
keys = ["pin"]
`;

it("of the image fits its schema at every level, and asks for more the less autonomous the machine is", async () => {
  const counts = [];
  for (const autonomy of ["full", "supervised", "manual"] as const)
    counts.push((await readPolicy(shipped, autonomy)).approval.risks.length);
  expect(counts).toEqual([1, 2, 4]);
});

it("of the image gives a person a day to approve", async () => {
  expect((await readPolicy(shipped, "full")).approval.timeoutMs).toBe(86_400_000);
});

it("is read from the file, at the level that init has put into effect", async () => {
  write(text);
  level("supervised");
  expect(await open().current()).toMatchObject({
    autonomy: "supervised",
    approval: { risks: ["critical"], timeoutMs: 120_000, pendingPerAgentMax: 3 },
    limits: { global: { calls: 10 }, tools: { "fs.write": { calls: 2, cooldownMs: 1_000 } } },
  });
  expect((await open().current()).redaction.json('{"pin":"1","password":"2"}')).toBe(
    '{"pin":"[redacted]","password":"2"}',
  );
});

it("is read again when the file or the level changes, within a second", async () => {
  write(text);
  level("full");
  const policies = open();
  expect((await policies.current()).approval.risks).toEqual([]);
  write(text.replace("calls = 10", "calls = 100"));
  level("manual");
  await clock.advance(1_000);
  expect(await policies.current()).toMatchObject({ autonomy: "manual", limits: { global: { calls: 100 } } });
  expect(policies.last().autonomy).toBe("manual");
});

it("is the strictest while it cannot be read, and the log says where the mistake is, once", async () => {
  level("full");
  const policies = open();
  expect(await policies.current()).toBe(strictest);
  write(text.replace("calls = 10", "calls = -1"));
  await clock.advance(1_000);
  expect(await policies.current()).toBe(strictest);
  expect(await policies.current()).toBe(strictest);
  expect(logged).toHaveLength(2);
  expect(logged[1]).toMatch(/policy\.toml:9: limits\.global\.calls/);
});
