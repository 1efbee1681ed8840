import {
  chmodSync,
  chownSync,
  copyFileSync,
  existsSync,
  lstatSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { dirname, join } from "node:path";
import { readConfig } from "#lib/config/config";
import { entriesBelow } from "#lib/data/files";
import { type UserName, users } from "#manifest";
import { addAccounts } from "../accounts.ts";
import { sourcesFile } from "../archive/apt-sources.ts";
import type { Archive } from "../archive/sources.ts";
import { inBuildRoot } from "../build-root.ts";
import { command } from "../command.ts";
import { type Profile, profileSpecs } from "../profile.ts";
import type { Step, StepWork } from "../step.ts";
import { knowledgeFile } from "./knowledge.ts";
import { packagesOf } from "./packages.ts";

const configFile = "rootfs/etc/aios/config.toml";

/** What the machine is told of its build. */
interface Release {
  readonly profile: Profile;
  readonly archive: Archive;
  readonly commit: string;
  readonly committedAt: number;
  readonly version: string;
}

/** The root file system as a folder (`tree/`): the native lane runs it as it is, the erofs step packs it. */
export function rootStep({ profile, commit, committedAt, version, archive }: Release): Step {
  const { step: packages } = packagesOf(profile);
  const hasModules = profileSpecs[profile].fragments.includes("modules");
  return {
    name: `root-${profile}`,
    modules: [import.meta.filename],
    files: ["rootfs", "proto/gen/descriptors.json"],
    params: { profile, commit, committedAt, version, mirror: { ...archive.mirror } },
    needs: [
      ...["buildroot", packages, "modules", "bundles", "model", "gpu", "knowledge"],
      ...(hasModules ? [`kernel-${profile}`] : []),
    ],
    run: async (work) => {
      const tree = join(work.out, "tree");
      readConfig(join(work.repository, configFile));
      await copyTree(join(work.need(packages), "tree"), tree, work);
      for (const step of ["modules", "bundles", "gpu"])
        await copyTree(`${join(work.need(step), "tree")}/.`, tree, work);
      if (hasModules)
        await copyTree(
          join(work.need(`kernel-${profile}`), "modules/lib/modules"),
          join(tree, "usr/lib/modules"),
          work,
        );
      for (const folder of ["etc", "usr"]) copyStatic(join(work.repository, "rootfs", folder), join(tree, folder));
      makeFolders(tree);
      // After rootfs/: its models.toml with what the builder added.
      for (const file of readdirSync(join(work.need("model"), "models")))
        place(join(work.need("model"), "models", file), join(tree, "usr/share/aios/models", file));
      place(join(work.need("model"), "models.toml"), join(tree, "usr/share/aios/models.toml"));
      place(join(work.need("knowledge"), "knowledge.db"), join(tree, knowledgeFile));
      place(join(work.repository, "proto/gen/descriptors.json"), join(tree, "usr/lib/aios/descriptors.json"));
      // What the machine must not lose: its package tools ask this list.
      place(join(work.need(packages), "packages.lock"), join(tree, "usr/share/aios/packages.lock"));
      write(tree, "usr/lib/aios/release.json", `${JSON.stringify({ version, commit, committedAt, profile })}\n`);
      write(tree, "etc/apt/sources.list.d/debian.sources", sourcesFile(archive.mirror));
      writeAccounts(tree);
      await linkApplets(work, tree);
      dropPrivileges(tree);
    },
  };
}

async function copyTree(from: string, to: string, { log }: StepWork): Promise<void> {
  await command(["cp", "-a", "--reflink=auto", from, to], { log });
}

/** rootfs/ at its final place: owned by root, closed to writing whatever the checkout's umask was. */
function copyStatic(from: string, to: string): void {
  for (const entry of readdirSync(from, { withFileTypes: true })) {
    const [source, target] = [join(from, entry.name), join(to, entry.name)];
    if (!entry.isDirectory()) place(source, target, lstatSync(source).mode & 0o100 ? 0o755 : 0o644);
    else {
      mkdirSync(target, { recursive: true, mode: 0o755 });
      copyStatic(source, target);
    }
  }
}

function place(from: string, to: string, mode = 0o644): void {
  mkdirSync(dirname(to), { recursive: true, mode: 0o755 });
  copyFileSync(from, to);
  chmodSync(to, mode);
  chownSync(to, 0, 0);
}

function write(tree: string, path: string, text: string, mode = 0o644): void {
  mkdirSync(dirname(join(tree, path)), { recursive: true });
  writeFileSync(join(tree, path), text);
  chmodSync(join(tree, path), mode);
}

/** Folders that are mounted over, or filled by the daemons; on a root without the overlay they must exist already. */
const folders = [
  ...["boot", "dev", "proc", "sys", "run", "tmp", "mnt/aios", "var/log/aios", "home/workspaces"],
  ...["models", "memory", "vectors", "cache", "ledger"].map((name) => `var/lib/aios/${name}`),
];

function makeFolders(tree: string): void {
  for (const path of folders) mkdirSync(join(tree, path), { recursive: true, mode: 0o755 });
  for (const path of ["tmp", "var/tmp"]) chmodSync(join(tree, path), 0o1777);
  for (const path of ["usr/sbin/aios-init", "usr/bin/aiosctl"])
    if (existsSync(join(tree, path))) chmodSync(join(tree, path), 0o755);
  // Written by init when it knows the network.
  symlinkSync("../run/aios/resolv.conf", join(tree, "etc/resolv.conf"));
  symlinkSync("/proc/self/mounts", join(tree, "etc/mtab"));
}

function writeAccounts(tree: string): void {
  const read = (name: string) => readFileSync(join(tree, "etc", name), "utf8");
  const accounts = (Object.keys(users) as UserName[]).map((name) => ({ name, ...users[name] }));
  const before = { passwd: read("passwd"), group: read("group") };
  const after = addAccounts(before, accounts);
  for (const [name, text] of Object.entries(after)) writeFileSync(join(tree, "etc", name), text);
}

/** Applets that would stand in for what must be the real thing, or that only make sense as PID 1. */
const notLinked = new Set([
  "init",
  "linuxrc",
  "dpkg",
  "dpkg-deb",
  "rpm",
  "run-init",
  "switch_root",
  "sh",
  "ash",
  "su",
  "login",
  "passwd",
]);

/** Whose caller gets another's rights: none of the image's programs needs that, and no user of the machine starts one. */
const setIdBits = 0o6000;

/** Takes from programs what lets them run as somebody else (su, mount and their like). Gives back their paths. */
export function dropPrivileges(tree: string): string[] {
  return entriesBelow(tree).flatMap((entry) => {
    const path = join(entry.parentPath, entry.name);
    const mode = entry.isFile() ? lstatSync(path).mode : 0;
    if ((mode & setIdBits) === 0) return [];
    chmodSync(path, mode & 0o777);
    return [path];
  });
}

/** A link to BusyBox for each applet that no package of the root provides. */
async function linkApplets(work: StepWork, tree: string): Promise<void> {
  const argv = ["chroot", "/out/tree", "/usr/bin/busybox", "--list-full"];
  const list = await inBuildRoot(join(work.need("buildroot"), "tree"), argv, [{ from: work.out, at: "/out" }], {
    log: work.log,
  });
  const present = new Set(["usr/bin", "usr/sbin"].flatMap((folder) => readdirSync(join(tree, folder))));
  for (const path of list.trim().split("\n").sort()) {
    const name = path.split("/").at(-1) ?? "";
    if (present.has(name) || notLinked.has(name)) continue;
    symlinkSync("/usr/bin/busybox", join(tree, path.includes("sbin/") ? "usr/sbin" : "usr/bin", name));
  }
}
