/** Tools of container: containers and their images, by podman where it is installed. For the catalogue. */
import type { Protection } from "../../access/index.ts";
import type { Holding } from "../../pipeline/index.ts";
import type { Tool } from "../../tool.ts";
import type { Outbound } from "../shared/index.ts";
import { containersTools } from "./containers.ts";
import { imageTools } from "./images.ts";
import { openPodman } from "./podman.ts";

interface ContainerWorld {
  /** The machine's folders: what is kept lies in the state's. */
  readonly paths: { readonly state: string };
  readonly protection: Protection;
  readonly outbound: Outbound;
  readonly holding: Holding;
}

export function containerTools({ paths, protection, outbound, holding }: ContainerWorld): readonly Tool[] {
  const podman = openPodman(`${paths.state}/containers`);
  holding.add("containers", (held) => podman.hold(held));
  return [...imageTools(podman, outbound), ...containersTools(podman, protection, outbound)];
}
