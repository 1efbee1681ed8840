import { mkdirSync, readdirSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { additionsTo, fetchIndex, fetchNewest, hostArchive } from "../../image/archive/sources.ts";
import { buildImage, type ImageSettings, imageSettings } from "../../image/image.ts";
import { openStepLog } from "../../image/log.ts";
import { makeVolume } from "../disks.ts";
import type { Fleet, FleetSpec } from "./fleet.ts";

/** Where the data volume shows the archive in the machine. */
export const archive = "/home/archive";

/** `spec` with a data volume that holds an archive of these packages: a folder in the native lane, a disk in QEMU. */
export async function withArchive(fleet: Fleet, spec: FleetSpec, packages: readonly string[]): Promise<FleetSpec> {
  const folder = fleet.folder(spec.name);
  const data = join(folder, "data");
  await makeArchive(join(data, "home", "archive"), packages, fleet.images.rootTree, imageSettings(process.env));
  if (spec.lane === "native") return { ...spec, data: "folder" };
  const disk = join(folder, "data.ext4");
  mkdirSync(dirname(disk), { recursive: true });
  makeVolume(disk, 2 ** 30, data);
  return { ...spec, data: disk };
}

/**
 * Makes a small Debian archive in `folder`: these packages and what the image lacks of their dependencies, as the mirror
 * has them for the image's release, with the list that apt reads. Returns the names of all.
 */
export async function makeArchive(
  folder: string,
  names: readonly string[],
  rootTree: string,
  settings: ImageSettings,
): Promise<string[]> {
  const work = `${folder}.work`;
  for (const path of [folder, work]) mkdirSync(path, { recursive: true });
  const log = openStepLog(work, "archive");
  try {
    const { buildRoot } = await buildImage({ profile: "qemu", targets: ["buildroot"] }, settings);
    const { aptOptions } = await hostArchive(settings.mirror);
    const download = { buildRoot, folder: work, aptOptions, log };
    await fetchIndex(download);
    const all = await additionsTo(download, rootTree, names);
    const records = await fetchNewest(download, all);
    const debs = readdirSync(work).filter((file) => file.endsWith(".deb"));
    for (const file of debs) renameSync(join(work, file), join(folder, file));
    writeFileSync(join(folder, "Packages"), records.map((record) => listed(record, debs)).join("\n"));
    return all;
  } finally {
    log.close();
    rmSync(work, { recursive: true, force: true });
  }
}

/** A package's record with its file where the archive has it. */
function listed(record: string, debs: readonly string[]): string {
  const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(record)?.[1] ?? "";
  const file = debs.find((deb) => deb.startsWith(`${field("Package")}_`));
  if (file === undefined) throw new Error(`apt fetched no ${field("Package")}`);
  return `${record.trim().replace(/^Filename: .*$/m, `Filename: ./${file}`)}\n`;
}
