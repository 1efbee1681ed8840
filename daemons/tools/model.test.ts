import { lstatSync, mkdirSync, readdirSync, readFileSync, readlinkSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Machine, startMachine } from "./testing/harness.ts";
import { randomFrom } from "./testing/random.ts";

/** What a folder holds: paths below it, each a folder, a file's content and mode, or a link's target. */
type Tree = Readonly<Record<string, string>>;

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
});
afterEach(() => machine.close());

function treeOf(folder: string, at = ""): Tree {
  return Object.fromEntries(
    readdirSync(`${folder}${at}`).flatMap((name): [string, string][] => {
      const path = `${at}/${name}`;
      const found = lstatSync(folder + path);
      const mode = (found.mode & 0o7777).toString(8);
      if (found.isSymbolicLink()) return [[path, `link ${readlinkSync(folder + path)}`]];
      if (found.isDirectory()) return [[path, `folder ${mode}`], ...Object.entries(treeOf(folder, path))];
      return [[path, `file ${mode} ${readFileSync(folder + path, "utf8")}`]];
    }),
  );
}

/** Kinds of changes that were made, over all seeds. */
const used = new Set<string>();

const names = ["a", "b", "c", "d/a", "d/b", "d/e/a", "d", "l"];

/** A change of some file or folder, as likely as not one that cannot be made. */
function change(random: (below: number) => number): [tool: string, input: object] {
  const pick = () => `${work}/${names[random(names.length)]}`;
  const content = `${random(5)}`.repeat(random(9));
  const changes: readonly (() => [string, object])[] = [
    () => ["fs.write", { path: pick(), content }],
    () => ["fs.append", { path: pick(), content }],
    () => ["fs.delete", { path: pick(), recursive: random(2) === 0 }],
    () => ["fs.mkdir", { path: pick() }],
    () => ["fs.move", { source: pick(), destination: pick() }],
    () => ["fs.copy", { source: pick(), destination: pick() }],
    () => ["fs.chmod", { path: pick(), mode: ["0600", "0644", "0755"][random(3)] }],
    () => ["fs.symlink", { path: pick(), target: pick() }],
  ];
  return changes[random(changes.length)]?.() ?? ["fs.list", { path: work }];
}

/**
 * The model is the tree as it was seen before each change: a rollback of the last change must give it back to the letter, a
 * call that failed must have changed nothing, and rolling all of them back must give back the first.
 */
it.each([1, 2, 3, 4, 5, 112])("random changes and rollbacks leave what the model says: seed %i", async (seed) => {
  const random = randomFrom(seed);
  const done: { readonly id: string; readonly before: Tree }[] = [];
  let told = 0;
  for (let step = 0; step < 80; step += 1) {
    if (step === 40) await machine.restart();
    const before = treeOf(work);
    const last = done.at(-1);
    if (last !== undefined && random(3) === 0) {
      const { success, error } = await machine.core.raw.rollback({ executionId: last.id, reason: "model" });
      expect({ success, error }, JSON.stringify(last)).toEqual({ success: true, error: "" });
      expect(treeOf(work)).toEqual(last.before);
      done.pop();
      continue;
    }
    const [tool, input] = change(random);
    const answer = await machine.core
      .call(tool, input)
      .catch((error: Error) => ({ success: false, error: error.message, executionId: "" }));
    if (answer.success) {
      done.push({ id: answer.executionId, before });
      used.add(tool);
    } else expect(treeOf(work), `${tool} ${JSON.stringify(input)}: ${answer.error}`).toEqual(before);
    told += answer.success ? 1 : 0;
  }
  expect(told).toBeGreaterThan(10);
  const ids = done.map(({ id }) => id).join(",");
  if (ids !== "") {
    expect(await machine.core.raw.rollback({ executionId: ids, reason: "model" })).toEqual({
      success: true,
      error: "",
    });
  }
  expect(treeOf(work)).toEqual({});
  expect((await machine.core.call("sec.verify_ledger", { full: true })).output.valid).toBe(true);
});

it("and every kind of change was among them", () => {
  const kinds = ["append", "chmod", "copy", "delete", "mkdir", "move", "symlink", "write"];
  expect([...used].sort()).toEqual(kinds.map((kind) => `fs.${kind}`));
});
