import { readdir } from "node:fs/promises";
import * as Type from "typebox";
import { entriesOf, hold, type Mount, mountAt, mounts } from "../../files/index.ts";
import { changes, type Undo } from "../../tool.ts";
import { absolutePath, named, object, refused, succeed, undoSignal } from "../shared/index.ts";
import { checkNotSystem, deviceAt } from "./format.ts";

const types = ["ext4", "vfat", "erofs", "iso9660", "xfs", "btrfs", "tmpfs"] as const;

/** Options of every mount, so that it gives nobody rights: no set-user programs, no devices. */
const always = ["nosuid", "nodev"];

interface MountInput {
  device?: string;
  path: string;
  type: (typeof types)[number];
}

const undoMount: Undo<MountInput, { device: "path"; path: "path" }, { path: string; device?: string }> = {
  prepare: async ({ resources: { device, path } }) =>
    device === undefined ? { path: path.path } : { path: path.path, device: device.path },
  restore: ({ path, device }) =>
    named("unmount", path, async () => {
      const mounted = mountAt(path);
      if (mounted === undefined) return;
      if (device !== undefined && mounted.source !== device)
        throw refused("unmount", path, `${mounted.source} is mounted there now`);
      await succeed(["umount", "--", path], { signal: undoSignal(), act: "unmount by" });
    }),
};

export const mount = changes({
  name: "storage.mount",
  summary:
    "Mounts a device's file system, or memory (tmpfs, size_mb), at an empty folder, without set-user programs and devices.",
  input: object({
    device: Type.Optional(absolutePath),
    path: absolutePath,
    type: Type.Enum([...types]),
    read_only: Type.Optional(Type.Boolean()),
    size_mb: Type.Optional(
      Type.Integer({ minimum: 1, maximum: 1_048_576, description: "of a tmpfs; 64 unless given" }),
    ),
  }),
  output: object({ path: Type.String(), source: Type.String(), options: Type.Array(Type.String()) }),
  resources: { device: "path", path: "path" },
  uses: { device: "read" },
  capabilities: ["storage:mount:{path}"],
  undo: undoMount,
  risk: "high",
  timeoutMs: 60_000,
  idempotent: false,
  exclusive: "storage",
  preview: async ({ input: { type, read_only = false }, resources: { device, path } }) => {
    const source = device === undefined ? "memory" : device.path;
    return `mounts ${source} (${type}, ${[...always, read_only ? "ro" : "rw"].join(", ")}) at ${path.path}`;
  },
  run: ({ input: { type, read_only = false, size_mb = 64 }, resources: { device, path }, signal }) =>
    named("mount at", path.path, async () => {
      if ((device === undefined) !== (type === "tmpfs")) {
        throw refused("mount at", path.path, type === "tmpfs" ? "a tmpfs has no device" : `${type} needs a device`);
      }
      if (device !== undefined) await checkNotSystem("mount", device.path, deviceAt(device.path), signal);
      await checkEmpty(path.path);
      const options = [
        ...always,
        ...(read_only ? ["ro"] : []),
        ...(type === "tmpfs" ? [`size=${size_mb}m`, "mode=755"] : []),
      ];
      const source = device?.path ?? "tmpfs";
      await succeed(["mount", "-t", type, "-o", options.join(","), "--", source, path.path], {
        signal,
        act: "mount by",
      });
      const made = mountedAt(path.path);
      return { path: made.path, source: made.source, options: [...made.options] };
    }),
});

interface UnmountPlan {
  readonly mount: Mount;
}

const undoUnmount: Undo<{ path: string }, { path: "path" }, UnmountPlan> = {
  prepare: async ({ resources: { path } }) => ({ mount: mountedAt(path.path) }),
  restore: ({ mount: { path, source, type, options } }) =>
    named("mount at", path, async () => {
      if (mountAt(path) !== undefined) return;
      if (type === "tmpfs") throw refused("mount at", path, "it was memory, and what lay in it is gone");
      deviceAt(source);
      const argv = ["mount", "-t", type, "-o", options.join(","), "--", source, path] as const;
      await succeed(argv, { signal: undoSignal(), act: "mount by" });
    }),
};

export const unmount = changes({
  name: "storage.unmount",
  summary: "Unmounts a file system that is not one the machine stands on. Refused while somebody uses it.",
  input: object({ path: absolutePath }),
  output: object({ unmounted: Type.Boolean() }),
  resources: { path: "path" },
  capabilities: ["storage:unmount:{path}"],
  undo: undoUnmount,
  risk: "high",
  timeoutMs: 60_000,
  idempotent: false,
  exclusive: "storage",
  preview: async ({ resources: { path } }) => {
    const { source, type } = mountedAt(path.path);
    return `unmounts ${path.path}, where ${source} (${type}) is now`;
  },
  run: ({ resources: { path }, signal }) =>
    named("unmount", path.path, async () => {
      mountedAt(path.path);
      await succeed(["umount", "--", path.path], { signal, act: "unmount by" });
      return { unmounted: true };
    }),
});

function mountedAt(path: string): Mount {
  const found = mountAt(path);
  if (found === undefined) throw refused("find mount", path, "nothing is mounted there", "see storage.usage");
  return found;
}

/** Nothing that somebody needs is covered. */
async function checkEmpty(path: string): Promise<void> {
  const held = await hold(path);
  try {
    if (!held.found.isDirectory()) throw refused("mount at", path, "it is not a folder");
    if (mounts().some((one) => one.path === path))
      throw refused("mount at", path, "something is mounted there already");
    const [first] = await readdir(entriesOf(held));
    if (first !== undefined) throw refused("mount at", path, "the folder is not empty", "make a new one");
  } finally {
    await held.close();
  }
}
