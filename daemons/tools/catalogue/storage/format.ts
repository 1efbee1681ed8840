import { basename } from "node:path";
import * as Type from "typebox";
import { mounts } from "../../files/index.ts";
import { changes } from "../../tool.ts";
import { absolutePath, named, object, refused, runProgram, succeed } from "../shared/index.ts";
import { type BlockDevice, blockDevice, partsOf, swapDevices } from "./devices.ts";

/** Making a file system on a large slow disk takes minutes. */
const timeoutMs = 600_000;

const types = ["ext4", "vfat"] as const;

export const mkfs = changes({
  name: "storage.mkfs",
  summary:
    "Makes a file system on a block device. Refused for one that is mounted, in use or on the system's disk, and, without erase, for one that is not blank.",
  input: object({
    device: absolutePath,
    type: Type.Enum([...types]),
    label: Type.Optional(
      Type.String({ pattern: "^[A-Za-z0-9][A-Za-z0-9_-]{0,10}$", description: "at most 11 characters" }),
    ),
    erase: Type.Optional(Type.Boolean({ description: "give up what is on it" })),
  }),
  output: object({ device: Type.String(), type: Type.String(), size_bytes: Type.Integer(), uuid: Type.String() }),
  resources: { device: "path" },
  uses: { device: "read" },
  capabilities: ["storage:mkfs:{device}"],
  irreversible: "what was on the device is gone",
  risk: "critical",
  timeoutMs,
  idempotent: false,
  confirmation: true,
  exclusive: "storage",
  preview: async ({ input: { type, label, erase = false }, resources: { device }, signal }) => {
    const found = deviceAt(device.path);
    await checkFree(device.path, found, signal);
    const standing = (await contentOf(device.path, signal)) || "nothing";
    const gone = standing === "nothing" ? "" : erase ? "; that is lost" : "; refused, since erase is not said";
    const made = `makes ${type}${label === undefined ? "" : ` (label ${label})`} on ${device.path}`;
    return `${made}, ${found.sizeBytes} bytes\non it now: ${standing}${gone}`;
  },
  run: ({ input: { type, label, erase = false }, resources: { device }, signal }) =>
    named("make file system on", device.path, async () => {
      const found = deviceAt(device.path);
      await checkFree(device.path, found, signal);
      const standing = await contentOf(device.path, signal);
      if (standing !== "" && !erase) {
        throw refused("make file system on", device.path, `there is ${standing} on it`, "say erase=true to give it up");
      }
      await make(device.path, type, label, signal);
      const uuid = await succeed(["blkid", "-p", "-s", "UUID", "-o", "value", device.path], { signal });
      return { device: device.path, type, size_bytes: found.sizeBytes, uuid: uuid.trim() };
    }),
});

async function make(device: string, type: (typeof types)[number], label: string | undefined, signal: AbortSignal) {
  const named = (flag: string) => (label === undefined ? [] : [flag, label]);
  const options = { signal, timeoutMs, act: "make file system by" };
  if (type === "ext4") await succeed(["mkfs.ext4", "-q", "-F", ...named("-L"), device], options);
  else await succeed(["mkfs.vfat", ...named("-n"), device], options);
}

/** The block device at a resolved path. Throws FAILED_PRECONDITION when it is none. */
export function deviceAt(path: string): BlockDevice {
  const found = path.startsWith("/dev/") ? blockDevice(basename(path)) : undefined;
  if (found === undefined)
    throw refused("use device", path, "it is not a block device of this machine", "see storage.list");
  return found;
}

/** Throws FAILED_PRECONDITION for a device that somebody uses, and for every part of the disk that the system is on. */
async function checkFree(path: string, device: BlockDevice, signal: AbortSignal): Promise<void> {
  const refuse = (reason: string) => refused("make file system on", path, reason);
  const mounted = new Map(mounts().map((mount) => [mount.device, mount.path]));
  const swaps = swapDevices();
  const own = device.name === device.disk ? partsOf(device.disk) : [device];
  for (const part of own) {
    const where = mounted.get(part.number);
    if (where !== undefined) throw refuse(`${part.name} is mounted at ${where}`);
    if (swaps.includes(part.name)) throw refuse(`memory is swapped to ${part.name}`);
    if (part.holders.length > 0) throw refuse(`${part.holders.join(", ")} is made of ${part.name}`);
  }
  await checkNotSystem("make file system on", path, device, signal);
}

/** Throws FAILED_PRECONDITION for a device on the disk that the system is on: its content is protected by other names. */
export async function checkNotSystem(
  act: string,
  path: string,
  device: BlockDevice,
  signal: AbortSignal,
): Promise<void> {
  const mounted = new Map(mounts().map((mount) => [mount.device, mount.path]));
  for (const part of partsOf(device.disk)) {
    const { label } = await probe(`/dev/${part.name}`, signal);
    const system =
      [part.partitionLabel, part.serial, label].some(isSystemName) || isSystemMount(mounted.get(part.number));
    if (system) throw refused(act, path, `the system is on ${device.disk} (${part.name})`);
  }
}

/** Partitions, disks and file systems of the image are named so. */
const isSystemName = (label: string) => label.toLowerCase().startsWith("aios-");

const isSystemMount = (path: string | undefined) =>
  path === "/" || (path !== undefined && /^\/(boot|mnt|usr|var|etc|home)(\/|$)/.test(path));

/** The words of blkid about a device; "" when it is blank. */
async function contentOf(device: string, signal: AbortSignal): Promise<string> {
  const { kind, table } = await probe(device, signal);
  return kind !== "" ? kind : table === "" ? "" : `a partition table (${table})`;
}

/** Reads the kind of file system from a device, since no udev keeps a record. All empty when it is blank. */
export async function probe(device: string, signal: AbortSignal) {
  const { exitCode, stdout } = await runProgram(["blkid", "-p", "-o", "export", device], { signal });
  const word = (name: string) => new RegExp(`^${name}=(.*)$`, "m").exec(stdout)?.[1] ?? "";
  // 8 is "more than one is possible".
  const kind = exitCode === 8 ? "more than one kind of file system" : word("TYPE");
  return { kind, table: word("PTTYPE"), label: word("LABEL"), uuid: word("UUID") };
}
