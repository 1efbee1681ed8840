import { lstat, opendir, readdir } from "node:fs/promises";
import { errnoOf } from "#lib/errors";
import { beginning } from "#lib/text";
import { managementPort } from "#manifest";
import {
  holdersOf,
  type KernelFolders,
  linkTarget,
  namesIn,
  reachOf,
  readConnections,
  textOf,
} from "../shared/index.ts";

/** The checks of sec.scan: one function each, on its own. */

export const severities = ["low", "medium", "high", "critical"] as const;
type Severity = (typeof severities)[number];

interface Finding {
  readonly check: string;
  readonly severity: Severity;
  readonly description: string;
  readonly details: string;
}

interface Scanned {
  /** The root of the file system that is looked at, without a slash at its end. */
  readonly root: string;
  readonly kernel: KernelFolders;
  readonly signal: AbortSignal;
}

/** Files that are looked at in one scan at most. */
const filesMax = 200_000;

/** Programs of Debian's that are set-user or set-group by design. */
const setuidKnown = new Set(
  [
    "bwrap",
    "chage",
    "chfn",
    "chsh",
    "crontab",
    "dbus-daemon-launch-helper",
    "expiry",
    "fusermount",
    "fusermount3",
  ].concat(
    ["gpasswd", "mount", "mount.nfs", "newgidmap", "newgrp", "newuidmap", "passwd", "pkexec", "pppd"],
    [
      "polkit-agent-helper-1",
      "ssh-agent",
      "ssh-keysign",
      "su",
      "sudo",
      "sudoedit",
      "umount",
      "unix_chkpwd",
      "utempter",
    ],
  ),
);

/** Folders that everyone may write to: no program belongs there. */
const loose = ["/tmp", "/var/tmp", "/dev/shm", "/run/user"];

const inLoose = (path: string) => loose.some((folder) => path.startsWith(`${folder}/`));

async function accounts({ root }: Scanned): Promise<Finding[]> {
  const users = ((await textOf(`${root}/etc/passwd`)) ?? "").split("\n").map((line) => line.split(":"));
  const secrets = ((await textOf(`${root}/etc/shadow`)) ?? "").split("\n").map((line) => line.split(":"));
  const mode = await modeOf(`${root}/etc/shadow`);
  return [
    ...users
      .filter(([name, , uid]) => uid === "0" && name !== "root")
      .map(([name]) => finding("accounts", "critical", "another account has all of root's rights", name ?? "")),
    ...[...users.map(([name, hash]) => [name, hash]), ...secrets]
      .filter(([name, hash]) => name !== "" && hash === "")
      .map(([name]) => finding("accounts", "critical", "an account needs no password", name ?? "")),
    ...(mode !== undefined && (mode & 0o007) !== 0
      ? [finding("accounts", "high", "passwords can be read by everyone", "/etc/shadow")]
      : []),
  ];
}

async function files({ root, signal }: Scanned): Promise<Finding[]> {
  const found: Finding[] = [];
  let left = filesMax;
  const folders = ["/etc", "/usr", "/opt", "/srv", "/home", "/root", "/tmp", "/var/tmp", "/usr/local"].map(
    (path) => root + path,
  );
  for (let folder = folders.pop(); folder !== undefined && left > 0; folder = folders.pop()) {
    for await (const { path, mode, kind } of entriesIn(folder)) {
      signal.throwIfAborted();
      left -= 1;
      if (left < 0) break;
      if (kind === "directory" && !folders.includes(path)) folders.push(path);
      found.push(...modeFindings(path.slice(root.length), mode, kind));
    }
  }
  if (left <= 0) found.push(finding("files", "low", "there are more files than are looked at", `${filesMax}`));
  return found;
}

function modeFindings(path: string, mode: number, kind: "file" | "directory"): Finding[] {
  const name = path.slice(path.lastIndexOf("/") + 1);
  if (kind === "file" && (mode & 0o6000) !== 0 && !setuidKnown.has(name)) {
    const severity = inLoose(path) || path.startsWith("/home/") ? "high" : "medium";
    return [finding("files", severity, "a program runs with its owner's rights, whoever starts it", path)];
  }
  const open = (mode & 0o002) !== 0 && (kind === "file" || (mode & 0o1000) === 0);
  if (open && !inLoose(path)) return [finding("files", "high", `everyone may write to this ${kind}`, path)];
  return [];
}

