import { appendFileSync, existsSync, mkdirSync, readFileSync, renameSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { AiosError } from "#lib/errors";
import { epochSeconds, inBuildRoot } from "../build-root.ts";
import { removeTree } from "../files.ts";
import { demandsOf, mergedLines, unmet } from "../kconfig.ts";
import type { Profile } from "../profile.ts";
import type { Step, StepWork } from "../step.ts";

/**
 * The kernel of the fragments of kernel-config/ (`vmlinuz`), its final configuration (`config`), and for profiles with modules `modules/lib/modules`.
 * Fails when an option that a fragment asks for did not survive.
 */
export function kernelStep(profile: Profile, names: readonly string[]): Step {
  const fragments = names.map((name) => `kernel-config/${name}.config`);
  return {
    name: `kernel-${profile}`,
    modules: [import.meta.filename],
    files: fragments,
    params: { fragments },
    needs: ["buildroot", "kernel-source"],
    run: async (work) => {
      const demands = fragments.flatMap((path) => demandsOf(path, readFileSync(join(work.repository, path), "utf8")));
      const build = join(work.out, "build");
      mkdirSync(build);
      await make(work, "tinyconfig");
      appendFileSync(join(build, ".config"), mergedLines(demands));
      await make(work, "olddefconfig");
      const config = readFileSync(join(build, ".config"), "utf8");
      requireMet(unmet(demands, config));
      await make(work, "bzImage");
      if (config.includes("CONFIG_MODULES=y")) await makeModules(work);
      renameSync(join(build, "arch/x86/boot/bzImage"), join(work.out, "vmlinuz"));
      writeFileSync(join(work.out, "config"), config);
      writeFileSync(join(work.out, "release"), readFileSync(join(build, "include/config/kernel.release")));
      removeTree(build);
    },
  };
}

/** Without these the kernel holds the time, user and host of its build. */
const reproducible = {
  KBUILD_BUILD_TIMESTAMP: new Date(epochSeconds * 1000).toUTCString(),
  KBUILD_BUILD_USER: "aios",
  KBUILD_BUILD_HOST: "aios",
};

async function make({ out, need, log }: StepWork, ...targets: string[]): Promise<void> {
  const mounts = [
    { from: join(need("kernel-source"), "linux"), at: "/src" },
    { from: out, at: "/out" },
  ];
  const argv = ["sh", "-ec", 'exec make -C /src O=/out/build -j"$(nproc)" "$@" >&2', "make", ...targets];
  await inBuildRoot(join(need("buildroot"), "tree"), argv, mounts, { log, env: reproducible });
}

async function makeModules(work: StepWork): Promise<void> {
  await make(work, "modules");
  await make(work, "modules_install", "INSTALL_MOD_PATH=/out/modules", "INSTALL_MOD_STRIP=1");
  const modules = join(work.out, "modules/lib/modules");
  const release = readFileSync(join(work.out, "build/include/config/kernel.release"), "utf8").trim();
  // A link to where it was built, which means nothing on the machine.
  const link = join(modules, release, "build");
  if (existsSync(modules)) removeTree(link);
}

function requireMet(complaints: readonly string[]): void {
  if (complaints.length === 0) return;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "configure",
    object: "the kernel",
    reason: `${complaints.length} options did not survive:\n  ${complaints.join("\n  ")}`,
    next: "name what they depend on in the same fragment, or take them out",
  });
}
