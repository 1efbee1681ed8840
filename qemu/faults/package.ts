import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { mkdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { makeVolume } from "../disks.ts";

/** A package that depends on nothing, of so many small files that its unpacking takes a while. */
export const packageName = "aios-many-files";
/** What is there when it is installed whole. */
export const packageMark = `/usr/share/${packageName}/configured`;
const files = 400;

/** Where the data volume shows the archive in the machine. */
const place = "/home/archive";

/** What apt must read to find the package on the machine. */
export const packageSource = `deb [trusted=yes] file:${place} ./\n`;

const env = { PATH: "/usr/sbin:/sbin:/usr/bin:/bin", SOURCE_DATE_EPOCH: "0" };

/** Makes a data disk, an ext4 image of `bytes` at `path`, that holds an archive with the package. Needs dpkg and e2fsprogs. */
export function makeDiskWithPackage(path: string, bytes: number): void {
  const work = `${path}.work`;
  const archive = join(work, "data", place);
  const tree = join(work, "tree");
  const share = join(tree, "usr/share", packageName);
  for (const folder of [archive, share, join(tree, "DEBIAN")]) mkdirSync(folder, { recursive: true });
  for (let at = 0; at < files; at++) writeFileSync(join(share, `file-${at}`), `${at}\n`.repeat(100));
  const control = [
    `Package: ${packageName}`,
    "Version: 1.0",
    "Architecture: all",
    "Maintainer: aiOS <aios@localhost>",
    "Description: many small files",
  ];
  writeFileSync(join(tree, "DEBIAN/control"), `${control.join("\n")}\n`);
  const script = (name: string, line: string) =>
    writeFileSync(join(tree, "DEBIAN", name), `#!/bin/sh\nset -e\n${line}\n`, { mode: 0o755 });
  script("postinst", `echo yes > ${packageMark}`);
  script("prerm", `rm -f ${packageMark}`);
  const deb = join(archive, `${packageName}.deb`);
  execFileSync("dpkg-deb", ["--root-owner-group", "--build", tree, deb], { env, stdio: "pipe" });
  const listed = [
    ...control,
    `Filename: ./${packageName}.deb`,
    `Size: ${statSync(deb).size}`,
    `SHA256: ${hash("sha256", readFileSync(deb), "hex")}`,
  ];
  writeFileSync(join(archive, "Packages"), `${listed.join("\n")}\n`);
  makeVolume(path, bytes, join(work, "data"), 0);
  rmSync(work, { recursive: true, force: true });
}
