import { randomInt } from "node:crypto";
import { mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { type Campaign, onGround } from "../faults/campaign.ts";
import { clock } from "../faults/clock.ts";
import { corrupt } from "../faults/corrupt.ts";
import { disk } from "../faults/disk.ts";
import { flood } from "../faults/flood.ts";
import { fuzz } from "../faults/fuzz.ts";
import { kill } from "../faults/kill.ts";
import { power } from "../faults/power.ts";
import type { Bench } from "./bench.ts";
import type { Measure } from "./row.ts";

/** In the order in which they run. */
export const campaigns: Readonly<Record<string, Campaign>> = { kill, power, corrupt, disk, clock, flood, fuzz };

const seedMax = 2 ** 31;

/** What was asked for: `faults [CAMPAIGN …] [--seed N] [--count N]`. */
export function readFaults(words: readonly string[], newSeed: () => number) {
  const names: string[] = [];
  const options: Record<string, number | undefined> = {};
  for (let at = 0; at < words.length; at++) {
    const word = words[at] ?? "";
    if (word === "--seed" || word === "--count") options[word] = Number(words[++at]);
    else names.push(word);
  }
  const known = Object.keys(campaigns);
  const wrong = (reason: string) =>
    new AiosError("INVALID_ARGUMENT", {
      act: "make",
      object: words.join(" "),
      reason,
      next: `call it as: npm run bench -- faults [${known.join("|")}] [--seed N] [--count N]`,
    });
  const unknown = names.find((name) => !known.includes(name));
  if (unknown !== undefined) throw wrong(`there is no campaign "${unknown}"`);
  const { "--seed": seed = newSeed(), "--count": count } = options;
  if (!Number.isInteger(seed) || seed < 0 || seed >= seedMax)
    throw wrong(`--seed takes a whole number below ${seedMax}`);
  if (count !== undefined && (!Number.isInteger(count) || count < 1))
    throw wrong("--count takes a whole number from 1");
  return { names: names.length === 0 ? known : names, seed, count };
}

/** Faults of many kinds, bounded and repeatable: what the machine promises when everything goes wrong. */
export const faultsBench: Bench = async (host) => {
  const { names, seed, count } = readFaults(host.words, () => randomInt(seedMax));
  const rows: Measure[] = [];
  for (const name of names) {
    const campaign = campaigns[name];
    if (campaign === undefined) continue;
    const root = mkdtempSync(join(tmpdir(), `aios-faults-${name}-`));
    host.say(`faults: ${name}: seed ${seed}, ${count ?? campaign.countDefault} faults`);
    try {
      rows.push(...(await onGround(host, { seed, count, root }, (ground) => campaign.run(ground))));
    } finally {
      rmSync(root, { recursive: true, force: true });
    }
  }
  return rows;
};
