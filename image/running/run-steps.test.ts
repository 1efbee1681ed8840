import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, expect, test } from "vitest";
import { command } from "../command.ts";
import { type BuildEvent, weights } from "../progress/index.ts";
import { keySteps, type Step, StepCache } from "../step.ts";
import { leftMs, strayCount } from "./follow.ts";
import { runSteps } from "./run-steps.ts";

/** What the table says of the kernel. */
const objects = weights["kernel-qemu"]?.objects ?? 0;

let folder: string;
let cache: StepCache;
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), "aios-run-"));
  cache = new StepCache(join(folder, "cache"));
});
afterEach(() => rmSync(folder, { recursive: true }));

/** A step whose command is a shell's, with what it prints on standard error, as make, apt and mmdebstrap do. */
const twin = (name: string, script: string, needs: readonly string[] = []): Step => ({
  ...{ name, modules: [], files: [], params: { script }, needs },
  run: async ({ out, log }) => {
    await command(["sh", "-ec", `exec >&2; cd "$1"; ${script}`, "sh", out], { log });
    writeFileSync(join(out, "result"), name);
  },
});

async function run(steps: readonly Step[], stop?: AbortSignal): Promise<{ events: BuildEvent[]; error: unknown }> {
  const events: BuildEvent[] = [];
  const plan = keySteps(steps, folder);
  const reason = cache.reason.bind(cache);
  const error = await runSteps({
    ...{ plan, cache, repository: folder, cores: 2, everyMs: 50, reason, stop },
    log: (event) => events.push(event),
  }).catch((thrown: unknown) => thrown);
  return { events, error: error instanceof Error ? error : undefined };
}

const of = (events: readonly BuildEvent[], kind: BuildEvent["kind"]) =>
  events.flatMap((event) => (event.kind === kind && "step" in event ? [event.step] : []));
const kept = () =>
  (existsSync(cache.folder) ? readdirSync(cache.folder) : []).map((name) => name.replace(/-[0-9a-f]{24}$/, ""));

/** Prints as the kernel's make does: so many objects, one each `pause` seconds. */
const make = (objects: number, pause: number) =>
  `i=0; while [ $i -lt ${objects} ]; do i=$((i+1)); echo "  CC      kernel/part$i.o"; sleep ${pause}; done`;

test("steps that do not need each other run side by side; what they count is told, and kept for the next time", async () => {
  const steps = [
    twin("base", "true"),
    // It ends only once what runs beside it has.
    twin(
      "kernel-qemu",
      `${make(40, 0)}; until [ -e "${folder}/root" ]; do sleep 0.05; done; echo "kernel/x.c:1: warning: unused"`,
      ["base"],
    ),
    twin("packages", 'echo "Need to get 76.4 MB of archives."; sleep 1.5', ["base"]),
    twin("root", `touch "${folder}/root"`, ["packages"]),
  ];
  const { events, error } = await run(steps);
  expect(error).toBeUndefined();
  expect(of(events, "started").slice(0, 3)).toEqual(["base", "kernel-qemu", "packages"]);
  expect(of(events, "built").toSorted()).toEqual(["base", "kernel-qemu", "packages", "root"]);
  const progress = events.filter((event) => event.kind === "progress");
  expect(progress.findLast(({ step }) => step === "packages")?.count).toEqual({ unit: "MB", done: 0, total: 76.4 });
  const kernel = progress.findLast(({ step }) => step === "kernel-qemu");
  expect(kernel?.count).toMatchObject({ unit: "objects", total: objects });
  // The log has what is more than progress.
  expect(readFileSync(join(cache.logs, "kernel-qemu.log"), "utf8")).toMatch(
    /^\+ sh[\s\S]*\nkernel\/x\.c:1: warning: unused\n$/,
  );
  expect(events.filter((event) => event.kind === "remark")).toEqual([
    expect.objectContaining({
      text: expect.stringContaining(`40 objects, image/progress/weights.ts says ${objects}:`),
    }),
  ]);
  expect(cache.remembered("kernel-qemu")?.count).toEqual({ unit: "objects", done: 40, total: undefined });
  const again = await run(steps.with(1, twin("kernel-qemu", make(40, 0.02), ["base"])));
  expect(of(again.events, "cached")).toEqual(["base", "packages", "root"]);
  expect(again.events[0]).toMatchObject({ kind: "planned", stale: 1, steps: 4, by: "this machine" });
  expect(again.events.find((event) => event.kind === "progress" && event.count !== undefined)).toMatchObject({
    count: { total: 40 },
  });
});

test("one that fails ends the others at once; what went well is kept, and the error shows its log's end and path", async () => {
  const { events, error } = await run([
    twin("grub", "true"),
    // As dpkg does it: the child of a child goes on where only its parent is killed.
    twin("packages", 'sh -c "sleep 600; touch late" & echo "Unpacking bc (1.07.1) ..."; wait'),
    twin(
      "kernel-qemu",
      `${make(30, 0)}; echo "kernel/fork.c:31: fatal error: linux/nothing.h"; ${make(30, 0)}; exit 2`,
      ["grub"],
    ),
    twin("root", "true", ["packages"]),
  ]);
  expect(String(error)).toContain("build kernel-qemu: run sh: exit 2");
  expect(String(error)).toContain("    kernel/fork.c:31: fatal error: linux/nothing.h");
  expect(String(error)).toContain(join(cache.logs, "kernel-qemu.log"));
  expect(of(events, "started")).not.toContain("root");
  expect(events.at(-1)).toMatchObject({ kind: "over" });
  expect(kept()).toEqual(["grub"]);
});

test("a build that is interrupted ends at once and keeps what was finished", async () => {
  const stop = new AbortController();
  const begun = join(folder, "begun");
  const steps = [twin("grub", "true"), twin("kernel-qemu", `touch "${begun}"; sleep 600`, ["grub"])];
  const looking = setInterval(() => existsSync(begun) && stop.abort(new Error("it was interrupted")), 20);
  const { error } = await run(steps, stop.signal).finally(() => clearInterval(looking));
  expect(String(error)).toBe("Error: it was interrupted");
  expect(kept()).toEqual(["grub"]);
});

test("the time left goes by the pace; before there is one it is not told", () => {
  const made = (done: number, total?: number) => ({ unit: "objects", done, total });
  expect(leftMs(made(100, 1_900), 10_000)).toBe(180_000);
  expect(leftMs(made(5, 1_900), 10_000)).toBeUndefined();
  expect(leftMs(made(2_000, 1_900), 10_000)).toBeUndefined();
  expect(leftMs(made(100), 10_000)).toBeUndefined();
  expect(leftMs({ unit: "MB", done: 50, total: 76 }, 10_000)).toBeUndefined();
});

test("a number of objects that is not the table's is said", () => {
  expect(strayCount("kernel-qemu", { unit: "objects", done: objects - 10 })).toBeUndefined();
  expect(strayCount("kernel-qemu", { unit: "objects", done: objects / 2 })).toContain(
    `compiled ${objects / 2} objects`,
  );
  expect(strayCount("kernel-other", { unit: "objects", done: 900 })).toBeUndefined();
});
