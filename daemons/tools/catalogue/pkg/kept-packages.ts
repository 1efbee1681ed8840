import { mkdtemp, open, readdir, rm, writeFile } from "node:fs/promises";
import { AiosError } from "#lib/errors";
import { type Backups, backupSizeMaxBytes } from "../../state/index.ts";
import type { ProgramOptions } from "../shared/index.ts";
import type { Apt } from "./apt.ts";

/** A package in a version, as it is brought back. */
export interface KeptPackage {
  readonly name: string;
  readonly version: string;
  /** The backup that holds its file; undefined when the archive did not have it any more: then it may still have it later. */
  readonly backup?: string;
}

/** All files that one act keeps, bytes. Packages beyond it are asked of the archive again when they are brought back. */
const keptMaxBytes = 256 * 1024 * 1024;

/**
 * Keeps the files of packages in the versions that an act is about to replace or remove: bringing them back needs no
 * archive then, which drops a version when a newer one comes.
 */
export async function keepPackages(
  apt: Apt,
  packages: readonly { readonly name: string; readonly version: string }[],
  backups: Backups,
  options: ProgramOptions,
): Promise<KeptPackage[]> {
  return withFolder(async (folder) => {
    const kept: KeptPackage[] = [];
    let bytes = 0;
    for (const { name, version } of packages) {
      const file = bytes < keptMaxBytes ? await fetch(apt, `${name}=${version}`, folder, options) : undefined;
      const size = file === undefined ? 0 : await keep(file, `${name}.deb`, backups);
      bytes += size;
      kept.push(size === 0 ? { name, version } : { name, version, backup: `${name}.deb` });
      if (file !== undefined) await rm(file);
    }
    return kept;
  });
}

/** Downloads one package; undefined when the archive does not have this version, or cannot be reached. */
async function fetch(apt: Apt, wanted: string, folder: string, options: ProgramOptions): Promise<string | undefined> {
  try {
    await apt.get("download", [wanted], { ...options, cwd: folder });
  } catch (error) {
    options.signal.throwIfAborted();
    if (error instanceof AiosError) return undefined;
    throw error;
  }
  const file = (await readdir(folder)).find((name) => name.endsWith(".deb"));
  return file === undefined ? undefined : `${folder}/${file}`;
}

/** The size of what was kept, bytes; 0 when the file is too large for a backup. */
async function keep(path: string, name: string, backups: Backups): Promise<number> {
  await using file = await open(path);
  const { size } = await file.stat();
  if (size > backupSizeMaxBytes) return 0;
  await backups.save(name, file, path);
  return size;
}

/** Installs packages in the versions they are kept in, whatever is installed now. Throws with the names of those that cannot be had. */
export async function bringBack(
  apt: Apt,
  kept: readonly KeptPackage[],
  backups: Backups,
  options: ProgramOptions,
): Promise<void> {
  if (kept.length === 0) return;
  await withFolder(async (folder) => {
    const words: string[] = [];
    for (const { name, version, backup } of kept) {
      words.push(backup === undefined ? `${name}=${version}` : await unpack(backups, backup, `${folder}/${name}.deb`));
    }
    try {
      await apt.get(
        "install",
        ["--allow-downgrades", "--allow-change-held-packages", "--reinstall", ...words],
        options,
      );
    } catch (error) {
      if (!(error instanceof AiosError)) throw error;
      const names = kept.map(({ name, version }) => `${name} ${version}`).join(", ");
      throw new AiosError("FAILED_PRECONDITION", `bring back ${names}: ${error.message}`, { cause: error });
    }
  });
}

async function unpack(backups: Backups, backup: string, path: string): Promise<string> {
  const content = await backups.load(backup);
  if (content instanceof Uint8Array) await writeFile(path, content);
  else {
    await using file = content;
    await writeFile(path, file.createReadStream({ autoClose: false }));
  }
  return path;
}

async function withFolder<T>(work: (folder: string) => Promise<T>): Promise<T> {
  const folder = await mkdtemp("/var/tmp/aios-packages-");
  try {
    return await work(folder);
  } finally {
    await rm(folder, { recursive: true, force: true });
  }
}
