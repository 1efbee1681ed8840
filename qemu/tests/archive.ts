import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import { inBuildRoot } from "../../image/build-root.ts";
import { buildImage, type ImageSettings } from "../../image/image.ts";
import { openStepLog } from "../../image/log.ts";
import { candidateOf, fetchIndex, fetchPackage, hostArchive } from "../../image/sources.ts";

/**
 * Makes a small Debian archive in `folder`: these packages in their newest versions, as the mirror has them for the
 * image's release, with the list that apt reads.
 */
export async function makeArchive(folder: string, names: readonly string[], settings: ImageSettings): Promise<void> {
  const work = `${folder}.work`;
  for (const path of [folder, work]) mkdirSync(path, { recursive: true });
  const log = openStepLog(work, "archive");
  try {
    const { buildRoot } = await buildImage({ profile: "qemu", targets: ["buildroot"] }, settings);
    const { aptOptions } = await hostArchive(settings.mirror);
    const download = { buildRoot, folder: work, aptOptions, log };
    const index = await fetchIndex(download);
    const stanzas: string[] = [];
    for (const name of names) {
      const version = await candidateOf(download, name);
      const wanted = index.get(name)?.find((one) => one.version === version);
      if (wanted === undefined) throw new Error(`the mirror has no ${name}`);
      const deb = await fetchPackage(download, wanted);
      const content = readFileSync(deb);
      writeFileSync(join(folder, basename(deb)), content);
      const mounts = [{ from: work, at: "/work" }];
      const control = await inBuildRoot(buildRoot, ["dpkg-deb", "--field", `/work/${basename(deb)}`], mounts, { log });
      const facts = `Filename: ./${basename(deb)}\nSize: ${content.length}\nSHA256: ${hash("sha256", content)}\n`;
      stanzas.push(`${control.trimEnd()}\n${facts}`);
    }
    writeFileSync(join(folder, "Packages"), stanzas.join("\n"));
  } finally {
    log.close();
    rmSync(work, { recursive: true, force: true });
  }
}

/** An ext4 image that holds the folder `from`, for a machine's data disk. */
export function makeDisk(path: string, from: string, bytes: number): void {
  writeFileSync(path, "");
  truncateSync(path, bytes);
  const env = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin" };
  execFileSync("mkfs.ext4", ["-q", "-m", "0", "-d", from, path], { env, stdio: "pipe" });
}
