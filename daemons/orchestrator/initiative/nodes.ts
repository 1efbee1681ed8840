import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";

/** Another machine that offers to work along. Known while it is heard of; it says again who it is after a restart of this one. */
interface Node {
  readonly id: string;
  readonly hostname: string;
  readonly address: string;
  readonly agents: readonly string[];
  readonly cpuUsage: number;
  readonly memoryUsage: number;
  readonly activeTasks: number;
  readonly healthy: boolean;
}

export interface Nodes {
  register(node: Pick<Node, "id" | "hostname" | "address" | "agents">): void;
  /** Throws NOT_FOUND for one that is not registered. */
  beat(id: string, load: Pick<Node, "cpuUsage" | "memoryUsage" | "activeTasks">): void;
  list(withDead: boolean): Node[];
}

/** Silence after which a node is not healthy, and that after which it is forgotten. */
export const nodeSilentMs = 30_000;
const forgottenAfterMs = 86_400_000;
const nodesMax = 100;

export function openNodes(clock: Clock): Nodes {
  const nodes = new Map<string, Omit<Node, "healthy"> & { readonly heardAt: number }>();
  const silentMs = ({ heardAt }: { heardAt: number }) => clock.monotonic() - heardAt;
  return {
    register(node) {
      for (const [id, known] of nodes) if (silentMs(known) > forgottenAfterMs) nodes.delete(id);
      if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(node.id)) {
        throw new AiosError("INVALID_ARGUMENT", "register node: node_id: 1 to 64 letters, digits, dots, dashes");
      }
      if (node.agents.length > 64) throw new AiosError("INVALID_ARGUMENT", "register node: agents: at most 64");
      if (!nodes.has(node.id) && nodes.size >= nodesMax) {
        throw new AiosError("RESOURCE_EXHAUSTED", `register node ${node.id}: ${nodesMax} nodes are known`);
      }
      nodes.set(node.id, { ...node, cpuUsage: 0, memoryUsage: 0, activeTasks: 0, heardAt: clock.monotonic() });
    },
    beat(id, load) {
      const known = nodes.get(id);
      if (known === undefined) throw new AiosError("NOT_FOUND", `beat for node ${id}: not registered; register it`);
      nodes.set(id, { ...known, ...load, heardAt: clock.monotonic() });
    },
    list: (withDead) =>
      [...nodes.values()]
        .map(({ heardAt, ...node }) => ({ ...node, healthy: silentMs({ heardAt }) <= nodeSilentMs }))
        .filter(({ healthy }) => healthy || withDead),
  };
}
