import { readdir, readFile, readlink } from "node:fs/promises";
import { errnoOf } from "#lib/errors";
import { spelled } from "./addresses.ts";

/** Sockets as /proc/net tells of them. */
interface Connection {
  readonly protocol: "tcp" | "tcp6" | "udp" | "udp6";
  readonly localAddress: string;
  readonly localPort: number;
  readonly remoteAddress: string;
  readonly remotePort: number;
  readonly state: string;
  readonly inode: string;
}

const protocols = ["tcp", "tcp6", "udp", "udp6"] as const;

/** By the kernel's numbers; a UDP socket that is bound to no peer says 7. */
const states = ["established", "syn_sent", "syn_received", "fin_wait_1", "fin_wait_2", "time_wait", "closed"].concat([
  "close_wait",
  "last_ack",
  "listening",
  "closing",
]);

/** The internet sockets of the machine. */
export async function readConnections(proc: string): Promise<Connection[]> {
  const all = await Promise.all(
    protocols.map(async (protocol) => {
      const lines = (await textOf(`${proc}/net/${protocol}`)).split("\n").slice(1);
      return lines.filter((line) => line.trim() !== "").map((line) => parse(line, protocol));
    }),
  );
  return all.flat();
}

function parse(line: string, protocol: Connection["protocol"]): Connection {
  const [, local = "", remote = "", state = "", , , , , , inode = ""] = line.trim().split(/\s+/);
  const [localAddress = "", localPort = "0"] = local.split(":");
  const [remoteAddress = "", remotePort = "0"] = remote.split(":");
  return {
    protocol,
    localAddress: addressOf(localAddress),
    localPort: Number.parseInt(localPort, 16),
    remoteAddress: addressOf(remoteAddress),
    remotePort: Number.parseInt(remotePort, 16),
    state: protocol.startsWith("udp") && state === "07" ? "bound" : (states[Number.parseInt(state, 16) - 1] ?? state),
    inode,
  };
}

/** The kernel prints words of 32 bits as the processor has them: on these machines the lowest byte first. */
function addressOf(hex: string): string {
  const words = Buffer.from(hex, "hex");
  for (let at = 0; at < words.length; at += 4) words.subarray(at, at + 4).reverse();
  if (words.length === 4) return words.join(".");
  return spelled((words.toString("hex").match(/.{4}/g) ?? []).join(":"));
}

/** The processes that hold sockets, by the sockets' inodes. One process stands for those that share it. */
export async function holdersOf(
  proc: string,
  signal: AbortSignal,
): Promise<Map<string, { pid: number; program: string }>> {
  const holders = new Map<string, { pid: number; program: string }>();
  for (const pid of (await readdir(proc)).filter((name) => /^\d+$/.test(name))) {
    signal.throwIfAborted();
    for (const inode of await socketsOf(`${proc}/${pid}/fd`))
      if (!holders.has(inode))
        holders.set(inode, { pid: Number(pid), program: (await textOf(`${proc}/${pid}/comm`)).trim() });
  }
  return holders;
}

async function socketsOf(folder: string): Promise<string[]> {
  const links = await Promise.all((await listOf(folder)).map((name) => readlink(`${folder}/${name}`).catch(() => "")));
  return links.flatMap((link) => /^socket:\[(\d+)\]$/.exec(link)?.[1] ?? []);
}

/** Processes come and go while they are looked at. */
async function listOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (["ENOENT", "ESRCH", "EACCES"].includes(errnoOf(error) ?? "")) return [];
    throw error;
  }
}

async function textOf(path: string): Promise<string> {
  try {
    return await readFile(path, "utf8");
  } catch (error) {
    // A kernel without IPv6, or a process that has ended.
    if (["ENOENT", "ESRCH"].includes(errnoOf(error) ?? "")) return "";
    throw error;
  }
}
