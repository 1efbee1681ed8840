import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { release } from "../archive/apt-sources.ts";
import { packagesLock, parseLock } from "../archive/lock.ts";
import { type Archive, fetchIndex, fetchPackage } from "../archive/sources.ts";
import { inBuildRoot } from "../build-root.ts";
import { removeTree } from "../files.ts";
import { manualText } from "../manual-text.ts";
import type { Step, StepWork } from "../step.ts";

/**
 * Manual pages that tell agents how to use what the image carries, by the package they are from. All are under licences that
 * let them be passed on with the program itself: GPL-2 and later (coreutils GPL-3), LGPL-2, BSD; none is under the GFDL.
 */
const pages: Readonly<Record<string, readonly string[]>> = {
  iproute2: ["ip.8", "ip-address.8", "ip-link.8", "ip-route.8", "ip-neighbour.8", "ip-rule.8", "ss.8", "bridge.8"],
  e2fsprogs: ["mke2fs.8", "e2fsck.8", "resize2fs.8", "tune2fs.8", "dumpe2fs.8", "chattr.1", "lsattr.1"],
  mount: ["mount.8", "umount.8", "losetup.8", "swapon.8"],
  "util-linux": [
    "findmnt.8",
    "lsblk.8",
    "blkid.8",
    "dmesg.1",
    "lscpu.1",
    "flock.1",
    "nsenter.1",
    "unshare.1",
    "wipefs.8",
  ],
  coreutils: [
    ...["ls.1", "cp.1", "mv.1", "rm.1", "mkdir.1", "ln.1", "stat.1", "df.1", "du.1", "dd.1", "chmod.1", "chown.1"],
    ...["sha256sum.1", "sort.1", "head.1", "tail.1", "wc.1", "cut.1", "tr.1", "date.1", "timeout.1", "tee.1"],
  ],
  kmod: ["modprobe.8", "lsmod.8", "modinfo.8", "rmmod.8"],
  bubblewrap: ["bwrap.1"],
  apt: ["apt-get.8", "apt-cache.8"],
  dpkg: ["dpkg.1", "dpkg-query.1"],
};

/** Of a page, characters: what it is for and its main options come first. */
const lengthMax = 3_000;

/** Some manual pages as plain text (`manuals.json`), in the versions of rootfs/packages.lock. The root itself carries none. */
export function manualsStep(archive: Archive): Step {
  return {
    name: "manuals",
    modules: [import.meta.filename],
    files: [packagesLock],
    params: { release, mirror: { ...archive.mirror } },
    needs: ["buildroot"],
    run: async (work) => {
      const folder = join(work.out, "scratch");
      mkdirSync(folder);
      const buildRoot = join(work.need("buildroot"), "tree");
      const download = { buildRoot, folder, aptOptions: archive.aptOptions, log: work.log };
      await fetchIndex(download);
      const locked = parseLock(packagesLock, readFileSync(join(work.repository, packagesLock), "utf8"));
      const manuals = [];
      for (const [index, [name, wanted]] of Object.entries(pages).entries()) {
        work.log.line(`${index} of ${Object.keys(pages).length} packages`);
        const version = locked.find((each) => each.name === name);
        if (version === undefined)
          throw new Error(`${name} is not in ${packagesLock}: take it out of image/steps/manuals.ts`);
        await fetchPackage(download, version);
        manuals.push(...(await pagesOf(work, folder, name, wanted)));
      }
      removeTree(folder);
      writeFileSync(join(work.out, "manuals.json"), JSON.stringify(manuals));
    },
  };
}

/** The wanted pages of a package that was downloaded to `folder`. */
async function pagesOf(work: StepWork, folder: string, name: string, wanted: readonly string[]) {
  const unpack = 'mkdir -p "/out/$1" && dpkg-deb --fsys-tarfile "/out/$1"_*.deb | tar -x -C "/out/$1" ./usr/share/man';
  const mounts = [{ from: folder, at: "/out" }];
  await inBuildRoot(join(work.need("buildroot"), "tree"), ["sh", "-ec", unpack, "sh", name], mounts, { log: work.log });
  return wanted.map((page) => {
    const section = page.slice(page.lastIndexOf(".") + 1);
    const place = join(folder, name, "usr/share/man", `man${section}`);
    const file = readdirSync(place).find((entry) => entry === `${page}.gz`);
    if (file === undefined)
      throw new Error(`${name} has no manual page ${page}: take it out of image/steps/manuals.ts`);
    const text = manualText(gunzipSync(readFileSync(join(place, file))).toString("utf8"));
    return { name: `${page.slice(0, -2)}(${section})`, text: shortened(text), package: name };
  });
}

/** Cut at the end of a line. */
function shortened(text: string): string {
  return text.length <= lengthMax ? text : text.slice(0, text.lastIndexOf("\n", lengthMax));
}
