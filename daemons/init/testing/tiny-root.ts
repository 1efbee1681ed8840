/** A root file system just large enough for PID 1 and its units, and a machine of name spaces that boots it. */
import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import {
  copyFileSync,
  cpSync,
  existsSync,
  linkSync,
  mkdirSync,
  readFileSync,
  realpathSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { build } from "esbuild";
import { daemons, layout } from "#manifest";

const repository = join(import.meta.dirname, "../../..");

/** A host's setpriv may be older than the image's, which knows Landlock and filters; that these hold is seen on the image. */
const olderSetpriv = `#!/bin/sh
for word; do
  shift
  case $word in --landlock-*|--seccomp-filter=*) ;; *) set -- "$@" "$word" ;; esac
done
exec /usr/bin/setpriv-of-host "$@"
`;

/** The folders that the image promises init. */
const folders = [
  ...["proc", "sys", "dev", "run", "tmp", "etc/aios/agents", "home", "var/lib/aios", "var/log/aios"],
  ...["mnt/aios", "mnt/data", "mnt/provision", "usr/bin", "usr/sbin", "usr/lib/aios"],
];

/** Makes the root in `root`: Node, `ip`, what starts managed units, their libraries, the bundle of init and one of the test's unit for each daemon. */
export async function makeTinyRoot(root: string): Promise<void> {
  for (const folder of folders) mkdirSync(join(root, folder), { recursive: true });
  addProgram(root, process.execPath, layout.node);
  for (const program of ["/usr/sbin/ip", "/bin/sh"]) addProgram(root, program, program);
  addProgram(root, "/usr/bin/setpriv", "/usr/bin/setpriv-of-host");
  writeFileSync(join(root, "usr/bin/setpriv"), olderSetpriv, { mode: 0o755 });
  const shared = { bundle: true, platform: "node", target: "node26", logLevel: "error" } as const;
  await build({
    ...shared,
    entryPoints: [join(repository, "daemons/init/main.ts")],
    outfile: join(root, layout.init),
    format: "cjs",
    banner: { js: "#!/usr/bin/node --disable-sigusr1" },
  });
  execFileSync("chmod", ["755", join(root, layout.init)]);
  const unit = join(root, layout.lib, "unit.cjs");
  await build({
    ...shared,
    entryPoints: [join(import.meta.dirname, "unit.ts")],
    outfile: unit,
    format: "cjs",
  });
  for (const { name } of daemons) linkSync(unit, join(root, layout.lib, `${name}.cjs`));
  writeFileSync(join(root, layout.lib, "release.json"), '{"version":"0.0.0-test"}');
  cpSync(join(repository, "rootfs/etc/aios/config.toml"), join(root, layout.etc, "config.toml"));
  writeFileSync(join(root, layout.etc, "agents/system.toml"), '[agent]\nname = "system"\nenabled = true\n');
}

/** Copies a program and the libraries that it is linked with. */
function addProgram(root: string, from: string, to: string): void {
  place(from, join(root, to));
  for (const [, library = ""] of execFileSync("ldd", [from], { encoding: "utf8" }).matchAll(/(\/\S+) \(0x/g)) {
    if (!existsSync(join(root, library))) place(library, join(root, library));
  }
}

/** A link where it can be one: Node alone is 150 MB. */
function place(from: string, to: string): void {
  mkdirSync(dirname(to), { recursive: true });
  const file = realpathSync(from);
  try {
    linkSync(file, to);
  } catch {
    copyFileSync(file, to);
  }
}

export interface TinyMachine {
  /** Its PID 1, as the host sees it. */
  readonly pid: number;
  /** The output on its console. */
  console(): string;
  /** Resolves when the console holds `text`. Rejects, with the console, after `timeoutMs`. */
  says(text: string, timeoutMs?: number): Promise<void>;
  /** A path inside the machine, for the host. */
  path(inside: string): string;
  /** Sends a signal to PID 1. */
  signal(signal: NodeJS.Signals): void;
  /** Resolves when PID 1 has ended. */
  readonly ended: Promise<void>;
}

/**
 * Makes the name spaces a machine: the root read-only, devices, data and provisioning folders inside, init in PID 1.
 */
const enter = `
mount --bind "$1" "$1" && mount -o remount,bind,ro "$1" &&
mount -t tmpfs -o nosuid,mode=0755,size=1m dev "$1/dev" &&
cp -a /dev/null /dev/zero /dev/full /dev/random /dev/urandom /dev/tty "$1/dev/" && ln -s pts/ptmx "$1/dev/ptmx" &&
mount --bind "$2" "$1/mnt/data" && mount --bind "$3" "$1/mnt/provision" &&
cd "$1" && exec chroot "$1" /usr/sbin/aios-init`;

export async function startTinyMachine(
  root: string,
  data: string,
  provision: string,
  options = "",
): Promise<TinyMachine> {
  const kernelStartMs = Number(process.hrtime.bigint() / 1_000_000n);
  const lane = `aios.lane=native aios.data=dir:/mnt/data aios.provision=dir:/mnt/provision`;
  const namespaces = ["--mount", "--pid", "--uts", "--net", "--ipc", "--cgroup", "--fork", "--kill-child"];
  const host = spawn("unshare", [...namespaces, "sh", "-c", enter, "sh", root, data, provision], {
    env: {
      PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
      AIOS_CMDLINE: `${lane} aios.kernel_start_monotonic_ms=${kernelStartMs} ${options}`,
    },
    stdio: ["ignore", "pipe", "pipe"],
  });
  return machineOf(host);
}

async function machineOf(host: ChildProcess): Promise<TinyMachine> {
  let output = "";
  for (const stream of [host.stdout, host.stderr]) {
    stream?.on("data", (chunk: Buffer) => {
      output += chunk.toString();
    });
  }
  const ended = new Promise<void>((resolve) => host.once("close", () => resolve()));
  const says = async (text: string, timeoutMs = 15_000) => {
    const giveUpAt = performance.now() + timeoutMs;
    while (!output.includes(text)) {
      if (performance.now() > giveUpAt) throw new Error(`the console does not say "${text}":\n${output}`);
      await new Promise((resolve) => setTimeout(resolve, 10));
    }
  };
  await says("first JavaScript");
  const pid = Number(readFileSync(`/proc/${host.pid}/task/${host.pid}/children`, "utf8").trim());
  return {
    pid,
    console: () => output,
    says,
    path: (inside) => `/proc/${pid}/root${inside}`,
    signal: (signal) => process.kill(pid, signal),
    ended,
  };
}
