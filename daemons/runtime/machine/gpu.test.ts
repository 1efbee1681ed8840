import { type ChildProcess, spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { type Candidate, gpuCandidates, openGpus } from "./gpu.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));
const cuda: Candidate = { backend: "cuda", bindingFolder: "/cuda" };
const vulkan: Candidate = { backend: "vulkan", bindingFolder: "/vulkan" };
const good = { backend: "vulkan", devices: ["Radeon"], totalBytes: 8e9, freeBytes: 7e9 };
const answers = (answer: unknown) => `console.log(${JSON.stringify(JSON.stringify(answer))})`;

let children: ChildProcess[];
beforeEach(() => {
  children = [];
});

/** Probes that are programs: each back end's is a line of JavaScript in a process of its own. */
function gpus(
  programs: Partial<Record<"/cuda" | "/vulkan", string>>,
  candidates: readonly Candidate[] = [cuda, vulkan],
) {
  return openGpus({
    candidates,
    without: "there is none here",
    spawn: (folder) => {
      const program = programs[folder as "/cuda"] ?? "";
      const child = spawn(process.execPath, ["-e", program], { stdio: ["ignore", "pipe", "ignore"] });
      children.push(child);
      return child;
    },
    // A probe that answers is given as long as a busy machine takes.
    clock: {
      ...systemClock,
      sleep: (ms, signal) => systemClock.sleep(hangs(children.at(-1)) ? ms : 60 * ms, signal),
    },
    log: silentLog,
    timeoutMs: 1_000,
  });
}

const hangs = (probe: ChildProcess | undefined) => /setInterval|for \(;;\)/.test(probe?.spawnargs.at(-1) ?? "");

describe("a probe of GPUs", () => {
  it("takes the first back end that answers, and asks for its free memory again", async () => {
    const found = gpus({ "/cuda": answers({ ...good, backend: "cuda", devices: ["H200"] }), "/vulkan": answers(good) });
    expect(found.status()).toBe("not asked yet");
    expect(await found.look()).toMatchObject({
      backend: "cuda",
      device: "H200",
      freeBytes: 7e9,
      bindingFolder: "/cuda",
    });
    expect(found.status()).toBe("cuda: H200");
    await Promise.all([found.look(), found.look()]);
    expect(children).toHaveLength(2);
  });

  it.each([
    ["crashes", "process.abort()", /SIGABRT/],
    ["ends with an error", "process.exit(3)", /exit code 3/],
    ["hangs", "setInterval(() => {}, 1000)", /did not answer within 1 s/],
    [
      "answers and then hangs",
      `${answers({ ...good, backend: "cuda" })}; setInterval(() => {}, 1000)`,
      /did not answer/,
    ],
    ["answers rubbish", 'console.log("{{{")', /nothing that can be read/],
    ["answers without end", 'for (;;) require("fs").writeSync(1, "x".repeat(65536))', /did not answer/],
    [
      "answers other than numbers",
      answers({ ...good, backend: "cuda", freeBytes: "many" }),
      /nothing that can be read/,
    ],
    ["finds the processor only", answers({ ...good, backend: "cpu" }), /found cpu only/],
    ["finds no device", answers({ ...good, backend: "cuda", devices: [] }), /no device/],
  ])(
    "whose driver %s costs nothing: the next back end is taken, and it is not asked again",
    async (_, program, reason) => {
      const found = gpus({ "/cuda": program, "/vulkan": answers(good) });
      expect(await found.look()).toMatchObject({ backend: "vulkan", device: "Radeon" });
      const alone = gpus({ "/cuda": program }, [cuda]);
      expect(await alone.look()).toBeUndefined();
      expect(alone.status()).toMatch(/^none: cuda: /);
      expect(alone.status()).toMatch(reason);
      const before = children.length;
      expect(await alone.look()).toBeUndefined();
      expect(children.length).toBe(before);
      await Promise.all(
        children.map((child) => child.exitCode ?? child.signalCode ?? new Promise((end) => child.once("exit", end))),
      );
    },
  );

  it("that does not start says so", async () => {
    const none = openGpus({
      ...{ candidates: [vulkan], without: "", clock: systemClock, log: silentLog },
      spawn: () => spawn("/nowhere/node", [], { stdio: ["ignore", "pipe", "ignore"] }),
    });
    expect(await none.look()).toBeUndefined();
    expect(none.status()).toMatch(/does not start/);
  });

  it("is the real program: on the processor's own back end it finds no GPU", async () => {
    const folder = here("../../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64");
    const real = openGpus({
      ...{
        candidates: [{ backend: "vulkan", bindingFolder: folder }],
        without: "",
        clock: systemClock,
        log: silentLog,
      },
      spawn: (bindingFolder) =>
        spawn(process.execPath, [here("gpu-probe.ts"), bindingFolder], { stdio: ["ignore", "pipe", "inherit"] }),
    });
    expect(await real.look()).toBeUndefined();
    expect(real.status()).toBe("none: vulkan: its probe found cpu only");
  });
});

describe("back ends for GPUs", () => {
  let root: string;
  beforeEach(() => {
    root = mkdtempSync("/tmp/aios-gpu-");
  });
  afterEach(() => rmSync(root, { recursive: true }));
  const install = (backend: string) => {
    const folder = join(root, `modules/@node-llama-cpp/linux-x64-${backend}/bins/linux-x64-${backend}`);
    mkdirSync(folder, { recursive: true });
    writeFileSync(join(folder, "llama-addon.node"), "");
  };
  const device = (path: string) => {
    mkdirSync(join(root, "dev/dri"), { recursive: true });
    writeFileSync(join(root, "dev", path), "");
  };
  const found = () => gpuCandidates({ modules: join(root, "modules"), dev: join(root, "dev") });

  it("are tried when the image carries them and a driver knows a GPU", () => {
    expect(found()).toMatchObject({ candidates: [], without: expect.stringContaining("carries no back end") });
    install("vulkan");
    install("cuda");
    expect(found()).toMatchObject({ candidates: [], without: expect.stringContaining("no GPU that a driver knows") });
    device("dri/renderD128");
    expect(found().candidates.map(({ backend }) => backend)).toEqual(["vulkan"]);
    device("nvidia0");
    expect(found().candidates.map(({ backend }) => backend)).toEqual(["cuda", "vulkan"]);
  });
});
