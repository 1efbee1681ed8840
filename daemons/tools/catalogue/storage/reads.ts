import { statfs } from "node:fs/promises";
import * as Type from "typebox";
import { fileSystems } from "../../files/index.ts";
import { reads, type Tool } from "../../tool.ts";
import { object, succeed } from "../shared/index.ts";
import { probe } from "./format.ts";

/** Devices, and file systems, that are told of at most. */
const devicesMax = 100;
const listMax = 500;

const facts = {
  capabilities: ["storage:read"],
  timeoutMs: 20_000,
} as const;

const list = reads({
  ...facts,
  name: "storage.list",
  summary: "Lists disks, their partitions, and what is on each.",
  input: object({}),
  output: object({
    devices: Type.Array(
      object({
        name: Type.String(),
        path: Type.String(),
        type: Type.String({ description: "disk, part, loop, crypt…" }),
        parent: Type.String({ description: "the device it is a part of; empty for disks" }),
        size_bytes: Type.Integer(),
        fstype: Type.String({ description: "empty when it is blank or not known" }),
        label: Type.String(),
        uuid: Type.String(),
        mounted_at: Type.Array(Type.String()),
        read_only: Type.Boolean(),
        model: Type.String(),
      }),
    ),
  }),
  run: async ({ signal }) => {
    const columns = "NAME,PATH,TYPE,PKNAME,SIZE,MOUNTPOINTS,RO,MODEL";
    const said = await succeed(["lsblk", "--json", "--bytes", "--list", "--output", columns], { signal });
    const { blockdevices } = JSON.parse(said) as { blockdevices: Listed[] };
    const devices = [];
    for (const one of blockdevices.filter(({ size }) => size > 0).slice(0, devicesMax)) {
      devices.push(described(one, await probe(one.path, signal)));
    }
    return { devices };
  },
});

/** One line of lsblk. */
interface Listed {
  readonly name: string;
  readonly path: string;
  readonly type: string;
  readonly pkname: string | null;
  readonly size: number;
  readonly mountpoints: readonly (string | null)[];
  readonly ro: boolean;
  readonly model: string | null;
}

function described(device: Listed, { kind, label, uuid }: Awaited<ReturnType<typeof probe>>) {
  const { name, path, type, pkname, size, mountpoints, ro, model } = device;
  return {
    name,
    path,
    type,
    parent: pkname ?? "",
    size_bytes: size,
    fstype: kind,
    label,
    uuid,
    mounted_at: mountpoints.filter((one) => one !== null),
    read_only: ro,
    model: (model ?? "").trim(),
  };
}

const usage = reads({
  ...facts,
  name: "storage.usage",
  summary: "Tells how full each mounted file system is, in bytes and in files.",
  input: object({}),
  output: object({
    file_systems: Type.Array(
      object({
        path: Type.String(),
        source: Type.String(),
        type: Type.String(),
        read_only: Type.Boolean(),
        total_bytes: Type.Integer(),
        used_bytes: Type.Integer(),
        available_bytes: Type.Integer(),
        usage_percent: Type.Number(),
        files_used: Type.Integer(),
        files_total: Type.Integer(),
      }),
    ),
  }),
  run: async () => {
    const each = fileSystems()
      .slice(0, listMax)
      .map(async ({ path, source, type, options }) => {
        // Covered by another mount, or of a server that does not answer: not told of.
        const found = await statfs(path).catch(() => undefined);
        if (found === undefined || found.blocks === 0) return [];
        const { blocks, bfree, bavail, bsize, files, ffree } = found;
        const used = blocks - bfree;
        return [
          {
            path,
            source,
            type,
            read_only: options.includes("ro"),
            total_bytes: blocks * bsize,
            used_bytes: used * bsize,
            available_bytes: bavail * bsize,
            usage_percent: used + bavail === 0 ? 0 : Math.round((10_000 * used) / (used + bavail)) / 100,
            files_used: files - ffree,
            files_total: files,
          },
        ];
      });
    return { file_systems: (await Promise.all(each)).flat() };
  },
});

export const storageReads: readonly Tool[] = [list, usage];