async function* entriesIn(folder: string) {
  try {
    for await (const entry of await opendir(folder)) {
      if (!entry.isFile() && !entry.isDirectory()) continue;
      const path = `${folder}/${entry.name}`;
      const mode = await modeOf(path);
      if (mode !== undefined) yield { path, mode, kind: entry.isFile() ? ("file" as const) : ("directory" as const) };
    }
  } catch (error) {
    if (!["ENOENT", "EACCES", "ENOTDIR"].includes(errnoOf(error) ?? "")) throw error;
  }
}

async function listening({ kernel, signal }: Scanned): Promise<Finding[]> {
  const sockets = (await readConnections(kernel.proc)).filter(
    ({ state }) => state === "listening" || state === "bound",
  );
  const far = sockets.filter(
    ({ localAddress, localPort }) => reachOf(localAddress, new Set()) !== "loopback" && localPort !== managementPort,
  );
  const holders = await holdersOf(kernel.proc, signal);
  return far.map(({ protocol, localAddress, localPort, inode }) => {
    const holder = holders.get(inode);
    const by = holder === undefined ? "no process that can be seen" : `${holder.program} (${holder.pid})`;
    const severity = holder === undefined ? "medium" : "low";
    return finding(
      "listening",
      severity,
      "a port can be reached from the network",
      `${protocol} ${localAddress} port ${localPort} by ${by}`,
    );
  });
}

async function processes({ kernel: { proc } }: Scanned): Promise<Finding[]> {
  const found = await Promise.all(
    (await readdir(proc))
      .filter((name) => /^\d+$/.test(name))
      .map(async (pid): Promise<Finding[]> => {
        const program = await linkTarget(`${proc}/${pid}/exe`);
        if (program === undefined) return [];
        const details = `${program} (${pid})`;
        if (program.startsWith("/memfd:"))
          return [finding("processes", "high", "a program runs that was never a file", details)];
        if (inLoose(program))
          return [finding("processes", "high", "a program runs from where everyone may write", details)];
        if (program.endsWith(" (deleted)"))
          return [finding("processes", "medium", "a program runs whose file is gone", details)];
        return [];
      }),
  );
  return found.flat();
}

async function preload({ root }: Scanned): Promise<Finding[]> {
  const text = await textOf(`${root}/etc/ld.so.preload`);
  return text ? [finding("preload", "critical", "a library is put into every program", beginning(text, 200))] : [];
}

/** Settings of the kernel and the least that they should be. */
const settings = [
  {
    name: "kernel/randomize_va_space",
    least: 2,
    severity: "high",
    description: "addresses of programs can be guessed",
  },
  { name: "kernel/kptr_restrict", least: 1, severity: "low", description: "the kernel's addresses can be read" },
  {
    name: "kernel/dmesg_restrict",
    least: 1,
    severity: "low",
    description: "the kernel's messages can be read by everyone",
  },
  {
    name: "kernel/unprivileged_bpf_disabled",
    least: 1,
    severity: "medium",
    description: "everyone may load programs into the kernel",
  },
  { name: "fs/protected_symlinks", least: 1, severity: "medium", description: "links in shared folders are followed" },
  { name: "fs/protected_hardlinks", least: 1, severity: "medium", description: "everyone may link to others' files" },
] as const;

async function kernel({ kernel: { proc, sys } }: Scanned): Promise<Finding[]> {
  const weak = await Promise.all(
    settings.map(async ({ name, least, severity, description }): Promise<Finding[]> => {
      const value = await textOf(`${proc}/sys/${name}`);
      return value === undefined || Number(value) >= least
        ? []
        : [finding("kernel", severity, description, `${name.replaceAll("/", ".")} = ${value}, should be ${least}`)];
    }),
  );
  const folder = `${sys}/devices/system/cpu/vulnerabilities`;
  const flaws = await Promise.all(
    (await namesIn(folder)).map(async (name): Promise<Finding[]> => {
      const state = (await textOf(`${folder}/${name}`)) ?? "";
      return state.startsWith("Vulnerable")
        ? [finding("kernel", "low", `the processor has the flaw ${name}`, state)]
        : [];
    }),
  );
  return [...weak, ...flaws].flat();
}

export const checks = { accounts, files, listening, processes, preload, kernel } as const;
export type Check = keyof typeof checks;

function finding(check: Check, severity: Severity, description: string, details: string): Finding {
  return { check, severity, description, details: details.toWellFormed() };
}

async function modeOf(path: string): Promise<number | undefined> {
  try {
    return (await lstat(path)).mode;
  } catch (error) {
    if (["ENOENT", "EACCES", "ENOTDIR"].includes(errnoOf(error) ?? "")) return undefined;
    throw error;
  }
}
