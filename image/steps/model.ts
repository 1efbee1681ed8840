import { copyFileSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { systemClock } from "#lib/clock";
import { download } from "#lib/download";
import { AiosError } from "#lib/errors";
import { formatManifest, type ModelEntry, mergeManifests, readManifest } from "#lib/model-manifest";
import { hashFile } from "../files.ts";
import { bringUpFile, writeBringUpModel } from "../model/bring-up.ts";
import type { Step, StepWork } from "../step.ts";

const bringUpModel = bringUpFile;

const manifest = "rootfs/usr/share/aios/models.toml";

/** A model that the builder adds, with the hash that its file has or must have. */
export type BuilderModel = ModelEntry;

/**
 * The models that a builder's manifest adds. An entry has a `path` (its file is hashed here, so that the step's key tells
 * whether it changed) or a `url` with its hash. Throws INVALID_ARGUMENT for one that has neither.
 */
export function readBuilderModels(path: string): BuilderModel[] {
  statSync(path);
  return readManifest(path).map((entry) => {
    if (entry.path !== "") return { ...entry, sha256: pathHash(entry), sizeBytes: statSync(entry.path).size };
    if (entry.url !== "" && entry.sha256 !== "") return entry;
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: `${path}: ${entry.name}`,
      reason: "it has neither a path nor an address with its SHA-256",
      next: "give it one, or leave it out",
    });
  });
}

function pathHash({ name, path, sha256 }: ModelEntry): string {
  const found = hashFile(path);
  if (sha256 === "" || sha256 === found) return found;
  throw new AiosError("DATA_LOSS", {
    act: "read model",
    object: `${name}: ${path}`,
    reason: `its SHA-256 is ${found}, the manifest says ${sha256}`,
    next: "take the right file, or correct the hash",
  });
}

/**
 * The models of the image (`models/`) and their manifest (`models.toml`): the bring-up model (`aios-bringup.gguf`: random
 * weights, there to prove that loading and generation work), and those that the builder adds.
 */
export function modelStep(models: readonly BuilderModel[]): Step {
  return {
    name: "model",
    modules: [import.meta.filename],
    files: [manifest],
    params: { models: models.map((entry) => ({ ...entry })) },
    needs: [],
    run: async (work) => {
      const folder = join(work.out, "models");
      mkdirSync(folder, { recursive: true });
      writeBringUpModel(join(folder, bringUpModel));
      for (const entry of models) await fetchModel(entry, join(folder, entry.file), work);
      // A path is one of this host's: on the machine the file is in the models' folder.
      const carried = models.map((entry) => ({ ...entry, path: "" }));
      const base = join(work.repository, manifest);
      const text = carried.length === 0 ? readFileSync(base, "utf8") : merged(base, carried);
      writeFileSync(join(work.out, "models.toml"), text);
    },
  };
}

function merged(base: string, carried: readonly ModelEntry[]): string {
  return formatManifest(mergeManifests(readManifest(base), carried), "The models that this image knows.");
}

async function fetchModel(entry: BuilderModel, path: string, { out, log }: StepWork): Promise<void> {
  if (entry.path !== "") return copyFileSync(entry.path, path);
  const { url, sha256, sizeBytes } = entry;
  const request = { url, path, sha256, sizeBytes, partial: join(out, `${entry.file}.part`), reserveBytes: 0 };
  for await (const progress of download({ ...request, clock: systemClock, signal: new AbortController().signal })) {
    const [done, total] = [progress.doneBytes, progress.totalBytes].map((bytes) => (bytes / 1e6).toFixed(1));
    log.line(`${done} of ${total} MB: ${entry.name} ${progress.state}`);
  }
}
