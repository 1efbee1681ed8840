/**
 * The tools that make images come from a trixie build root, so that two hosts make the same bytes. Kernel and root have
 * fixed time stamps and identifiers; `npm run image -- --verify-reproducible` builds twice and compares.
 */
import { mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { keyring, release, sourceLines } from "../archive/apt-sources.ts";
import type { Archive } from "../archive/sources.ts";
import { command } from "../command.ts";
import type { Step } from "../step.ts";

/** Everything that the other steps run. The host itself lends mmdebstrap, once, and nothing else. */
const packages = [
  // the kernel
  ...["gcc", "make", "libc6-dev", "flex", "bison", "bc", "libelf-dev", "libssl-dev", "perl", "kmod", "cpio"],
  // archives and compressors
  ...["xz-utils", "zstd", "lz4"],
  // root file system and disk
  ...["mmdebstrap", "debian-archive-keyring", "ca-certificates", "binutils", "erofs-utils", "e2fsprogs"],
  ...["grub-efi-amd64-bin", "grub-common", "gdisk", "dosfstools", "mtools"],
];

/** Documentation and translations are half of a small Debian and no tool reads them. */
const leftOut = ["/usr/share/man/*", "/usr/share/doc/*", "/usr/share/locale/*", "/usr/share/info/*"];

/** A Debian release in a folder (`tree/`) that holds every tool which makes the image, so that the host's versions do not matter. */
export function buildrootStep(archive: Archive): Step {
  return {
    name: "buildroot",
    modules: [import.meta.filename],
    files: [],
    params: { release, packages, leftOut, sources: sourceLines(archive.mirror) },
    needs: [],
    run: async ({ out, log }) => {
      const tree = join(out, "tree");
      const options = ['Apt::Install-Recommends "false";', ...archive.aptOptions].map((option) => `--aptopt=${option}`);
      const excludes = leftOut.map((path) => `--dpkgopt=path-exclude=${path}`);
      const argv = [
        "mmdebstrap",
        "--verbose",
        "--mode=root",
        "--variant=apt",
        "--architectures=amd64",
        `--keyring=${keyring}`,
      ];
      const what = [`--include=${packages.join(",")}`, release, tree, ...sourceLines(archive.mirror)];
      await command([...argv, ...options, ...excludes, ...what], { log });
      for (const folder of ["src", "build", "in", "out"]) mkdirSync(join(tree, folder));
      // A mount point for the host's own, which may change while this build root lives.
      rmSync(join(tree, "etc/resolv.conf"), { force: true });
      writeFileSync(join(tree, "etc/resolv.conf"), "");
    },
  };
}
