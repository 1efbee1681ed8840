import { existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { driftBetween, formatLock, parseLock, requireLocked } from "../archive/lock.ts";
import { type Archive, candidateOf, fetchIndex, fetchPackage } from "../archive/sources.ts";
import { inBuildRoot } from "../build-root.ts";
import { removeTree } from "../files.ts";
import type { Step } from "../step.ts";

/** Debian's source package of the kernel series that the image runs. */
const series = "linux-source-6.12";

export const kernelLock = "kernel-config/source.lock";

/** The kernel's source, unpacked (`linux/`), in the version that kernel-config/source.lock names. */
export function kernelSourceStep(archive: Archive, allowDrift: boolean): Step {
  return {
    name: "kernel-source",
    modules: [import.meta.filename],
    files: [kernelLock],
    params: { series, allowDrift },
    needs: ["buildroot"],
    run: async ({ repository, out, log, need }) => {
      const folder = join(out, "scratch");
      mkdirSync(folder);
      const download = { buildRoot: join(need("buildroot"), "tree"), folder, aptOptions: archive.aptOptions, log };
      const index = await fetchIndex(download);
      const locked = parseLock(kernelLock, readLock(join(repository, kernelLock)));
      if (!allowDrift) requireLocked(kernelLock, locked, index);
      const version = allowDrift ? await candidateOf(download, series) : locked[0]?.version;
      const wanted = index.get(series)?.find((entry) => entry.version === version);
      if (wanted === undefined)
        throw new AiosError("NOT_FOUND", {
          act: "find",
          object: series,
          reason: `neither the mirror nor ${kernelLock} has it`,
          next: "npm run image -- --relock",
        });
      const deb = await fetchPackage(download, wanted);
      await unpack(download.buildRoot, deb, out, log);
      removeTree(folder);
      writeFileSync(join(out, "source.lock"), formatLock([wanted]));
      writeFileSync(join(out, "drift.json"), JSON.stringify(driftBetween(locked, [wanted])));
    },
  };
}

function readLock(path: string): string {
  return existsSync(path) ? readFileSync(path, "utf8") : "";
}

async function unpack(
  buildRoot: string,
  deb: string,
  out: string,
  log: Parameters<Step["run"]>[0]["log"],
): Promise<void> {
  const script = `cd /out/scratch && dpkg-deb --extract "$1" deb && tar -xf deb/usr/src/${series}.tar.xz`;
  const name = `/out/scratch/${deb.split("/").at(-1)}`;
  await inBuildRoot(buildRoot, ["sh", "-ec", script, "sh", name], [{ from: out, at: "/out" }], { log });
  renameSync(join(out, "scratch", series), join(out, "linux"));
}
