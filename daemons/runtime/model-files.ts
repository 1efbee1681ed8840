import { readdirSync, statSync } from "node:fs";
import { basename, dirname, join } from "node:path";
import { beginning } from "#lib/text";

/** Folders in folders that are looked into. */
const depthMax = 3;
const nameLengthMax = 128;

/** A split file's part: "x-00001-of-00003.gguf". */
const partPattern = /^(.*)-(\d{5})-of-(\d{5})(\.gguf)$/i;

/** Other files that hold models, which people put here. */
const foreign = /\.(safetensors|ggml|pth|onnx|part|crdownload)$/i;

/** A model's file in a folder: its path from there, and the name it goes by when no manifest gives one. */
export interface ModelFile {
  readonly file: string;
  readonly name: string;
}

export interface FolderContents {
  readonly models: readonly ModelFile[];
  /** Files that are none, with the reason. */
  readonly leftOut: readonly string[];
}

/** The models in a folder and those in it, whatever people called their files; a split file is one. */
export function modelFiles(folder: string): FolderContents {
  const leftOut: string[] = [];
  const files = filesIn(folder, "", 0, leftOut);
  const models: ModelFile[] = [];
  const names = new Set<string>();
  for (const file of files.toSorted()) {
    const part = partPattern.exec(basename(file));
    if (part !== null && Number(part[2]) !== 1) {
      if (!files.includes(partOf(file, 1))) leftOut.push(`${file}: part 1 of ${Number(part[3])} is missing`);
      continue;
    }
    const missing = partsOf(file).filter((one) => !files.includes(one));
    const [first] = missing;
    if (first !== undefined) {
      leftOut.push(
        `${file}: ${missing.length} of its ${Number(part?.[3])} parts missing, the first is ${basename(first)}`,
      );
      continue;
    }
    const name = nameFor(part === null ? modelName(file) : join(dirname(file), part[1] ?? ""), names);
    if (name === "") leftOut.push(`${file}: nothing in its name can be a model's name; give it letters or digits`);
    else models.push({ file, name });
  }
  return { models, leftOut };
}

function filesIn(root: string, folder: string, depth: number, leftOut: string[]): string[] {
  return entriesOf(join(root, folder)).flatMap((name) => {
    const file = join(folder, name);
    if (name.startsWith(".")) return [];
    const stat = statSync(join(root, file), { throwIfNoEntry: false });
    if (stat?.isDirectory()) {
      if (depth < depthMax) return filesIn(root, file, depth + 1, leftOut);
      leftOut.push(`${file}: folders are looked into ${depthMax} deep; move it up`);
      return [];
    }
    if (foreign.test(name)) leftOut.push(`${file}: not a GGUF file; convert it, or let its download end`);
    if (!/\.gguf$/i.test(name)) return [];
    if (stat?.isFile()) return [file];
    leftOut.push(`${file}: ${stat === undefined ? "it leads nowhere" : "it is no file"}`);
    return [];
  });
}

function entriesOf(folder: string): string[] {
  try {
    return readdirSync(folder);
  } catch {
    return [];
  }
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
  return partsOf(path).reduce((sum, part) => sum + (statSync(part, { throwIfNoEntry: false })?.size ?? 0), 0);
}

/** A model's name when no manifest gives one: its file's name without the ending. */
export function modelName(file: string): string {
  return file.replace(/\.gguf$/i, "");
}

/** A name that no other has: the file's own where it can be, with what a name cannot hold as dashes. */
function nameFor(file: string, taken: Set<string>): string {
  const plain = (text: string) => text.replace(/[^A-Za-z0-9._-]+/g, "-").replace(/^[^A-Za-z0-9]+|-+$/g, "");
  const short = beginning(plain(basename(file)), nameLengthMax);
  const choices = [
    short,
    beginning(plain(file), nameLengthMax),
    ...[2, 3, 4, 5].map((n) => `${beginning(short, 120)}-${n}`),
  ];
  const name = choices.find((one) => one !== "" && !taken.has(one)) ?? "";
  taken.add(name);
  return short === "" ? "" : name;
}
