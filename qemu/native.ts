/**
 * A native machine gives up its host's kernel. The lane makes the few devices that programs need, mounts its data from
 * a sparse file of a data disk's size, and starts init without CAP_SYS_BOOT, SYS_MODULE, SYS_TIME, SYS_RAWIO and MKNOD
 * in its bounding set: with MKNOD and a tmpfs the host's disk would be open. init closes /proc/sys (but for `net`) and
 * /sys, and ends by exiting. SYS_ADMIN it keeps, since it mounts: the lane holds what a machine does by mistake, and is
 * no prison. Benchmarks keep their data in a folder, as the commits do that they are compared with: an fsync in a file
 * system within a file takes three to four times as long. `qemu/tests/host.test.ts` looks at every thread.
 */
import { createInterface } from "node:readline";
import { Readable, type Writable } from "node:stream";
import { AiosError, errnoOf } from "#lib/errors";
import { statOf } from "#lib/linux/proc";
import { managementPort } from "#manifest";
import { type Cgroup, makeCgroup } from "./cgroup.ts";
import { Console, type End } from "./console.ts";
import type { DataPlace } from "./data-volume.ts";
import { type MachineProcess, processesOf } from "./native-processes.ts";
import { connectHost, type HostLink } from "./network.ts";
import { dieWithUs, type Started, startProcess } from "./process.ts";
import type { NetworkSettings, Running } from "./running.ts";

/** What the native lane starts from. */
interface NativeOptions {
  /** The unpacked root tree; it is never written to. */
  readonly root: string;
  /** What it may do after all, of what a native machine gives up. */
  readonly keeps: readonly Kept[];
  /** What stands for the data partition; absent = the machine has none. */
  readonly data: DataPlace | undefined;
  /** The folder that stands for the provisioning volume; absent = not provisioned. */
  readonly provision: string | undefined;
  /** Called with the machine's network before aios-init runs: writes what `provision` is to hold. */
  readonly prepare: (network: NetworkSettings) => Promise<void>;
  /** Options added to the kernel command line. */
  readonly append: readonly string[];
}

/** The native lane's own: its processes are this host's, and can be seen and killed from here. */
export interface RunningNative extends Running {
  /** Every process of the machine, its init first. */
  processes(): MachineProcess[];
}

/**
 * Runs inside the new name spaces, with the host's tools: makes the machine's view of the file system, says its pid on
 * descriptor 3, waits on standard input until the network is there, and becomes aios-init.
 *
 * /mnt is a tmpfs that holds the folders of the lane beside the image's own (/mnt/aios, where aios-init builds its root).
 * /dev has the devices that programs need and none of the host's others: devtmpfs is one for the whole host. The kernel's
 * other file systems are mounted by aios-init. From there on nothing can do what concerns the host's kernel ({@link givenUp}).
 */
const inside = `
set -e
root=$1 data=$2 provision=$3 given_up=$4
read -r pid _ < /proc/self/stat
echo "$pid" >&3
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
mount -t tmpfs -o mode=0755,size=1m lane "$root/mnt"
mkdir "$root/mnt/data" "$root/mnt/provision" "$root/mnt/host" "$root/mnt/aios"
mount -t tmpfs -o nosuid,mode=0755,size=1m dev "$root/dev"
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$root/dev/"
ln -s pts/ptmx "$root/dev/ptmx"
if [ -f "$data" ]; then
  mount -o loop,noinit_itable "$data" "$root/mnt/data"
elif [ -n "$data" ]; then
  mount --bind "$data" "$root/mnt/data"
fi
[ -z "$provision" ] || { mount --bind "$provision" "$root/mnt/provision"; mount -o remount,bind,ro "$root/mnt/provision"; }
read -r _
cd "$root"
pivot_root . mnt/host
cd /
exec /bin/busybox sh -c 'umount -l /mnt/host && rmdir /mnt/host && exec setpriv "$1" /usr/sbin/aios-init' sh \
  --bounding-set="$given_up" 3>&-
`;

/** What no process of the machine may: restart the kernel, extend it, set its clock, speak to devices, make some. */
const givenUp = ["sys_boot", "sys_module", "sys_time", "sys_rawio", "mknod"] as const;
export type Kept = (typeof givenUp)[number];

