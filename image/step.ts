import { createHash } from "node:crypto";
import { existsSync, readdirSync, readFileSync, renameSync, statSync, utimesSync, writeFileSync } from "node:fs";
import { mkdir } from "node:fs/promises";
import { join } from "node:path";
import { type Clock, systemClock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { closureOf } from "./closure.ts";
import { removeTree } from "./files.ts";
import { type Follower, openStepLog, type StepLog } from "./log.ts";
import type { Count } from "./progress/index.ts";

type Json = string | number | boolean | null | readonly Json[] | { readonly [key: string]: Json };

/** What a step is given when it runs. */
export interface StepWork {
  /** The repository's root. */
  readonly repository: string;
  /** An empty folder: what the step leaves in it is its output. It is renamed into the cache when the step succeeds. */
  readonly out: string;
  readonly log: StepLog;
  /** The output folder of a step named in `needs`. */
  need(name: string): string;
}

/** One step of a build. Its output depends on nothing but what is declared here. */
export interface Step {
  readonly name: string;
  /** Its code: its own module (`import.meta.filename`), and the programs of the repository that it runs or packs. What they import counts too. */
  readonly modules: readonly string[];
  /** What it reads beside: paths in the repository whose content counts, files, or folders with all below but tests. */
  readonly files: readonly string[];
  readonly params: Readonly<Record<string, Json>>;
  /** Names of the steps whose output it reads. */
  readonly needs: readonly string[];
  readonly run: (work: StepWork) => Promise<void>;
}

/** A step with everything that its key is made of: "file:image/plan.ts", "param:release", "need:kernel" → hash or value. */
export interface KeyedStep {
  readonly step: Step;
  readonly key: string;
  readonly inputs: Readonly<Record<string, string>>;
}

/** Who follows a step while it runs. */
export interface StepFollower extends Follower {
  /** What its log has told of so far. */
  readonly count: Count | undefined;
}

/** What is written beside a step's output. */
interface StepRecord {
  readonly inputs: Readonly<Record<string, string>>;
  readonly durationMs: number;
  /** What it counted last, which its next run can be held against. */
  readonly count?: Count | undefined;
}

const recordName = "step.json";

/** Outputs of earlier inputs that are kept per step, so that going back to a branch is free. */
const keptOutputs = 2;

/** An output used this recently is kept beyond that: a machine may be running from it (the native lane runs the folder itself). */
const inUseMs = 30 * 60_000;

/** No more than this are kept whatever their age: a root with its image is half a gigabyte. */
const keptOutputsMax = 8;

/** Hashes each step's inputs, in plan order: a step's needs come before it. Throws when a declared file is missing. */
export function keySteps(plan: readonly Step[], repository: string): KeyedStep[] {
  const keys = new Map<string, string>();
  return plan.map((step) => {
    const inputs: Record<string, string> = {};
    for (const path of [...closureOf(step.modules, repository), ...step.files])
      Object.assign(inputs, hashTree(repository, path));
    for (const [name, value] of Object.entries(step.params)) inputs[`param:${name}`] = JSON.stringify(value);
    for (const name of step.needs) {
      const key = keys.get(name);
      if (key === undefined) throw new Error(`step ${step.name} needs ${name}, which is not before it in the plan`);
      inputs[`need:${name}`] = key;
    }
    const key = hash(JSON.stringify([step.name, Object.entries(inputs).sort(([a], [b]) => (a < b ? -1 : 1))]));
    keys.set(step.name, key);
    return { step, key, inputs };
  });
}

function hash(data: string | Uint8Array): string {
  return createHash("sha256").update(data).digest("hex").slice(0, 24);
}

function hashTree(repository: string, path: string): Record<string, string> {
  const full = join(repository, path);
  const stat = statSync(full, { throwIfNoEntry: false });
  if (stat === undefined)
    throw new AiosError("NOT_FOUND", { act: "hash", object: path, reason: "a step declares it and it does not exist" });
  if (!stat.isDirectory())
    return path.endsWith(".test.ts")
      ? {}
      : { [`file:${path}`]: `${stat.mode & 0o111 ? "x" : "-"}${hash(readFileSync(full))}` };
  return Object.assign({}, ...readdirSync(full).map((name) => hashTree(repository, join(path, name))));
}

/** The cache of step outputs: `<folder>/<step>-<key>/`. */
export class StepCache {
  readonly folder: string;
  readonly logs: string;
  private readonly clock: Clock;

  constructor(cache: string, clock: Clock = systemClock) {
    this.folder = join(cache, "steps");
    this.logs = join(cache, "logs");
    this.clock = clock;
  }

  output({ step, key }: Pick<KeyedStep, "step" | "key">): string {
    return join(this.folder, `${step.name}-${key}`);
  }

  has(keyed: KeyedStep): boolean {
    return existsSync(join(this.output(keyed), recordName));
  }

  /** How long the step took when it was built. Its output must be in the cache. */
  durationMs(keyed: KeyedStep): number {
    return readRecord(this.output(keyed)).durationMs;
  }

  /** How long a step took when it was built last, whatever its inputs were then, and what it counted. Undefined when it never was. */
  remembered(name: string): Pick<StepRecord, "durationMs" | "count"> | undefined {
    const latest = this.outputsOf(name)[0];
    return latest === undefined ? undefined : readRecord(latest);
  }

  /** Why a step has to run, in words: which inputs differ from its latest output. Undefined when it does not. */
  reason(keyed: KeyedStep): string | undefined {
    if (this.has(keyed)) return undefined;
    const latest = this.outputsOf(keyed.step.name)[0];
    return latest === undefined ? "never built" : difference(readRecord(latest).inputs, keyed.inputs);
  }

  /**
   * Runs a step into a temporary folder and renames that into the cache: a step that fails leaves its log and nothing else.
   * Throws with the log's tail, its path and what to do.
   */
  async build(
    keyed: KeyedStep,
    repository: string,
    need: (name: string) => string,
    follower?: StepFollower,
  ): Promise<void> {
    const out = this.output(keyed);
    const temporary = `${out}.new`;
    removeTree(temporary);
    await mkdir(temporary, { recursive: true });
    const log = openStepLog(this.logs, keyed.step.name, follower);
    const started = performance.now();
    try {
      await keyed.step.run({ repository, out: temporary, log, need });
    } catch (error) {
      log.close();
      removeTree(temporary);
      throw failure(keyed.step.name, error, log);
    }
    log.close();
    const durationMs = Math.round(performance.now() - started);
    const record: StepRecord = { inputs: keyed.inputs, durationMs, count: follower?.count };
    writeFileSync(join(temporary, recordName), `${JSON.stringify(record, null, 1)}\n`);
    removeTree(out);
    renameSync(temporary, out);
  }

  /** Marks an output as used now: the least recently used ones are pruned first. */
  touch(keyed: KeyedStep): void {
    const seconds = this.clock.now() / 1000;
    utimesSync(join(this.output(keyed), recordName), seconds, seconds);
  }

  /** Removes what interrupted builds left. Only for who holds the cache's lock. */
  sweep(): void {
    if (!existsSync(this.folder)) return;
    for (const entry of readdirSync(this.folder)) if (entry.endsWith(".new")) removeTree(join(this.folder, entry));
  }

  /** Removes a step's outputs but for the latest used ones. */
  prune(name: string): void {
    const old = this.outputsOf(name).slice(keptOutputs);
    const idle = (folder: string) => this.clock.now() - usedMs(folder) > inUseMs;
    old.filter((folder, index) => index >= keptOutputsMax - keptOutputs || idle(folder)).forEach(removeTree);
  }

  /** Output folders of a step, latest used first. */
  private outputsOf(name: string): string[] {
    if (!existsSync(this.folder)) return [];
    const own = new RegExp(`^${name}-[0-9a-f]{24}$`);
    return readdirSync(this.folder)
      .filter((entry) => own.test(entry))
      .map((entry) => join(this.folder, entry))
      .filter((folder) => usedMs(folder) > 0)
      .sort((a, b) => usedMs(b) - usedMs(a));
  }
}

/** When an output was used last; 0 when it is none. */
function usedMs(folder: string): number {
  return statSync(join(folder, recordName), { throwIfNoEntry: false })?.mtimeMs ?? 0;
}

function readRecord(folder: string): StepRecord {
  return JSON.parse(readFileSync(join(folder, recordName), "utf8")) as StepRecord;
}

/** Names up to three inputs that were added, removed or changed. */
function difference(before: Readonly<Record<string, string>>, after: Readonly<Record<string, string>>): string {
  const names = [...new Set([...Object.keys(before), ...Object.keys(after)])].sort();
  const changes = names.flatMap((name) => {
    if (before[name] === after[name]) return [];
    const [kind, ...rest] = name.split(":");
    const what = kind === "file" ? rest.join(":") : `${kind} ${rest.join(":")}`;
    return [`${what} ${before[name] === undefined ? "is new" : after[name] === undefined ? "is gone" : "changed"}`];
  });
  if (changes.length === 0) return "its output was pruned";
  return changes.length <= 3 ? changes.join(", ") : `${changes.slice(0, 3).join(", ")} and ${changes.length - 3} more`;
}

function failure(name: string, error: unknown, log: StepLog): AiosError {
  const tail = log.tail(20);
  const said = tail === "" ? "" : `\n${tail.replace(/^/gm, "    ")}`;
  const next = `the whole log is ${log.path}; nothing of the step was kept: correct the cause and run the same command again`;
  return new AiosError("ABORTED", `build ${name}: ${messageOf(error)}${said}\n${next}`, { cause: error });
}
