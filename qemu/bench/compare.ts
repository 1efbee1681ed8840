import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import type { Bench } from "./bench.ts";
import { checkOut, commitOf } from "./reference.ts";
import type { Measure, Row } from "./row.ts";

const roundsDefault = 3;
const roundsMax = 100;

/** What was asked for: `compare REF NAME [WORD …] [--rounds N]`. */
interface Asked {
  readonly reference: string;
  readonly bench: string;
  readonly words: readonly string[];
  readonly rounds: number;
}

/** Reads the words behind `compare`. Throws INVALID_ARGUMENT with how it is called. */
export function readAsked(words: readonly string[]): Asked {
  const at = words.indexOf("--rounds");
  const rounds = at < 0 ? roundsDefault : Number(words[at + 1]);
  const [reference, bench, ...others] = at < 0 ? words : words.toSpliced(at, 2);
  const wrong = (reason: string) =>
    new AiosError("INVALID_ARGUMENT", {
      act: "compare",
      object: words.join(" ") || "nothing",
      reason,
      next: "call it as: npm run bench -- compare REF NAME [--rounds N]",
    });
  if (reference === undefined || bench === undefined) throw wrong("it needs a commit and a benchmark's name");
  if (!/^[a-z]+$/.test(bench) || bench === "compare") throw wrong(`"${bench}" is no benchmark to compare by`);
  if (!Number.isInteger(rounds) || rounds < 1 || rounds > roundsMax)
    throw wrong(`--rounds takes a whole number from 1 to ${roundsMax}`);
  return { reference, bench, words: others, rounds };
}

/** Benchmarks that measure an image from outside, whichever commit's: by the same means, this tree's, in both. */
const ofImages: readonly string[] = ["boot", "idle"];

/**
 * The measures of another commit and of this tree, by turns in the same run: what the machine does beside it slows both alike.
 * Each build is measured by its own benchmark; what is measured of an image, and what the commit lacks, by this tree's.
 */
export const compareBench: Bench = async ({ repository, cache, words, say }) => {
  const asked = readAsked(words);
  const tree = checkOut(repository, commitOf(repository, asked.reference), cache, say);
  const has = (of: string) => existsSync(join(of, "qemu/bench", `${asked.bench}.ts`));
  if (!has(repository)) throw new AiosError("NOT_FOUND", `compare: there is no benchmark ${asked.bench}`);
  const measuresThere = has(tree) && !ofImages.includes(asked.bench);
  const there = () =>
    measuresThere ? runBench(tree, asked, [], say) : runBench(repository, asked, ["--tree", tree], say);
  const here = () => runBench(repository, asked, [], say);
  const pairs: Pair[] = [];
  for (let round = 1; round <= asked.rounds; round++) {
    say(`compare: round ${round} of ${asked.rounds}`);
    // Who is first may find the machine colder: they take turns in that too.
    if (round % 2 === 1) {
      const reference = await there();
      pairs.push({ reference, own: await here() });
    } else {
      const own = await here();
      pairs.push({ reference: await there(), own });
    }
  }
  const ratios = ratiosOf(pairs);
  say(`\n${tableOfRatios(ratios, asked.reference)}\n`);
  return ratios.map(({ name, ratio }): Measure => ({ name, value: ratio, unit: "ratio" }));
};

/** Rows of one round: of the commit, and of this tree. */
interface Pair {
  readonly reference: readonly Row[];
  readonly own: readonly Row[];
}

/** How a measure of this tree stands to the commit's: the median of the rounds' ratios, with the lowest and the highest. */
interface Ratio {
  readonly name: string;
  readonly unit: Row["unit"];
  readonly reference: number;
  readonly own: number;
  readonly ratio: number;
  readonly lowest: number;
  readonly highest: number;
}

const median = (values: readonly number[]) => values.toSorted((a, b) => a - b)[Math.floor(values.length / 2)] ?? 0;

/** The ratios of what both have measured in every round; a measure that was zero in the commit has none. */
export function ratiosOf(pairs: readonly Pair[]): readonly Ratio[] {
  const measured = (rows: readonly Row[], name: string) => rows.find((row) => row.name === name)?.value;
  return (pairs[0]?.own ?? []).flatMap(({ name, unit }) => {
    const values = pairs.map(({ reference, own }) => [measured(reference, name), measured(own, name)] as const);
    const both = values.filter((pair): pair is readonly [number, number] =>
      pair.every((v) => v !== undefined && v !== 0),
    );
    if (both.length < pairs.length) return [];
    const ratios = both.map(([reference, own]) => own / reference);
    const [reference, own] = [median(both.map(([r]) => r)), median(both.map(([, o]) => o))];
    return [
      { name, unit, reference, own, ratio: median(ratios), lowest: Math.min(...ratios), highest: Math.max(...ratios) },
    ];
  });
}

function tableOfRatios(ratios: readonly Ratio[], reference: string): string {
  if (ratios.length === 0) return "compare: no measure was made in both builds in every round";
  const width = Math.max(...ratios.map(({ name }) => name.length));
  const number = (value: number) => value.toFixed(value < 10 ? 2 : 1).padStart(10);
  const head = `${"".padEnd(width)} ${reference.slice(0, 10).padStart(10)} ${"here".padStart(10)}         ratio (lowest to highest)`;
  const lines = ratios.map(
    ({ name, unit, reference: before, own, ratio, lowest, highest }) =>
      `${name.padEnd(width)} ${number(before)} ${number(own)} ${unit.padEnd(7)} ${ratio.toFixed(2)} (${lowest.toFixed(2)} to ${highest.toFixed(2)})`,
  );
  return [head, ...lines].join("\n");
}

/** Runs a tree's own `npm run bench` and reads its rows. Status 1 is a budget that was exceeded, which is not asked about here. */
async function runBench(tree: string, asked: Asked, options: readonly string[], say: (line: string) => void) {
  const words = ["qemu/bench/run.ts", asked.bench, ...asked.words, ...options];
  const child = spawn(join(tree, "node_modules/.bin/node"), words, { cwd: tree, stdio: ["ignore", "pipe", "inherit"] });
  let out = "";
  child.stdout.setEncoding("utf8").on("data", (text: string) => {
    out += text;
  });
  const [status] = (await once(child, "close")) as [number | null];
  const rows = out.split("\n").flatMap((line) => (line.startsWith("{") ? [JSON.parse(line) as Row] : []));
  if (rows.length > 0) return rows;
  say(out);
  throw new AiosError("FAILED_PRECONDITION", {
    act: "measure",
    object: `${asked.bench} in ${tree}`,
    reason: `it ended with status ${status} and gave no rows`,
    next: `run it there by hand: cd ${tree} && npm run bench -- ${[asked.bench, ...asked.words].join(" ")}`,
  });
}
