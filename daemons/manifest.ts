/**
 * The daemons of the machine: one list, read by init (boot), image (bundling, users) and qemu (asserting).
 * This file imports nothing.
 */

/** What starts a unit again when it has ended. */
type Restart = "always" | "never";

export interface DaemonSpec {
  readonly name: string;
  /** The daemons that must be ready before this one is started. */
  readonly needs: readonly string[];
  /** The boot phase that waits for it. */
  readonly phase: "runtime" | "core";
  readonly restart: Restart;
  /** A name in {@link users}. */
  readonly user: UserName;
  /** Agents reach it: it listens on one socket per agent beside those of daemons/reach.ts. */
  readonly servesAgents: boolean;
  /** Folders of its own in /var/lib/aios: init makes them, owned by its user and closed to others (0700). */
  readonly folders: readonly string[];
  /**
   * Time from start to its first answer after which it is taken for hung and started again. Ten times what the slowest takes
   * under TCG on a quiet machine: to start again what is slow makes it slower.
   */
  readonly readyTimeoutMs: number;
  readonly limits: { readonly memoryMiB: number; readonly pids: number };
  /** What its own heap may grow to, MiB; V8's own measure when absent. */
  readonly heapMiB?: number;
  /** It puts what it starts into control groups of their own, below its own (AIOS_GROUP); its limits hold for all together. */
  readonly makesGroups?: true;
  /** Threads that wait for disks (UV_THREADPOOL_SIZE); Node's own number, 4, when absent. */
  readonly diskThreads?: number;
}

/** Accounts of the image beside Debian's own. Numbers are part of the data on disk: never renumber. */
export const users = {
  root: { uid: 0, gid: 0 },
  "aios-runtime": { uid: 901, gid: 901 },
  "aios-memory": { uid: 902, gid: 902 },
  "aios-gateway": { uid: 903, gid: 903 },
  "aios-console": { uid: 904, gid: 904 },
  "aios-agent-system": { uid: 921, gid: 921 },
  "aios-agent-network": { uid: 922, gid: 922 },
  "aios-agent-security": { uid: 923, gid: 923 },
  "aios-agent-monitor": { uid: 924, gid: 924 },
  "aios-agent-package": { uid: 925, gid: 925 },
  "aios-agent-storage": { uid: 926, gid: 926 },
  "aios-agent-task": { uid: 927, gid: 927 },
  "aios-agent-dev": { uid: 928, gid: 928 },
} as const satisfies Record<string, { uid: number; gid: number }>;

export type UserName = keyof typeof users;

const daemon = (spec: Pick<DaemonSpec, "name" | "user"> & Partial<DaemonSpec>): DaemonSpec => ({
  needs: [],
  phase: "core",
  restart: "always",
  servesAgents: false,
  folders: [],
  readyTimeoutMs: 180_000,
  limits: { memoryMiB: 512, pids: 64 },
  ...spec,
});

export const daemons: readonly DaemonSpec[] = [
  daemon({
    name: "runtime",
    user: "aios-runtime",
    phase: "runtime",
    folders: ["runtime"],
    limits: { memoryMiB: 65_536, pids: 256 },
    heapMiB: 1024,
  }),
  daemon({
    name: "memory",
    user: "aios-memory",
    folders: ["memory", "vectors"],
    limits: { memoryMiB: 2048, pids: 128 },
    heapMiB: 1024,
  }),
  daemon({
    name: "tools",
    user: "root",
    servesAgents: true,
    folders: ["ledger"],
    limits: { memoryMiB: 2048, pids: 1024 },
    // Writes that are made durable at the same time share the disk's work; with four threads they queue for it.
    diskThreads: 32,
  }),
  daemon({ name: "gateway", user: "aios-gateway", folders: ["gateway"], heapMiB: 256 }),
  daemon({
    name: "orchestrator",
    user: "root",
    needs: ["memory", "tools"],
    servesAgents: true,
    folders: ["orchestrator"],
    // Its agents are in its group.
    limits: { memoryMiB: 4096, pids: 1024 },
    heapMiB: 1024,
    makesGroups: true,
  }),
  daemon({ name: "console", user: "aios-console", folders: ["console"], heapMiB: 256 }),
];

/**
 * Programs that are bundled beside the daemons: PID 1, the program of the eight agents, a model's worker, the one that asks a
 * GPU's driver, the command line.
 */
export const programs = ["init", "agents", "runtime-worker", "runtime-probe", "ctl"] as const;

/** Where things are on the machine. */
export const layout = {
  run: "/run/aios",
  state: "/var/lib/aios",
  etc: "/etc/aios",
  lib: "/usr/lib/aios",
  log: "/var/log/aios",
  node: "/usr/bin/node",
  init: "/usr/sbin/aios-init",
} as const;

/**
 * What Node is told at the start of every daemon and agent. SIGUSR1 would open its inspector on a port. Trusted certificate
 * authorities are Debian's, read when a connection needs them: Node's own are parsed by a thread of each process that
 * loads node:http2, a fifth of what its start costs.
 */
export const nodeOptions = ["--disable-sigusr1", "--use-openssl-ca"] as const;

/**
 * What V8 is told of a heap. Untold it lets garbage lie until there is several times as much as what is in use, and its nursery
 * grows to 64 MiB; told, it collects sooner, which costs some processor under load.
 */
export const heapOptions = (heapMiB: number) => [`--max-old-space-size=${heapMiB}`, "--max-semi-space-size=4"] as const;

/** What Node is told at the start of a daemon. */
export const nodeArguments = ({ heapMiB }: DaemonSpec): readonly string[] => [
  ...nodeOptions,
  ...(heapMiB === undefined ? [] : heapOptions(heapMiB)),
];

/** The management port (mTLS). */
export const managementPort = 9090;

/** Lines of the serial console that tests and `npm run up` wait for: what init prints, to the letter. */
export const consoleLines = {
  firstJavascript: "aios-init: first JavaScript",
  ready: "aiOS is autonomous",
  degraded: "aiOS is degraded",
  powerOff: "aios-init: file systems unmounted, power off",
} as const;
