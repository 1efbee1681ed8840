import { mkdirSync } from "node:fs";
import { basename } from "node:path";
import { replaceFile } from "#lib/data/files";
import { AiosError, messageOf } from "#lib/errors";
import { formatManifest, type ModelEntry, mergeManifests, modelEntry, readManifest } from "#lib/model-manifest";
import { fileIdentity } from "./file-identity.ts";
import { type ModelFile, modelFiles, modelName } from "./model-files.ts";

/** Where models and their manifests are. */
export interface Places {
  /** The machine's own: files that were pulled or put there, and its manifest. */
  readonly folder: string;
  /** Folders of files that the image carries. */
  readonly imageFolders: readonly string[];
  /** The image's manifest. */
  readonly imageManifest: string;
}

/** A model that this machine knows: by its manifests, or because its file lies in a models' folder. */
export interface KnownModel {
  readonly entry: ModelEntry;
  readonly origin: "image" | "machine" | "file";
  /** Its file, or undefined when there is none. */
  readonly path: string | undefined;
}

export interface Catalogue {
  /** Where model files are looked for, in order. */
  readonly folders: readonly string[];
  all(): KnownModel[];
  /** The model of this name, file name, or file name without its ending. */
  find(name: string): KnownModel | undefined;
  /** Where a pull puts `entry`'s file, and where it grows. */
  target(entry: ModelEntry): { path: string; partial: string };
  /** Adds to the machine's manifest, or replaces there. */
  add(entry: ModelEntry): KnownModel;
  /** Adds until the runtime ends, without writing it down. */
  lend(entry: ModelEntry): void;
  /** Takes out of the machine's manifest; nothing happens when it is not in there. */
  drop(name: string): void;
  /** Files in the folders that are no models, with the reason. */
  leftOut(): string[];
  /** The fault of a manifest, or undefined. Its entries are then those of before, or none. */
  problem(): string | undefined;
  /** Changes when a file of this name appears, goes or changes in any place where it may be. */
  fingerprint(name: string): string;
}

const comment =
  'Models of this machine, written by "aiosctl models add". Merged by name over /usr/share/aios/models.toml.';

export function openCatalogue(places: Places): Catalogue {
  const lent = new Map<string, ModelEntry>();
  const image = watched(places.imageManifest);
  const machine = watched(`${places.folder}/models.toml`);
  const folders = [places.folder, ...places.imageFolders];

  const locate = ({ file, path }: ModelEntry): string | undefined =>
    pathsOf({ file, path }, folders).find((candidate) => fileIdentity(candidate) !== "");

  const all = (): KnownModel[] => {
    const own = machine.entries();
    const entries = mergeManifests(mergeManifests(image.entries(), own), [...lent.values()]);
    const listed = entries.map((entry): KnownModel => {
      const origin = own.some(({ name }) => name === entry.name) ? "machine" : "image";
      return { entry, origin, path: locate(entry) };
    });
    const named = new Set(entries.map(({ file }) => file));
    const files = folders.flatMap((folder) => modelFiles(folder).models).filter(({ file }) => !named.has(file));
    const found = [...new Map(files.map((one) => [one.file, one])).values()].map((one): KnownModel => {
      const entry = entryOf(one);
      return { entry, origin: "file", path: locate(entry) };
    });
    return [...listed, ...found];
  };

  const find = (name: string) => {
    const known = all();
    return (
      known.find(({ entry }) => entry.name === name) ??
      known.find(({ entry }) => entry.file === name || modelName(entry.file) === name) ??
      known.find(({ entry }) => [basename(entry.file), modelName(basename(entry.file))].includes(name)) ??
      // A split file by the name that it had before.
      known.find(({ entry }) => entry.name === modelName(name))
    );
  };

  const write = (entries: readonly ModelEntry[]) => {
    mkdirSync(places.folder, { recursive: true });
    replaceFile(`${places.folder}/models.toml`, formatManifest(entries, comment));
  };

  return {
    folders,
    all,
    find,
    target: ({ file }) => ({ path: `${places.folder}/${file}`, partial: `${places.folder}/.partial/${file}` }),
    add(entry) {
      machine.requireSound();
      write([...machine.entries().filter(({ name }) => name !== entry.name), entry]);
      const added = find(entry.name);
      if (added === undefined)
        throw new Error(`the manifest does not hold ${entry.name}, which was just written to it`);
      return added;
    },
    lend: (entry) => void lent.set(entry.name, entry),
    drop(name) {
      lent.delete(name);
      machine.requireSound();
      const entries = machine.entries();
      const left = entries.filter((entry) => entry.name !== name);
      if (left.length < entries.length) write(left);
    },
    leftOut: () => folders.flatMap((folder) => modelFiles(folder).leftOut),
    problem: () => {
      all();
      return machine.problem() ?? image.problem();
    },
    fingerprint(name) {
      const known = find(name);
      const paths = known === undefined ? folders.map((folder) => `${folder}/${name}`) : pathsOf(known.entry, folders);
      return paths.map(fileIdentity).join(" ");
    },
  };
}

function pathsOf({ file, path }: Pick<ModelEntry, "file" | "path">, folders: readonly string[]): string[] {
  return [...(path === "" ? [] : [path]), ...folders.map((folder) => `${folder}/${file}`)];
}

/** A manifest that is read again when its file changed. One that cannot be read keeps what it said before. */
function watched(path: string) {
  let seen: string | undefined;
  let entries: ModelEntry[] = [];
  let problem: string | undefined;
  const refresh = () => {
    const identity = fileIdentity(path);
    if (identity === seen) return;
    seen = identity;
    try {
      entries = readManifest(path);
      problem = undefined;
    } catch (error) {
      problem = messageOf(error);
    }
  };
  return {
    entries() {
      refresh();
      return entries;
    },
    problem: () => problem,
    requireSound() {
      refresh();
      if (problem !== undefined) throw new AiosError("FAILED_PRECONDITION", problem);
    },
  };
}

/**
 * The entry of a file that no manifest names. It may lie in a folder of the models' folder, as a manifest's does not.
 */
function entryOf({ name, file }: ModelFile): ModelEntry {
  return { ...modelEntry({ name, file: `${name}.gguf` }), file };
}
