import { spawnSync } from "node:child_process";
import { parseArgs } from "node:util";
import { messageOf } from "#lib/errors";
import { relock } from "./archive/relock.ts";
import {
  buildImage,
  defaultDiskSizeMiB,
  explainImage,
  type ImageRequest,
  imageSettings,
  interrupted,
} from "./image.ts";
import { type Target, targets } from "./plan.ts";
import { printPlan, printReport } from "./print.ts";
import { type Profile, profiles } from "./profile.ts";
import { tellBuild } from "./progress/index.ts";
import { verifyReproducible } from "./reproducible.ts";

const help = `Builds the image of a machine: kernel, root file system, disk. Steps whose inputs did not change are taken from the cache.

  npm run image -- [options]

  --profile ${profiles.join("|")}   what for (default qemu: small and quick; metal knows real hardware)
  --only TARGET          ${Object.keys(targets).join(", ")} and what they need (default: all)
  --plan                 say what would run and why, and run nothing
  --json                 the plan, or out/build.json, on standard output; what happens as JSON, a line each, on standard error
  --disk-size MIB        size of disk.img (default ${defaultDiskSizeMiB}; sparse)
  --models FILE          a manifest (models.toml) of models to carry: files by path, or addresses with their SHA-256
  --cuda FOLDER          carry llama.cpp's back end for CUDA and CUDA's libraries from there (see README)
  --relock               take the mirror's packages of today and write them into the locks
  --allow-drift          build with today's packages where the mirror no longer has the locked ones
  --verify-reproducible  build root and disk twice, without the cache, and compare the bytes
  --reuse STEP           with --verify-reproducible: take this step from the cache (packages: spares the downloads)
  --help

Settings: AIOS_CACHE_DIR (default ~/.cache/aios), AIOS_MIRROR (default: the host's apt sources).

Examples:
  npm run image                          everything for QEMU, into out/
  npm run image -- --plan                what an edit made stale
  npm run image -- --profile metal       a disk to flash: dd if=out/disk.img of=/dev/DISK bs=4M conv=sparse
  npm run image -- --only vmlinuz        the kernel alone
  npm run image -- --models my.toml      with models of your own, each a [[model]] with name and path or url
`;

const { values } = parseArgs({
  options: {
    profile: { type: "string", default: "qemu" },
    only: { type: "string", multiple: true },
    plan: { type: "boolean", default: false },
    json: { type: "boolean", default: false },
    "disk-size": { type: "string", default: String(defaultDiskSizeMiB) },
    models: { type: "string" },
    cuda: { type: "string" },
    relock: { type: "boolean", default: false },
    "allow-drift": { type: "boolean", default: false },
    "verify-reproducible": { type: "boolean", default: false },
    reuse: { type: "string", multiple: true, default: [] },
    help: { type: "boolean", default: false },
  },
});

function oneOf<T extends string>(option: string, value: string, allowed: readonly T[]): T {
  const found = allowed.find((each) => each === value);
  if (found === undefined) throw new Error(`--${option} ${value}: expected one of ${allowed.join(", ")}`);
  return found;
}

async function main(): Promise<void> {
  const all = Object.keys(targets) as Target[];
  const request: ImageRequest = {
    profile: oneOf<Profile>("profile", values.profile, profiles),
    targets: (values.only ?? all).map((name) => oneOf<Target>("only", name, all)),
    allowDrift: values["allow-drift"],
    diskSizeMiB: Number(values["disk-size"]),
    ...(values.models !== undefined && { models: values.models }),
    ...(values.cuda !== undefined && { cuda: values.cuda }),
  };
  const stop = new AbortController();
  for (const signal of ["SIGINT", "SIGTERM", "SIGHUP"] as const) process.once(signal, () => stop.abort(interrupted()));
  const settings = { ...imageSettings(process.env), stop: stop.signal };
  const tell = tellBuild(process.stderr, values.json);
  if (values.plan) return printPlan(await explainImage(request, settings), values.json);
  if (values.relock) return relock(request, settings, tell);
  if (values["verify-reproducible"]) return verifyReproducible(request, settings, tell, values.reuse);
  const { report } = await buildImage(request, settings, tell);
  printReport(report, values.json);
}

/** Building takes root's rights; a user who has sudo need not type it. */
function underSudo(): never {
  const keep = ["AIOS_CACHE_DIR", "AIOS_MIRROR"].flatMap((name) => {
    const value = process.env[name];
    return value === undefined ? [] : [`${name}=${value}`];
  });
  const argv = [
    `HOME=${process.env["HOME"] ?? "/root"}`,
    `PATH=${process.env["PATH"] ?? ""}`,
    ...keep,
    ...process.argv,
  ];
  const { status, error } = spawnSync("sudo", ["env", ...argv], { stdio: "inherit" });
  if (error !== undefined) console.error(`build an image: only root may, and sudo does not start (${error.message})`);
  process.exit(status ?? 1);
}

if (values.help) console.log(help);
else if (process.getuid?.() !== 0 && !values.plan) underSudo();
else
  await main().catch((error: unknown) => {
    console.error(messageOf(error));
    process.exitCode = 1;
  });
