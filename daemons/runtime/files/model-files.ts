/**
 * Model files may be links to /home, /srv, /mnt and /media; the runtime reads nothing else of people's.
 */
import { accessSync, constants, readdirSync, type Stats, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { errnoOf } from "#lib/errors";
import { beginning } from "#lib/text";

/** Folders in folders that are looked into. */
const depthMax = 3;
const nameLengthMax = 128;

/** A split file's part: "x-00001-of-00003.gguf". llama.cpp finds the others by the first one's name, in these small letters. */
const partPattern = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/;
const anyPartPattern = new RegExp(partPattern, "i");

/** Other files that hold models, which people put here. */
const foreign = /\.(safetensors|ggml|pth|onnx|part|crdownload)$/i;

/** A model's file in a folder: its path from there, and the name it goes by when no manifest gives one. */
export interface ModelFile {
  readonly file: string;
  readonly name: string;
}

interface FolderContents {
  readonly models: readonly ModelFile[];
  /** Files that are none, with the reason. */
  readonly leftOut: readonly string[];
}

/** The models in a folder and those in it, whatever people called their files; a split file is one. */
export function modelFiles(folder: string): FolderContents {
  const leftOut: string[] = [];
  const files = new Set(filesIn({ root: folder, seen: new Set(), leftOut }, "", 0));
  const models: ModelFile[] = [];
  const names = new Set<string>();
  // A file keeps its name when another of that name comes further down.
  for (const file of [...files].toSorted((a, b) => depthOf(a) - depthOf(b) || (a < b ? -1 : 1))) {
    const part = partPattern.exec(basename(file));
    const problem = problemOf(file, files);
    if (problem !== undefined) leftOut.push(`${file}: ${problem}`);
    if (problem !== undefined || (part !== null && Number(part[2]) !== 1)) continue;
    const name = nameFor(part === null ? modelName(file) : join(dirname(file), part[1] ?? ""), names);
    if (name === "") leftOut.push(`${file}: nothing in its name can be a model's name; give it letters or digits`);
    else models.push({ file, name });
  }
  return { models, leftOut };
}

const depthOf = (file: string) => file.split("/").length;

/** Why a split file's part is of no use; undefined for one that is, and for a file that is whole. */
function problemOf(file: string, files: ReadonlySet<string>): string | undefined {
  const [, , number, count] = partPattern.exec(basename(file)) ?? [];
  if (number === undefined) {
    if (!anyPartPattern.test(basename(file))) return undefined;
    return 'the parts of a split file are found by small letters: let its name end as in "-00001-of-00002.gguf"';
  }
  if (Number(number) < 1 || Number(number) > Number(count))
    return `there is no part ${Number(number)} of ${Number(count)}`;
  if (Number(number) > 1) return files.has(partOf(file, 1)) ? undefined : `part 1 of ${Number(count)} is missing`;
  const missing = partsOf(file).filter((one) => !files.has(one));
  const [first] = missing;
  if (first === undefined) return undefined;
  return `${missing.length} of its ${Number(count)} parts missing, the first is ${basename(first)}`;
}

interface Looking {
  readonly root: string;
  /** Folders that were looked into, by device and inode: a link may lead back to one. */
  readonly seen: Set<string>;
  readonly leftOut: string[];
}

function filesIn(looking: Looking, folder: string, depth: number): string[] {
  const { root, seen, leftOut } = looking;
  return entriesOf(looking, folder).flatMap((name) => {
    const file = join(folder, name);
    if (name.startsWith(".")) return [];
    const found = lookAt(join(root, file));
    if (typeof found !== "string" && found.isDirectory()) {
      const folderId = `${found.dev}:${found.ino}`;
      if (seen.has(folderId)) leftOut.push(`${file}: it leads back to a folder that is looked into already`);
      else if (depth < depthMax) return filesIn({ ...looking, seen: seen.add(folderId) }, file, depth + 1);
      else leftOut.push(`${file}: folders are looked into ${depthMax} deep; move it up`);
      return [];
    }
    if (foreign.test(name)) leftOut.push(`${file}: not a GGUF file; convert it, or let its download end`);
    if (!/\.gguf$/i.test(name)) return [];
    const problem = typeof found === "string" ? found : readProblem(join(root, file), found);
    if (problem === undefined) return [file];
    leftOut.push(`${file}: ${problem}`);
    return [];
  });
}

function entriesOf({ root, leftOut, seen }: Looking, folder: string): string[] {
  try {
    if (folder === "") {
      const { dev, ino } = statSync(root);
      seen.add(`${dev}:${ino}`);
    }
    return readdirSync(join(root, folder));
  } catch (error) {
    if (folder !== "") leftOut.push(`${folder}: ${reasonOf(error)}`);
    return [];
  }
}

/** The file at a path, or why nothing can be said of it. */
function lookAt(path: string): Stats | string {
  try {
    return statSync(path);
  } catch (error) {
    return reasonOf(error);
  }
}

function readProblem(path: string, found: Stats): string | undefined {
  if (!found.isFile()) return "it is no file";
  try {
    accessSync(path, constants.R_OK);
    return undefined;
  } catch (error) {
    return reasonOf(error);
  }
}

function reasonOf(error: unknown): string {
  const code = errnoOf(error) ?? "";
  if (["ENOENT", "ENOTDIR", "ELOOP"].includes(code)) return "it leads nowhere";
  return code === "EACCES" ? "the runtime may not read it; chmod a+rX" : `it cannot be looked at (${code})`;
}

/** All parts of a split file, its own path among them; of another file itself. `path` may lead anywhere. */
export function partsOf(path: string): string[] {
  const count = Number(partPattern.exec(basename(path))?.[3] ?? 1);
  if (!partPattern.test(basename(path))) return [path];
  return Array.from({ length: count }, (_, at) => partOf(path, at + 1));
}

function partOf(path: string, number: number): string {
  const [, stem, , count, ending] = partPattern.exec(basename(path)) ?? [];
  return join(dirname(path), `${stem}-${String(number).padStart(5, "0")}-of-${count}${ending}`);
}

/** Bytes of a model's file, of all its parts together; 0 without one. */
export function modelSize(path: string): number {
  const sizes = partsOf(path).map((part) => {
    const found = lookAt(part);
    return typeof found === "string" ? 0 : found.size;
  });
  return sizes.reduce((sum, size) => sum + size, 0);
}

/** A model's name when no manifest gives one: its file's name without the ending. */
export function modelName(file: string): string {
  return file.replace(/\.gguf$/i, "");
}

/** A name that no other has: the file's own where it can be, with what a name cannot hold as dashes. */
function nameFor(file: string, taken: Set<string>): string {
  const clean = (text: string) => text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "");
  const short = beginning(clean(basename(file)), nameLengthMax);
  const choices = [
    short,
    beginning(clean(file), nameLengthMax),
    ...[2, 3, 4, 5].map((n) => `${beginning(short, 120)}-${n}`),
  ];
  const name = choices.find((one) => one !== "" && !taken.has(one)) ?? "";
  taken.add(name);
  return short === "" ? "" : name;
}
