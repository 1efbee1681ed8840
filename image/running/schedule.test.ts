import { expect, test } from "vitest";
import { runSideBySide, type Task } from "./schedule.ts";

/** Tasks that end when they are told to, and what happened. */
function stage(plan: Readonly<Record<string, readonly string[]>>, ranks: Readonly<Record<string, number>> = {}) {
  const said: string[] = [];
  const ends = new Map<string, { end(): void; fail(error: Error): void }>();
  const tasks = Object.entries(plan).map(
    ([name, needs]): Task => ({
      ...{ name, needs, rank: ranks[name] ?? 0 },
      run(stop) {
        said.push(name);
        stop.addEventListener("abort", () => said.push(`stop ${name}`));
        return new Promise((end, fail) => ends.set(name, { end, fail }));
      },
    }),
  );
  const end = async (name: string, error?: Error) => {
    const one = ends.get(name);
    if (error === undefined) one?.end();
    else one?.fail(error);
    await new Promise((resolve) => setImmediate(resolve));
  };
  return { tasks, said, end };
}

test("each begins when its needs are done, the one with the most behind it first, so many at a time", async () => {
  const { tasks, said, end } = stage(
    {
      base: [],
      source: ["base"],
      kernel: ["source"],
      packages: ["base", "cached"],
      root: ["packages"],
      disk: ["root", "kernel"],
    },
    { base: 9, source: 8, kernel: 7, packages: 3, root: 2, disk: 1 },
  );
  const all = runSideBySide(tasks, 2);
  expect(said).toEqual(["base"]);
  await end("base");
  expect(said).toEqual(["base", "source", "packages"]);
  await end("packages");
  expect(said.at(-1)).toBe("root");
  await end("root");
  await end("source");
  expect(said.at(-1)).toBe("kernel");
  await end("kernel");
  await end("disk");
  await all;
  expect(said).toHaveLength(6);
});

test("no more than the lanes run at a time", async () => {
  const { tasks, said, end } = stage({ a: [], b: [], c: [], d: [] }, { d: 2, c: 1 });
  const all = runSideBySide(tasks, 3);
  expect(said).toEqual(["d", "c", "a"]);
  await end("c");
  expect(said.at(-1)).toBe("b");
  for (const name of ["a", "b", "d"]) await end(name);
  await all;
});

test("one that fails asks the others to end, waits for them, begins no more, and its error is told", async () => {
  const { tasks, said, end } = stage({ a: [], b: [], c: ["a"], d: [] });
  let over = false;
  const all = runSideBySide(tasks, 2).finally(() => {
    over = true;
  });
  const refused = expect(all).rejects.toThrow("first");
  await end("a", new Error("first"));
  expect(said).toEqual(["a", "b", "stop a", "stop b"]);
  expect(over).toBe(false);
  await end("b", new Error("second"));
  await refused;
  expect(said).not.toContain("d");
});

test("all are asked to end from outside, and the reason is told whatever they throw", async () => {
  const { tasks, said, end } = stage({ a: [], b: [], c: ["a"] });
  const stop = new AbortController();
  const refused = expect(runSideBySide(tasks, 2, stop.signal)).rejects.toThrow("interrupted");
  stop.abort(new Error("interrupted"));
  expect(said).toEqual(["a", "b", "stop a", "stop b"]);
  await end("a");
  await end("b", new Error("killed"));
  await refused;
  expect(said).not.toContain("c");
});

test("needs in a circle are refused, not waited for", async () => {
  const { tasks } = stage({ a: ["b"], b: ["a"] });
  await expect(runSideBySide(tasks, 2)).rejects.toThrow("a, b wait for each other");
});
