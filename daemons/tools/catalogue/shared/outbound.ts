/**
 * Nothing leaves a machine that says so. With `network.allow_outbound = false` every tool that would connect, fetch or
 * lend a network refuses hosts that are not the machine, without asking a name server about them. apt is asked first
 * which addresses it would fetch from.
 */
import { isIP } from "node:net";
import { hostname } from "node:os";
import type { Config } from "#lib/config/config";
import { effectiveConfig } from "#lib/config/effective";
import { AiosError, errnoOf } from "#lib/errors";
import { addressesOf, ownAddresses, reachOf, spelled } from "./addresses.ts";

/** `network.allow_outbound` of config.toml: whether tools may let anything leave the machine, whoever calls them. */
export interface Outbound {
  allowed(): boolean;
  /**
   * Throws FAILED_PRECONDITION for a host that is not this machine while nothing may leave it. A name is not looked up for
   * that: to ask for it would leave the machine too.
   */
  check(act: string, host: string): void;
}

/** The network's part of the configuration in effect; undefined when init has left none. */
export function networkSettings(run: string): Config["network"] | undefined {
  try {
    return effectiveConfig(run).network;
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}

/** Read at each call: a machine without a configuration in effect lets nothing out. */
export function openOutbound(run: string): Outbound {
  const allowed = () => networkSettings(run)?.allow_outbound === true;
  return {
    allowed,
    check: (act, host) => {
      if (isSelf(host) || allowed()) return;
      throw new AiosError("FAILED_PRECONDITION", {
        act,
        object: host,
        reason: "network.allow_outbound is false, and that is not this machine",
        next: "an operator sets it in /etc/aios/config.toml",
      });
    },
  };
}

function isSelf(host: string): boolean {
  if (isIP(host) !== 0) return ["loopback", "own"].includes(reachOf(host));
  return host === "localhost" || host.endsWith(".localhost") || host === hostname();
}

/**
 * The addresses of `host` that a caller may reach: public ones, and others as far as it was granted `net:local:ADDRESS`.
 * They are what must be connected to: looked up again, a name can say something else. Throws PERMISSION_DENIED when none is left.
 */
export async function reachable(
  host: string,
  permits: (capability: string) => boolean,
  outbound: Outbound,
  signal: AbortSignal,
): Promise<readonly string[]> {
  outbound.check("connect to", host);
  const found = await addressesOf(host, signal);
  const own = ownAddresses();
  const may = found.filter((address) => reachOf(address, own) === "public" || permits(localCapability(address)));
  if (may.length > 0) return may;
  const [first = ""] = found;
  throw new AiosError("PERMISSION_DENIED", {
    act: "connect to",
    object: host,
    reason: `${host === first ? "it" : first} is not on the public network (${reachOf(first, own)})`,
    next: `it needs a grant of ${localCapability(first)}`,
  });
}

/** The grant that an address needs which is not public, beside the rest. */
const localCapability = (address: string) => `net:local:${spelled(address)}`;
