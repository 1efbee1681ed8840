import type { Protection } from "../protection.ts";
import type { Tool } from "../tool.ts";
import { containerTools } from "./container/containers.ts";
import { imageTools } from "./container/images.ts";
import { openPodman } from "./container/podman.ts";
import type { Outbound } from "./outbound.ts";

/** Containers, by podman where it is installed. `state` is the machine's folder for what is kept. */
export function containers(state: string, protection: Protection, outbound: Outbound): readonly Tool[] {
  const podman = openPodman(`${state}/containers`);
  return [...imageTools(podman, outbound), ...containerTools(podman, protection, outbound)];
}
