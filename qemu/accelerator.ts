import { spawn } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { cpus, release, tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { replaceFile } from "#lib/data/files";

export type Accelerator = "kvm" | "tcg";

/** A working KVM boots the probe in a tenth of a second; a broken one spins for ever. */
const probeTimeoutMs = 5_000;

/** An answer is asked for again after this long: hosts are repaired, and a probe under heavy load can be wrong. */
const rememberMs = 7 * 24 * 3_600_000;

/** What the probe's guest writes to the exit port, and what QEMU makes of it: (value << 1) | 1. */
const exitValue = 0x10;
const exitStatus = (exitValue << 1) | 1;

/** QEMU's arguments for an accelerator. */
export function acceleratorArguments(accelerator: Accelerator): string[] {
  return ["-accel", accelerator === "kvm" ? "kvm" : "tcg,thread=multi", "-cpu", "max"];
}

/** Runs QEMU with these arguments and answers its exit status; undefined when it had to be ended at the deadline. */
export type RunQemu = (args: readonly string[], timeoutMs: number) => Promise<number | undefined>;

interface Probe {
  /** The answer is remembered here; its name tells what it holds for. */
  readonly cacheFile: string;
  readonly nowMs: number;
  readonly run: RunQemu;
}

/**
 * The accelerator that guests run under, found out by booting a tiny guest with a deadline: /dev/kvm may be there, open,
 * make a virtual machine, and yet hang every guest.
 */
export async function chooseAccelerator({ cacheFile, nowMs, run }: Probe): Promise<Accelerator> {
  const known = remembered(cacheFile, nowMs);
  if (known !== undefined) return known;
  const accelerator = (await bootsProbe("kvm", run)) ? "kvm" : "tcg";
  mkdirSync(dirname(cacheFile), { recursive: true });
  replaceFile(cacheFile, `${JSON.stringify({ accelerator, atMs: nowMs })}\n`);
  return accelerator;
}

/** Whether a guest of 9 bytes boots through the firmware and ends QEMU by itself. */
async function bootsProbe(accelerator: Accelerator, run: RunQemu): Promise<boolean> {
  const folder = mkdtempSync(join(tmpdir(), "aios-probe-"));
  try {
    const disk = join(folder, "disk.img");
    writeFileSync(disk, bootSector());
    const status = await run([...acceleratorArguments(accelerator), ...probeArguments(disk)], probeTimeoutMs);
    return status === exitStatus;
  } finally {
    rmSync(folder, { recursive: true });
  }
}

function probeArguments(disk: string): string[] {
  return [
    ...["-machine", "q35", "-m", "64", "-display", "none", "-nodefaults", "-no-reboot"],
    ...["-device", "isa-debug-exit,iobase=0xf4,iosize=0x04"],
    ...["-drive", `file=${disk},format=raw,if=ide`],
  ];
}

/** `mov dx,0xf4; mov al,exitValue; out dx,al; hlt; jmp -3`. SeaBIOS reads no disk smaller than a mebibyte. */
function bootSector(): Buffer {
  const disk = Buffer.alloc(1024 * 1024);
  Buffer.from([0xba, 0xf4, 0x00, 0xb0, exitValue, 0xee, 0xf4, 0xeb, 0xfd]).copy(disk);
  disk.writeUInt16BE(0x55aa, 510);
  return disk;
}

function remembered(file: string, nowMs: number): Accelerator | undefined {
  try {
    const { accelerator, atMs } = JSON.parse(readFileSync(file, "utf8")) as { accelerator: unknown; atMs: unknown };
    const fresh = typeof atMs === "number" && nowMs - atMs < rememberMs;
    return fresh && (accelerator === "kvm" || accelerator === "tcg") ? accelerator : undefined;
  } catch {
    return undefined;
  }
}

/** The accelerator of this host, remembered in `cacheFolder` for this kernel, processor and QEMU. */
export async function hostAccelerator(cacheFolder: string, nowMs: number): Promise<Accelerator> {
  if (!existsSync("/dev/kvm")) return "tcg";
  const key = [release(), cpus()[0]?.model ?? "", await qemuVersion()].join("-").replace(/[^A-Za-z0-9.]+/g, "-");
  return chooseAccelerator({ cacheFile: join(cacheFolder, `accelerator-${key}.json`), nowMs, run: runQemu });
}

async function qemuVersion(): Promise<string> {
  const child = spawn("qemu-system-x86_64", ["--version"], { stdio: ["ignore", "pipe", "ignore"] });
  const chunks: Buffer[] = [];
  child.stdout.on("data", (chunk: Buffer) => chunks.push(chunk));
  await new Promise<void>((resolve, reject) => child.once("error", reject).once("close", () => resolve()));
  return /version (\S+)/.exec(Buffer.concat(chunks).toString())?.[1] ?? "unknown";
}

const runQemu: RunQemu = (args, timeoutMs) =>
  new Promise((resolve, reject) => {
    const child = spawn("qemu-system-x86_64", args, { stdio: "ignore", timeout: timeoutMs, killSignal: "SIGKILL" });
    child.once("error", reject);
    child.once("close", (status) => resolve(status ?? undefined));
  });
