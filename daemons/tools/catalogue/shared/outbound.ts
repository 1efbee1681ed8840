import { isIP } from "node:net";
import { hostname } from "node:os";
import type { Config } from "#lib/config/config";
import { effectiveConfig } from "#lib/config/effective";
import { AiosError, errnoOf } from "#lib/errors";
import { reachOf } from "./addresses.ts";

/** `network.allow_outbound` of config.toml: whether tools may let anything leave the machine, whoever calls them. */
export interface Outbound {
  allowed(): boolean;
  /**
   * Throws FAILED_PRECONDITION for a host that is not this machine while nothing may leave it. A name is not looked up for
   * that: to ask for it would leave the machine too.
   */
  check(act: string, host: string): void;
}

/** What is said of the network in the configuration in effect; undefined when init has left none. */
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
