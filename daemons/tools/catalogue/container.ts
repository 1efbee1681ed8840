import type { Holding } from "../holding.ts";
import type { Protection } from "../protection.ts";
import type { Tool } from "../tool.ts";
import { containerTools } from "./container/containers.ts";
import { imageTools } from "./container/images.ts";
import { openPodman } from "./container/podman.ts";
import type { Outbound } from "./outbound.ts";

export interface ContainerWorld {
  /** The machine's folders: what is kept lies in the state's. */
  readonly paths: { readonly state: string };
  readonly protection: Protection;
  readonly outbound: Outbound;
  readonly holding: Holding;
}

/** Containers, by podman where it is installed. */
export function containers({ paths, protection, outbound, holding }: ContainerWorld): readonly Tool[] {
  const podman = openPodman(`${paths.state}/containers`);
  holding.add("containers", (held) => podman.hold(held));
  return [...imageTools(podman, outbound), ...containerTools(podman, protection, outbound)];
}
