/**
 * What each process of the machine may reach: whom it calls, and for those that are held by the kernel what they read, write
 * and execute. init makes the sockets' folders from it; whoever starts a process holds it by it.
 * This file imports nothing but the manifest.
 */
import { layout } from "#manifest";

/** The daemons that a process calls: each listens for it on a socket of its own. Processes that are not here call none. */
export const calls: Readonly<Record<string, readonly string[]>> = {
  // Starts all, and asks whether they are well.
  init: ["runtime", "memory", "tools", "gateway", "orchestrator", "console"],
  // Vectors and the counting of tokens.
  memory: ["runtime"],
  // The service and system tools.
  tools: ["init"],
  // Budgets that are nearly spent become events.
  gateway: ["memory"],
  orchestrator: ["init", "runtime", "memory", "tools", "gateway"],
  // Passes on what operators call.
  console: ["init", "runtime", "memory", "tools", "gateway", "orchestrator"],
  // A person at the machine's own shell.
  ctl: ["init", "runtime", "memory", "tools", "gateway", "orchestrator"],
};

/** What holds a process (lib/confinement.ts). It executes its own program, and what is said here. */
export interface Held {
  /** Sockets that it may make: any kind, those that are files, or none at all. */
  readonly sockets: "any" | "unix" | "none";
  /** Reads the system's files (/usr, /etc) beside its libraries. */
  readonly system: boolean;
  /** Files and folders that it reads beside these. A process may be given more by who starts it: an agent, its own folder. */
  readonly reads: readonly string[];
  /** Folders that it keeps files in. */
  readonly writes: readonly string[];
  /** Folders that it listens in. */
  readonly listens: readonly string[];
  /** Programs that it starts beside its own; they are held as it is. */
  readonly executes?: readonly string[];
  /** Sets what the kernel keeps of its own children in /proc: who is ended first when memory runs out. */
  readonly setsChildren?: boolean;
}

/** /run/aios has what its files' modes let a process read: the configuration in effect, the name servers. */
const daemon = (name: string, more: Partial<Held> = {}): Held => ({
  sockets: "any",
  system: true,
  listens: [`${layout.run}/${name}`],
  ...more,
  reads: [layout.run, ...(more.reads ?? [])],
  writes: [`${layout.state}/${name}`, ...(more.writes ?? [])],
});

/** Becomes a process that is held more than its parent. */
const setpriv = "/usr/bin/setpriv";
const vectors = `${layout.state}/vectors`;

/** What drivers of GPUs look up beside their libraries; their device files are by mode. */
const gpuDrivers = ["/usr/share/vulkan", "/etc/vulkan", "/usr/share/drirc.d", "/usr/share/nvidia"];

/** Where people and disks keep model files; the models' folder may have links to them. */
const linkedFrom = ["/home", "/srv", "/mnt", "/media"];

/** Not held are init, tools and orchestrator: they change the machine for others, and are root. */
export const held = {
  /** Fetches models, reads their headers, starts a worker for each. */
  runtime: daemon("runtime", {
    reads: linkedFrom,
    writes: [`${layout.state}/models`],
    executes: [setpriv, "/usr/bin/prlimit"],
    setsChildren: true,
  }),
  memory: daemon("memory", { writes: [vectors], executes: [setpriv] }),
  /** Chroma: a server on loopback, whose files are its own. */
  "memory-vectors": { sockets: "any", system: false, reads: [], writes: [vectors], listens: [] },
  /** Speaks to providers. */
  gateway: daemon("gateway"),
  /** Speaks to whoever comes to port 9090. */
  console: daemon("console", { writes: [`${layout.run}/console/own`] }),
  /** Its own folder is given to each. */
  agents: { sockets: "unix", system: true, reads: [`${layout.run}/config.json`], writes: [], listens: [] },
  /** Reads a model that anybody may have made, in C++: the file is given to each. */
  "runtime-worker": { sockets: "none", system: false, reads: gpuDrivers, writes: [], listens: [] },
  /** Runs GPU drivers' code. */
  "runtime-probe": { sockets: "none", system: false, reads: gpuDrivers, writes: [], listens: [] },
} as const satisfies Readonly<Record<string, Held>>;

/** What holds the process of this name; undefined when nothing does. */
export const heldOf = (name: string): Held | undefined => (held as Readonly<Record<string, Held>>)[name];
