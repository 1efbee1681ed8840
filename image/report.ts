import {
  existsSync,
  lstatSync,
  mkdirSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { parseLock } from "./archive/lock.ts";
import { hashFile } from "./files.ts";
import type { Profile } from "./profile.ts";

export interface Artefact {
  /** File name in out/. */
  readonly name: string;
  readonly bytes: number;
  readonly sha256: string;
}

interface StepTime {
  readonly ms: number;
  readonly cached: boolean;
}

/** `out/build.json`. */
export interface BuildReport {
  readonly profile: Profile;
  readonly version: string;
  readonly commit: string;
  readonly artefacts: readonly Artefact[];
  /** Bytes per bundle, by daemon. */
  readonly bundles: Readonly<Record<string, number>>;
  /** "name version" of every Debian package in the root. */
  readonly packages: readonly string[];
  readonly kernelSource: string;
  /** How the packages differ from the locks; empty unless built with --allow-drift. */
  readonly drift: readonly string[];
  /** Per step: how long it took when it was built, and whether this build took it from the cache. */
  readonly steps: Readonly<Record<string, StepTime>>;
}

interface Outputs {
  readonly profile: Profile;
  readonly vmlinuz: string | undefined;
  readonly root: string | undefined;
  readonly erofs: string | undefined;
  readonly disk: string | undefined;
}

const names = { vmlinuz: "vmlinuz", root: "root", erofs: "root.erofs", disk: "disk.img" } as const;
type Name = keyof typeof names;

/** Links the artefacts into `out`; a link of an artefact that was not built this time is left if it still leads somewhere. */
export function linkOutputs(out: string, image: Outputs): void {
  mkdirSync(out, { recursive: true });
  for (const name of Object.keys(names) as Name[]) {
    const link = join(out, names[name]);
    const target = image[name];
    if (target !== undefined) {
      rmSync(`${link}.new`, { force: true });
      symlinkSync(target, `${link}.new`);
      renameSync(`${link}.new`, link);
    } else if (lstatSync(link, { throwIfNoEntry: false }) !== undefined && !existsSync(link)) rmSync(link);
  }
}

interface ReportInputs extends Outputs {
  /** Name of the step that installed the packages. */
  readonly packagesStep: string;
  readonly version: string;
  readonly commit: string;
  readonly steps: Readonly<Record<string, StepTime>>;
  /** Path of a file in a step's output; undefined when the step is not part of this build. */
  find(step: string, file: string): string | undefined;
}

export function writeReport(out: string, inputs: ReportInputs): BuildReport {
  const { profile, version, commit, steps, find } = inputs;
  const json = <T>(step: string, file: string, otherwise: T): T => {
    const path = find(step, file);
    return path === undefined ? otherwise : (JSON.parse(readFileSync(path, "utf8")) as T);
  };
  const lock = (step: string, file: string): string[] => {
    const path = find(step, file);
    const packages = path === undefined ? [] : parseLock(path, readFileSync(path, "utf8"));
    return packages.map(({ name, version }) => `${name} ${version}`);
  };
  const report: BuildReport = {
    profile,
    version,
    commit,
    artefacts: (["vmlinuz", "erofs", "disk"] as const).flatMap((name) => artefact(name, inputs[name])),
    bundles: json("bundles", "sizes.json", {}),
    packages: lock(inputs.packagesStep, "packages.lock"),
    kernelSource: lock("kernel-source", "source.lock")[0] ?? "",
    drift: [
      ...json<string[]>(inputs.packagesStep, "drift.json", []),
      ...json<string[]>("kernel-source", "drift.json", []),
    ],
    steps,
  };
  writeFileSync(join(out, "build.json"), `${JSON.stringify(report, null, 1)}\n`);
  return report;
}

function artefact(name: Name, path: string | undefined): Artefact[] {
  if (path === undefined) return [];
  return [{ name: names[name], bytes: statSync(path).size, sha256: sha256Of(path) }];
}

/** Hash of a file, remembered beside it: artefacts in the cache never change. */
function sha256Of(path: string): string {
  const remembered = `${path}.sha256`;
  if (existsSync(remembered)) return readFileSync(remembered, "utf8").trim();
  const hex = hashFile(path);
  writeFileSync(remembered, `${hex}\n`);
  return hex;
}
