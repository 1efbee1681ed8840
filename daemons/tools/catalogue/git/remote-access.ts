import { existsSync } from "node:fs";
import { isIP } from "node:net";
import { AiosError } from "#lib/errors";
import type { Protection } from "../../access/index.ts";
import type { Access } from "../../files/index.ts";
import { hostOf } from "../../names.ts";
import type { ToolCall } from "../../tool.ts";
import { type Confinement, type Outbound, reachable } from "../shared/index.ts";
import { placeOfRepository } from "./git-folders.ts";
import { heededFiles, refused, remoteOf } from "./repository.ts";

/** How git reaches a remote: settings before its command, and what it may touch. */
export interface RemoteAccess {
  readonly url: string;
  readonly settings: readonly string[];
  readonly env: Readonly<Record<string, string>>;
  readonly confine: Confinement;
}

export interface RemoteWorld {
  readonly outbound: Outbound;
  readonly protection: Protection;
  /** The folder of the machine's configuration: below it lies the key for ssh. */
  readonly etc: string;
}

type Asked = Pick<ToolCall<unknown, object>, "caller" | "permits" | "signal">;

/** With these no hook or filter of a repository on this machine runs while another speaks with it. */
export const quietPeer = (service: "upload-pack" | "receive-pack") =>
  `--${service}=git ${peerSettings.map((setting) => `-c ${setting}`).join(" ")} ${service}`;

// A repository on this machine may be of another account's: who may reach it was asked already.
const peerSettings = [
  ...["core.hooksPath=/dev/null", "core.fsmonitor=false", "core.alternateRefsCommand=", "safe.directory=*"],
  "receive.denyCurrentBranch=refuse",
];

/**
 * The way to a remote that the caller may use: its addresses are looked up once, by the rule of every tool that connects, and git
 * connects to what was checked; `access` is what git does to a repository on this machine. Throws PERMISSION_DENIED, and
 * FAILED_PRECONDITION where there is no way.
 */
export async function accessTo(
  given: string,
  access: Exclude<Access, "read">,
  { outbound, protection, etc }: RemoteWorld,
  { caller, permits, signal }: Asked,
): Promise<RemoteAccess> {
  const url = await remoteOf(given);
  if (!permits(`git:remote:${url}`)) throw notGranted(url);
  if (url.startsWith("/")) {
    const [place] = protection.check(url, access, caller);
    if (place !== undefined) throw refused(url, `it is protected: it holds ${place.holds}`);
    return localAccess(url, signal);
  }
  const { protocol, host, port } = partsOf(url);
  outbound.check("connect to", host);
  if (protocol === "ssh") checkSsh(url, etc);
  const [address = ""] = await reachable(host, permits, outbound, signal);
  const bracketed = isIP(address) === 6 ? `[${address}]` : address;
  const network = { url, env: {}, confine: { network: true } };
  if (protocol === "git") {
    const prefix = /^git:\/\/[^/]+\//.exec(url)?.[0] ?? url;
    return { ...network, settings: ["-c", `url.git://${bracketed}:${port || "9418"}/.insteadOf=${prefix}`] };
  }
  if (protocol !== "ssh") {
    const from = port || (protocol === "https" ? "443" : "80");
    return { ...network, settings: isIP(host) === 0 ? ["-c", `http.curloptResolve=${host}:${from}:${bracketed}`] : [] };
  }
  const { key, known } = sshFiles(etc);
  const words = ["ssh", "-F", "/dev/null", "-oBatchMode=yes", "-oIdentitiesOnly=yes", "-oProxyCommand=none"];
  const fixed = [`-oIdentityFile=${key}`, `-oUserKnownHostsFile=${known}`, "-oStrictHostKeyChecking=yes"];
  const env = { GIT_SSH_COMMAND: [...words, ...fixed, `-oHostName=${address}`, `-oHostKeyAlias=${host}`].join(" ") };
  return { url, settings: [], env, confine: { network: true, readable: [key, known] } };
}

async function localAccess(url: string, signal: AbortSignal): Promise<RemoteAccess> {
  const files = await heededFiles(placeOfRepository(url).commonDir, signal);
  return { url, settings: [], env: {}, confine: { files } };
}

/** The files of ssh: no other key or known host is on the machine for it. */
const sshFiles = (etc: string) => ({ key: `${etc}/security/git/key`, known: `${etc}/security/git/known_hosts` });

function checkSsh(url: string, etc: string): void {
  const { key, known } = sshFiles(etc);
  const missing = [key, known].find((path) => !existsSync(path));
  if (missing !== undefined) {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "use remote",
      object: url,
      reason: `ssh needs ${missing}, which is not there`,
      next: "an admin puts a private key and the host's line of known_hosts there; or use https",
    });
  }
  if (existsSync("/usr/bin/ssh")) return;
  const next = 'install it with pkg.install {"name":"openssh-client"}';
  throw new AiosError("FAILED_PRECONDITION", { act: "use remote", object: url, reason: "ssh is not installed", next });
}

function partsOf(url: string): { protocol: string; host: string; port: string } {
  const [, host] = /^[^/@]+@([^/:]+):/.exec(url) ?? [];
  if (host !== undefined && !url.includes("://")) return { protocol: "ssh", host, port: "" };
  const parsed = new URL(url);
  return { protocol: parsed.protocol.slice(0, -1), host: hostOf(parsed), port: parsed.port };
}

function notGranted(url: string): AiosError {
  return new AiosError("PERMISSION_DENIED", {
    act: "use remote",
    object: url,
    reason: "it was not granted",
    next: `it needs a grant of git:remote:${url}`,
  });
}
