import { createHash } from "node:crypto";
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync, statSync } from "node:fs";
import { join, resolve } from "node:path";
import { AiosError } from "#lib/errors";
import { command } from "../command.ts";
import { removeTree } from "../files.ts";
import type { Step, StepWork } from "../step.ts";
import { modulesFolder } from "./modules.ts";

/** Which back ends for GPUs an image carries beside the processor's. */
export interface GpuInputs {
  readonly vulkan: boolean;
  /** The builder's folder for CUDA, absolute, and what it held when the build was planned; absent without one. */
  readonly cuda?: { readonly folder: string; readonly content: string };
}

/** The back end for Vulkan, as npm has it: hash of the package in the version of package.json's @node-llama-cpp/linux-x64. */
const vulkanLock = "image/vulkan.lock";
const vulkanPackage = "@node-llama-cpp/linux-x64-vulkan";
const cudaPackage = "@node-llama-cpp/linux-x64-cuda";

/** What a builder's folder for CUDA must hold: the npm package's content, and the libraries that llama.cpp's back end is linked with. */
const cudaParts = { backend: "backend/bins/linux-x64-cuda/llama-addon.node", libraries: "libraries" } as const;

/** Reads what the builder asks for. Throws NOT_FOUND when the folder for CUDA does not hold what it must. */
export function gpuInputs(vulkan: boolean, cuda: string | undefined): GpuInputs {
  if (cuda === undefined) return { vulkan };
  const folder = resolve(cuda);
  for (const part of Object.values(cudaParts)) {
    if (existsSync(join(folder, part))) continue;
    throw new AiosError("NOT_FOUND", {
      act: "take CUDA from",
      object: folder,
      reason: `it has no ${part}`,
      next: `put the content of the npm package ${cudaPackage} into backend/ and CUDA's libraries (libcudart, libcublas, libcublasLt) into libraries/`,
    });
  }
  return { vulkan, cuda: { folder, content: contentOf(folder) } };
}

/** Names, lengths and times of all files: half a gigabyte is not hashed for each plan. */
function contentOf(folder: string): string {
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).sort();
  const lines = files.map((file) => {
    const { size, mtimeMs } = statSync(join(folder, file));
    return `${file} ${size} ${mtimeMs}`;
  });
  return createHash("sha256").update(lines.join("\n")).digest("hex");
}

/** llama.cpp's back ends for GPUs (`tree/`, as in the root); an empty tree for a profile that has none. */
export function gpuStep(inputs: GpuInputs): Step {
  const { vulkan, cuda } = inputs;
  return {
    name: "gpu",
    modules: [import.meta.filename],
    files: [vulkanLock, "package.json"],
    params: { vulkan, ...(cuda && { cuda: { ...cuda } }) },
    needs: [],
    run: async (work) => {
      const modules = join(work.out, "tree", modulesFolder);
      mkdirSync(modules, { recursive: true });
      if (vulkan) placeBackend(await fetchVulkan(work), join(modules, vulkanPackage));
      removeTree(join(work.out, "npm"));
      if (cuda === undefined) return;
      placeBackend(join(cuda.folder, "backend"), join(modules, cudaPackage));
      cpSync(join(cuda.folder, cudaParts.libraries), join(work.out, "tree/usr/lib/aios/cuda"), { recursive: true });
    },
  };
}

function placeBackend(from: string, to: string): void {
  for (const part of ["package.json", "LICENSE", "bins"]) {
    if (existsSync(join(from, part))) cpSync(join(from, part), join(to, part), { recursive: true, dereference: true });
  }
}

/** Fetches the package with the host's npm and unpacks it. Throws DATA_LOSS when it is not the one that is locked. */
async function fetchVulkan({ repository, out, log }: StepWork): Promise<string> {
  const folder = join(out, "npm");
  mkdirSync(folder);
  const { dependencies } = JSON.parse(readFileSync(join(repository, "package.json"), "utf8")) as {
    dependencies: Record<string, string>;
  };
  const wanted = `${vulkanPackage}@${dependencies["@node-llama-cpp/linux-x64"]}`;
  const [name = "", integrity = ""] = readFileSync(join(repository, vulkanLock), "utf8").trim().split(/\s+/);
  if (name !== wanted) throw notLocked(wanted, `${vulkanLock} is for ${name}`);
  await command(["npm", "pack", wanted, "--pack-destination", folder, "--ignore-scripts", "--silent"], { log });
  const [file = ""] = readdirSync(folder);
  const packed = readFileSync(join(folder, file));
  const found = `sha512-${createHash("sha512").update(packed).digest("base64")}`;
  if (found !== integrity) throw notLocked(wanted, `npm gave ${found}, locked is ${integrity}`);
  await command(["tar", "-xzf", join(folder, file), "-C", folder, "--no-same-owner"], { log });
  return join(folder, "package");
}

function notLocked(wanted: string, reason: string): AiosError {
  return new AiosError("DATA_LOSS", {
    act: "fetch",
    object: wanted,
    reason,
    next: `write "${wanted} $(npm view ${wanted} dist.integrity)" into ${vulkanLock} once you trust it`,
  });
}
