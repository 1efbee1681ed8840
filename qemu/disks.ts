import { spawnSync } from "node:child_process";
import {
  closeSync,
  copyFileSync,
  existsSync,
  mkdirSync,
  openSync,
  readFileSync,
  renameSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import { AiosError, errnoOf } from "#lib/errors";
import { isAlive } from "#lib/linux/alive";

/** Size of a data disk. Sparse: it takes what is written to it. */
export const dataDiskBytes = 4 * 1024 ** 3;

/** Debian's OVMF (package ovmf), 4 MiB flash, without secure boot. */
const firmwareCode = "/usr/share/OVMF/OVMF_CODE_4M.fd";
const firmwareVariables = "/usr/share/OVMF/OVMF_VARS_4M.fd";

/** A machine's data disk, made when it is not there: raw, sparse and blank. `bytes` is its size when made. */
export function prepareDataDisk(folder: string, bytes = dataDiskBytes): string {
  const path = join(folder, "data.raw");
  if (!existsSync(path)) {
    closeSync(openSync(path, "wx"));
    truncateSync(path, bytes);
  }
  return path;
}

/**
 * Makes an ext4 image of `bytes` at `path`: sparse, whole when it is there, with the folder `from` in it. Its times are those
 * of now, or of `epoch` (seconds). Throws FAILED_PRECONDITION without e2fsprogs.
 */
export function makeVolume(path: string, bytes: number, from?: string, epoch?: number): void {
  const fresh = `${path}.new`;
  closeSync(openSync(fresh, "w"));
  truncateSync(fresh, bytes);
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", ...(epoch !== undefined && { SOURCE_DATE_EPOCH: `${epoch}` }) };
  const words = ["-q", "-F", "-m", "0", ...(from === undefined ? [] : ["-d", from]), fresh];
  const { status, stderr, error } = spawnSync("mkfs.ext4", words, { encoding: "utf8", env });
  if (status !== 0)
    throw new AiosError("FAILED_PRECONDITION", {
      act: "make",
      object: path,
      reason: (stderr || error?.message || "").trim(),
      next: 'install e2fsprogs (run "sh ci/setup")',
    });
  renameSync(fresh, path);
}

/**
 * The firmware lane's own copy of the disk image, with the firmware's variables beside it. It holds the machine's data
 * as well, so it stays as long as the image is the same; a new image makes a new disk.
 */
export function prepareFirmwareDisk(folder: string, image: string): { disk: string; code: string; variables: string } {
  for (const path of [firmwareCode, firmwareVariables]) {
    if (!existsSync(path))
      throw new AiosError("FAILED_PRECONDITION", {
        act: "start",
        object: "the firmware lane",
        reason: `no ${path}`,
        next: 'run "sh ci/setup"',
      });
  }
  const disk = join(folder, "disk.raw");
  const variables = join(folder, "firmware-variables.fd");
  const madeFrom = join(folder, "disk.from");
  const { mtimeMs, size, ino } = statSync(image);
  const from = `${mtimeMs} ${size} ${ino}\n`;
  if (!existsSync(disk) || readIfAny(madeFrom) !== from) {
    rmSync(madeFrom, { force: true });
    copySparse(image, `${disk}.new`);
    renameSync(`${disk}.new`, disk);
    copyFileSync(firmwareVariables, variables);
    writeFileSync(madeFrom, from);
  }
  return { disk, code: firmwareCode, variables };
}

/** Copies a file without writing its holes. */
export function copySparse(from: string, to: string): void {
  const { status, stderr } = spawnSync("cp", ["--sparse=always", "--reflink=auto", "--", from, to], {
    encoding: "utf8",
  });
  if (status !== 0) throw new AiosError("UNAVAILABLE", `copy ${from} to ${to}: ${stderr.trim()}`);
}

/**
 * Takes a machine's folder for this process, so that two do not write to one data disk. The lock of a process that is
 * gone counts for nothing. Throws FAILED_PRECONDITION while another has it.
 */
export function lockFolder(folder: string): () => void {
  mkdirSync(folder, { recursive: true });
  const path = join(folder, "lock");
  for (let tries = 0; tries < 2; tries++) {
    try {
      writeFileSync(path, `${process.pid}\n`, { flag: "wx" });
      return () => rmSync(path, { force: true });
    } catch (error) {
      if (errnoOf(error) !== "EEXIST") throw error;
      const owner = Number(readIfAny(path));
      if (isAlive(owner)) {
        throw new AiosError("FAILED_PRECONDITION", {
          act: "use",
          object: folder,
          reason: `process ${owner} runs a machine from it`,
          next: "power that machine off first",
        });
      }
      rmSync(path, { force: true });
    }
  }
  throw new AiosError("ABORTED", `lock ${folder}: another process took it at the same time; try again`);
}

function readIfAny(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