/** Joins the control group, so that it is the root of the machine's own. */
const enterGroup = ["sh", "-c", 'echo 0 > "$1/cgroup.procs"; shift; exec "$@"', "sh"];

const newSpaces = [
  ...["unshare", "--mount", "--pid", "--uts", "--net", "--ipc", "--cgroup"],
  ...["--propagation", "private", "--fork", "--kill-child=SIGKILL", "--"],
];

/** Starts the root tree under unshare with aios-init as PID 1. Needs root. Kernel start is the moment of unshare. */
export async function startNative(options: NativeOptions): Promise<RunningNative> {
  if (process.getuid?.() !== 0) {
    throw new AiosError("PERMISSION_DENIED", {
      act: "start",
      object: "the native lane",
      reason: "name spaces and mounts need root",
      next: "run it as root, or use --lane qemu",
    });
  }
  const cgroup = makeCgroup();
  const { child, ended } = await spawnMachine(options, cgroup);
  const [input, output, errors, report] = child.stdio as unknown as [Writable, Readable, Readable, Readable];
  const console = new Console();
  console.read(output);
  console.read(errors);
  if (options.data?.remark !== undefined) console.read(Readable.from([`${options.data.remark}\n`]));
  input.on("error", () => {}); // it ended before it was let go: the wait for its first line says so
  let link: HostLink | undefined;
  const gone = ended.then(async (end) => {
    console.ended(end);
    link?.remove();
    await cgroup?.remove();
    return end;
  });
  try {
    const init = await firstLine(report, gone, console);
    link = connectHost(init);
    await options.prepare(link.machine);
    input.end("go\n");
    return {
      console,
      target: `${link.machine.address.split("/")[0]}:${managementPort}`,
      ended: gone,
      cut: async () => {
        kill(init);
        await gone;
      },
      processes: () => processesOf(init),
      processorMs: () =>
        processesOf(init).reduce((sum, { hostPid }) => sum + (statOf("/proc", hostPid)?.cpuMs ?? 0), 0),
    };
  } catch (error) {
    child.kill("SIGKILL");
    await gone;
    throw error;
  }
}

function spawnMachine(options: NativeOptions, cgroup: Cgroup | undefined): Promise<Started> {
  const { root, keeps, data, provision, append } = options;
  const kernelStartMs = process.hrtime.bigint() / 1_000_000n;
  const cmdline = [
    "aios.lane=native",
    // Always a folder, be it one that is not there: without the option init would look through the host's disks.
    `aios.data=dir:${data === undefined ? "/mnt/absent" : "/mnt/data"}`,
    ...(provision === undefined ? [] : ["aios.provision=dir:/mnt/provision"]),
    `aios.kernel_start_monotonic_ms=${kernelStartMs}`,
    ...append,
  ].join(" ");
  const bounds = ["+all", ...givenUp.filter((name) => !keeps.includes(name)).map((name) => `-${name}`)].join(",");
  const group = cgroup === undefined ? [] : [...enterGroup, cgroup.path];
  const argv = [
    ...dieWithUs,
    ...group,
    ...newSpaces,
    "sh",
    "-c",
    inside,
    "sh",
    root,
    data?.path ?? "",
    provision ?? "",
    bounds,
  ];
  const env = { PATH: "/usr/sbin:/usr/bin:/sbin:/bin", HOME: "/", TERM: "linux", AIOS_CMDLINE: cmdline };
  return startProcess(argv, env);
}

function kill(pid: number): void {
  try {
    process.kill(pid, "SIGKILL");
  } catch (error) {
    if (errnoOf(error) !== "ESRCH") throw error;
  }
}

async function firstLine(report: Readable, gone: Promise<End>, console: Console): Promise<number> {
  const lines = createInterface({ input: report });
  const line = await Promise.race([
    new Promise<string>((resolve) => lines.once("line", resolve)),
    gone.then(() => undefined),
  ]);
  lines.close();
  if (line !== undefined) return Number(line);
  throw new AiosError("UNAVAILABLE", {
    act: "start",
    object: "the native lane",
    reason: console.tail().trim() || "its name spaces could not be made",
    next: "this needs unshare, mount and tmpfs on the host",
  });
}
