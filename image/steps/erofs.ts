import { join } from "node:path";
import { epochSeconds, inBuildRoot } from "../build-root.ts";
import type { Profile } from "../profile.ts";
import type { Step } from "../step.ts";

const volume = { uuid: "a105a105-0000-4000-8000-0000000000a0", label: "aios-root" };

/**
 * Measured with 287 MB in, two idle cores: lz4hc,4 in clusters of 64 KiB makes 133 MB in 1.5 s; lz4hc,9 131 MB in 2.8 s;
 * lz4hc,4 in clusters of 4 KiB 161 MB in 1.1 s; zstd,3 116 MB in 13 s, and it unpacks three times slower. What a boot under
 * TCG costs does not differ between the cluster sizes. So the whole image is made anew each time, and neither a second
 * layer nor an incremental build is needed to have an edited daemon in the image within seconds.
 */
const compression = ["-zlz4hc,4", "-C65536"];

/** The root file system as a read-only image (`root.erofs`), the same bytes for the same tree. */
export function erofsStep(profile: Profile): Step {
  return {
    name: `erofs-${profile}`,
    modules: [import.meta.filename],
    files: [],
    params: { volume, compression },
    needs: ["buildroot", `root-${profile}`],
    run: async ({ out, need, log }) => {
      const options = [
        ...compression,
        `-T${epochSeconds}`,
        "--all-time",
        `-U${volume.uuid}`,
        `-L${volume.label}`,
        "--quiet",
      ];
      const mounts = [
        { from: out, at: "/out" },
        { from: join(need(`root-${profile}`), "tree"), at: "/in" },
      ];
      await inBuildRoot(join(need("buildroot"), "tree"), ["mkfs.erofs", ...options, "/out/root.erofs", "/in"], mounts, {
        log,
      });
    },
  };
}
