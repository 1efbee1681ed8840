import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { setTimeout as sleep } from "node:timers/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { fixedEnvironment, runProgram, succeed } from "./program.ts";
import type { Argv } from "./sandbox.ts";

let folder: string;
const { signal } = new AbortController();

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-program-");
});

afterEach(() => rmSync(folder, { recursive: true }));

/** A program that needs more than one command, for these tests only. */
const script = (text: string, ...args: string[]): Argv => ["/bin/sh", "-c", text, "sh", ...args];

const alive = (pid: number) => {
  // A zombie that its new parent has not waited for yet is dead enough.
  const path = `/proc/${pid}/stat`;
  return existsSync(path) && !readFileSync(path, "utf8").includes(") Z ");
};

async function gone(pid: number): Promise<boolean> {
  for (let tries = 0; tries < 100 && alive(pid); tries += 1) await sleep(20);
  return !alive(pid);
}

describe("a program", () => {
  it("gets its arguments as they are, a fixed environment, a folder and its input", async () => {
    const odd = "a b; $(touch x) `id` \"'\n*";
    expect(await runProgram(["printf", "%s", odd], { signal })).toEqual({
      exitCode: 0,
      exitSignal: null,
      stdout: odd,
      stderr: "",
      truncated: false,
    });
    const environment = (await succeed(["env"], { signal, env: { GIT_X: "1" } })).trim().split("\n").sort();
    expect(environment).toEqual(
      Object.entries({ ...fixedEnvironment, GIT_X: "1" })
        .map(([name, value]) => `${name}=${value}`)
        .sort(),
    );
    expect(await succeed(["pwd"], { signal, cwd: folder })).toBe(`${folder}\n`);
    expect(await succeed(["cat"], { signal, input: "grün" })).toBe("grün");
    expect(await succeed(["cat"], { signal })).toBe("");
  });

  it("opens its output by name, and a limit cuts no character of it", async () => {
    const named = await runProgram(script("echo out > /dev/stdout; echo err > /dev/stderr"), { signal });
    expect(named).toMatchObject({ exitCode: 0, stdout: "out\n", stderr: "err\n" });
    const cut = await runProgram(["printf", "grün磁"], { signal, stdoutMaxBytes: 7 });
    expect(cut).toMatchObject({ stdout: "grün", truncated: true });
    expect(await runProgram(["printf", "\\377"], { signal })).toMatchObject({ stdout: "\ufffd", truncated: false });
  });

  it("that fails says how, and what it last said", async () => {
    await expect(succeed(script("echo one; echo two >&2; exit 3"), { signal, act: "try" })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringMatching(/^try \/bin\/sh .*exit status 3: two/),
    });
    await expect(succeed(script("kill -9 $$"), { signal })).rejects.toThrow("ended by SIGKILL");
    expect(await runProgram(["false"], { signal })).toMatchObject({ exitCode: 1 });
  });

  it("that does not exist is said to be missing", async () => {
    await expect(runProgram(["no-such-program-anywhere"], { signal })).rejects.toMatchObject({
      code: "FAILED_PRECONDITION",
      message: expect.stringContaining("no such program"),
    });
  });

  it("that floods is read to its end, and what is too much is dropped", async () => {
    const ended = await runProgram(["head", "-c", "5000000", "/dev/zero"], { signal, stdoutMaxBytes: 1000 });
    expect(ended).toMatchObject({ exitCode: 0, truncated: true });
    expect(ended.stdout).toHaveLength(1000);
    const errors = await runProgram(script("head -c 300 /dev/zero >&2"), { signal, stderrMaxBytes: 10 });
    expect(errors).toMatchObject({ truncated: true, stdout: "" });
    expect(await runProgram(["printf", "exact"], { signal, stdoutMaxBytes: 5 })).toMatchObject({ truncated: false });
  });

  it("is ended with all it started when its time is over", async () => {
    const slow = runProgram(script("sleep 60 & echo $! > $1; wait", `${folder}/pid`), { signal, timeoutMs: 300 });
    await expect(slow).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    expect(await gone(Number(readFileSync(`${folder}/pid`, "utf8")))).toBe(true);
  });

  it("is killed when the call is aborted, also when it will not listen", async () => {
    const stop = new AbortController();
    const stubborn = runProgram(script("trap '' TERM; echo $$ > $1; while :; do sleep 1; done", `${folder}/pid`), {
      signal: stop.signal,
    });
    const rejected = expect(stubborn).rejects.toThrow("enough");
    while (!existsSync(`${folder}/pid`) || readFileSync(`${folder}/pid`, "utf8") === "") await sleep(10);
    stop.abort(new Error("enough"));
    await rejected;
    expect(await gone(Number(readFileSync(`${folder}/pid`, "utf8")))).toBe(true);
    await expect(runProgram(["touch", `${folder}/never`], { signal: stop.signal })).rejects.toThrow("enough");
    expect(existsSync(`${folder}/never`)).toBe(false);
  });

  it("leaves nothing running in its group, and does not wait for what holds its pipes", async () => {
    const ended = await runProgram(script("sleep 60 & echo $!; setsid sleep 2 &"), { signal });
    expect(await gone(Number(ended.stdout))).toBe(true);
  });
});
