import { execFile } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { promisify } from "node:util";
import { AiosError } from "#lib/errors";
import { statOf } from "#lib/linux/proc";
import { managementPort } from "#manifest";
import { type Accelerator, acceleratorArguments } from "./accelerator.ts";
import { Console } from "./console.ts";
import { freePort } from "./network.ts";
import { dieWithUs, startProcess } from "./process.ts";
import type { NetworkSettings, Running } from "./running.ts";

/** QEMU's user network: the machine's address, and the host as it sees it. */
export const userNetwork: NetworkSettings = { address: "10.0.2.15/24", gateway: "10.0.2.2" };

const dataSerial = "aios-data";
const copy = promisify(execFile);

/** A raw disk image of the host. */
interface Drive {
  readonly path: string;
  /** What the machine knows it by: "aios-data", "aios-prov". */
  readonly serial: string;
  readonly readOnly?: boolean;
}

/** What boots: our kernel, loaded by QEMU itself, or the firmware from the first drive. */
type Boot =
  | { readonly kind: "kernel"; readonly kernel: string; readonly cmdline: string }
  | { readonly kind: "firmware"; readonly code: string; readonly variables: string };

export interface EmulatorOptions {
  readonly boot: Boot;
  readonly accelerator: Accelerator;
  readonly memoryMiB: number;
  readonly cpus: number;
  readonly drives: readonly Drive[];
  /** What the machine's own clock says when it is switched on, milliseconds since the epoch; the host's when absent. */
  readonly clockMs?: number | undefined;
  /** It may speak to this host's loopback, which it knows as its gateway; else nothing leads out of it. */
  readonly reachesHost?: boolean | undefined;
}

/** QEMU's arguments. `hostPort` of the host's loopback interface leads to port 9090 of the machine. */
export function emulatorArguments(options: EmulatorOptions, hostPort: number): string[] {
  const forward = `hostfwd=tcp:127.0.0.1:${hostPort}-:${managementPort}`;
  return [
    ...["-machine", "q35", ...acceleratorArguments(options.accelerator)],
    ...["-m", String(options.memoryMiB), "-smp", String(options.cpus)],
    ...["-nodefaults", "-no-user-config", "-display", "none", "-no-reboot"],
    ...["-chardev", "stdio,id=console,signal=off", "-serial", "chardev:console"],
    ...[
      "-netdev",
      `user,id=net,restrict=${options.reachesHost ? "off" : "on"},${forward}`,
      "-device",
      "virtio-net-pci,netdev=net,romfile=",
    ],
    ...["-device", "virtio-rng-pci"],
    ...(options.clockMs === undefined ? [] : ["-rtc", `base=${new Date(options.clockMs).toISOString().slice(0, 19)}`]),
    ...options.drives.flatMap(driveArguments),
    ...bootArguments(options.boot),
  ];
}

function driveArguments({ path, serial, readOnly }: Drive, index: number): string[] {
  // An absent drive's path is the caller's fault; a comma in one would end QEMU's option.
  const file = `file=${path.replaceAll(",", ",,")},format=raw,if=none,id=drive${index},discard=unmap`;
  const device = `virtio-blk-pci,drive=drive${index},serial=${serial}`;
  return ["-drive", readOnly ? `${file},readonly=on` : file, "-device", device];
}

function bootArguments(boot: Boot): string[] {
  if (boot.kind === "kernel") return ["-kernel", boot.kernel, "-append", boot.cmdline];
  return [
    ...["-drive", `if=pflash,format=raw,unit=0,readonly=on,file=${boot.code}`],
    ...["-drive", `if=pflash,format=raw,unit=1,file=${boot.variables}`],
  ];
}

/** Starts QEMU. It ends with this process, however that ends. */
export async function startEmulator(options: EmulatorOptions): Promise<Running> {
  const port = await freePort();
  const argv = [...dieWithUs, "qemu-system-x86_64", ...emulatorArguments(options, port)];
  const { child, ended } = await startProcess(argv, { PATH: "/usr/local/bin:/usr/bin:/bin" });
  const [input, output, errors] = child.stdio as unknown as [Writable, Readable, Readable];
  input.on("error", () => {});
  const console = new Console();
  console.read(output);
  console.read(errors);
  const gone = ended.then((end) => {
    console.ended(end);
    return end;
  });
  return {
    console,
    target: `127.0.0.1:${port}`,
    ended: gone,
    type: (text) => void input.write(text),
    copyData: async (to) => {
      const from = options.drives.find(({ serial }) => serial === dataSerial)?.path;
      if (from === undefined) throw new AiosError("FAILED_PRECONDITION", "copy a data disk: the machine has none");
      // What was written has reached the host's file; what was not is what a cut loses.
      child.kill("SIGSTOP");
      try {
        await copy("cp", ["--sparse=always", "--reflink=auto", from, to]);
      } finally {
        child.kill("SIGCONT");
      }
    },
    processorMs: () => statOf("/proc", child.pid ?? 0)?.cpuMs ?? 0,
    cut: async () => {
      child.kill("SIGKILL");
      await gone;
    },
  };
}
