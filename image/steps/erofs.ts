import { join } from "node:path";
import { epochSeconds, inBuildRoot } from "../build-root.ts";
import type { Profile } from "../profile.ts";
import type { Step } from "../step.ts";

const volume = { uuid: "a105a105-0000-4000-8000-0000000000a0", label: "aios-root" };

/** The root file system as a read-only image (`root.erofs`), the same bytes for the same tree. */
export function erofsStep(profile: Profile): Step {
  return {
    name: `erofs-${profile}`,
    files: ["image/steps/erofs.ts"],
    params: { volume },
    needs: ["buildroot", `root-${profile}`],
    run: async ({ out, need, log }) => {
      const options = [
        "-zlz4hc,9",
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
