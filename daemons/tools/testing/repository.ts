import { execFileSync } from "node:child_process";
import { mkdirSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect } from "vitest";
import { fixedEnvironment } from "../catalogue/shared/program.ts";
import { type Machine, startMachine } from "./harness.ts";

/** For tests of git's tools: in each a machine, a folder to work in, and the repository there that calls are about. */
export let machine: Machine;
export let work: string;
export let repo: string;

/** Has each test of a file begin with them. */
export function eachWithRepository(): void {
  beforeEach(async () => {
    machine = await startMachine();
    work = `${machine.folder}/work`;
    repo = `${work}/repo`;
    mkdirSync(work);
  });
  afterEach(() => machine.close());
}

export const call = (tool: string, input: object = {}) => machine.operator.call(tool, { path: repo, ...input });
export const done = async (tool: string, input: object = {}) => {
  const answer = await call(tool, input);
  expect({ tool, error: answer.error }).toEqual({ tool, error: "" });
  return answer;
};
export const back = ({ executionId }: { executionId: string }) =>
  machine.operator.raw.rollback({ executionId, reason: "r" });
export const ok = { success: true, error: "" };
export const write = (name: string, text: string) => writeFileSync(`${repo}/${name}`, text);

/** Writes a file, adds and commits it. */
export async function committed(name: string, text: string) {
  write(name, text);
  await done("git.add");
  return done("git.commit", { message: `write ${name}` });
}

/** Runs git as a person does, in a shell. */
export function shell(script: string): string {
  const settings = {
    "protocol.file.allow": "always",
    "user.name": "t",
    "user.email": "t@t",
    "init.defaultBranch": "main",
  };
  const env: NodeJS.ProcessEnv = { PATH: fixedEnvironment.PATH, HOME: work, GIT_CONFIG_COUNT: "4" };
  Object.entries(settings).forEach(([key, value], at) => {
    env[`GIT_CONFIG_KEY_${at}`] = key;
    env[`GIT_CONFIG_VALUE_${at}`] = value;
  });
  return execFileSync("sh", ["-ec", script], { cwd: work, env, stdio: ["ignore", "pipe", "ignore"] }).toString();
}

/** A bare repository beside, as a remote. */
export function bareRemote(): string {
  const remote = `${work}/remote.git`;
  execFileSync("git", ["init", "--quiet", "--bare", "--initial-branch=main", remote]);
  return remote;
}
