import { existsSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, expect, it } from "vitest";
import { silentLog } from "#lib/log";
import { openGatewayDatabase, secretsKeyIn } from "./database.ts";
import { keepSoundKey, openSecrets } from "./secrets.ts";
import { HastyClock, theKey } from "./testing/twins.ts";
import { openUsage } from "./usage.ts";

let folder: string;
const clock = new HastyClock();
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-gateway-damaged-");
});
afterEach(() => rmSync(folder, { recursive: true }));

/** Opens what main.ts opens, and says whether the key is there, and what was told. */
function started(set = false) {
  const told: string[] = [];
  const lost = (what: string) => void told.push(what);
  const database = openGatewayDatabase(join(folder, "usage.db"), clock, lost);
  keepSoundKey(secretsKeyIn(folder), clock, lost);
  const secrets = openSecrets(database, secretsKeyIn(folder), clock);
  openUsage(database, clock, silentLog);
  if (set) secrets.set("claude", theKey, "test");
  const opened = () => secrets.get("claude");
  let key: string | undefined;
  try {
    key = opened();
  } catch (error) {
    key = String(error);
  }
  database.close();
  return { key, told };
}

it.each<[string, () => void, RegExp]>([
  ["damaged", () => writeFileSync(join(folder, "usage.db"), Buffer.alloc(8_192, 7)), /cannot be read .*aside-/],
  ["emptied", () => truncateSync(join(folder, "usage.db"), 0), /gone or empty/],
  ["missing", () => rmSync(join(folder, "usage.db")), /gone or empty/],
])("a database that is %s costs the keys, which is said, and no start", (_, harm, message) => {
  expect(started(true)).toEqual({ key: theKey, told: [] });
  for (const name of readdirSync(folder)) if (/-(wal|shm)$/.test(name)) rmSync(join(folder, name));
  harm();
  expect(started()).toEqual({
    key: undefined,
    told: [expect.stringMatching(new RegExp(`${message.source}.*aiosctl secrets set NAME`))],
  });
  expect(started(true)).toEqual({ key: theKey, told: [] });
});

it("a key file that is none is moved aside, and the secrets are to be set again", () => {
  started(true);
  rmSync(secretsKeyIn(folder));
  writeFileSync(secretsKeyIn(folder), "short");
  const { key, told } = started();
  expect(told).toEqual([expect.stringMatching(/5 bytes, not 32.*aside-.*secrets set/)]);
  expect(key).toContain("sealed with another key");
  expect(readdirSync(folder).some((name) => name.startsWith("secrets.key.aside-"))).toBe(true);
  expect(existsSync(secretsKeyIn(folder))).toBe(true);
  expect(started(true).key).toBe(theKey);
});
