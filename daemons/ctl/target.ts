import { existsSync } from "node:fs";
import { isIPv6 } from "node:net";
import { AiosError } from "#lib/errors";
import { type Access, accessTo, endedMachine, othersThan, readMachines, withPort } from "#lib/identity/machines";
import { connect } from "#lib/rpc/client";
import type { Client, ServiceDefinition } from "#lib/rpc/service";
import { socketPath } from "#lib/rpc/sockets";
import { managementPort } from "#manifest";
import { type Target, UsageError } from "./command.ts";

/** Where the machine asked for is looked for. */
interface Places {
  /** The operator's folder. */
  readonly folder: string;
  /** The folder of the daemons' sockets, for use on the machine itself. */
  readonly run: string;
  /** A machine's name or HOST[:PORT]; else the default one. */
  readonly wanted: string | undefined;
}

/** A machine that is spoken to; `access` is absent on the machine itself. */
export interface Connection extends Target {
  readonly access?: Access;
  close(): void;
}

/**
 * The machine asked for. Throws UsageError when none is known, FAILED_PRECONDITION without an identity for it, UNAVAILABLE
 * when it ran on this computer and has ended.
 */
export function openTarget(places: Places): Connection {
  const remote = remoteMachine(places);
  if (remote !== undefined) {
    const { target, credentials, options } = remote.access;
    return connectionOver(
      remote.name,
      (definition) => connect(definition, target, credentials, options),
      remote.access,
    );
  }
  const address = (daemon: string) => socketPath(places.run, daemon, "ctl");
  if (!existsSync(address("init")))
    throw new UsageError(
      'no machine is known here: start one with "npm run up", enrol one with "aiosctl enroll HOST CODE", or name it with --machine HOST',
    );
  return connectionOver("this machine", (definition, daemon) => connect(definition, `unix:${address(daemon)}`));
}

function remoteMachine({ folder, wanted }: Places): { name: string; access: Access } | undefined {
  const all = readMachines(folder);
  const { machines, default: usual } = all;
  const name = wanted ?? usual ?? Object.keys(machines)[0];
  if (name === undefined) return undefined;
  const known = machines[name];
  const again = known && endedMachine(known);
  if (again !== undefined) throw ended(name, again, othersThan(name, all));
  if (known !== undefined) return { name, access: accessTo(folder, known) };
  if (wanted === undefined)
    throw new UsageError(`the default machine ${name} is not known; "aiosctl machines use NAME" names another`);
  return {
    name,
    access: accessTo(folder, { address: withPort(name, managementPort), name: hostOf(name), identity: "." }),
  };
}

function ended(name: string, again: string, others: readonly string[]): AiosError {
  return new AiosError("UNAVAILABLE", {
    act: "reach",
    object: name,
    reason: "it ran on this computer and has ended",
    next: `"${again}" starts it again; ${others.length === 0 ? "no other machine is known here" : `others are ${others.join(", ")}: "aiosctl machines use NAME"`}`,
  });
}

/** The host in "HOST[:PORT]". */
function hostOf(address: string): string {
  if (isIPv6(address)) return address;
  return address.replace(/:\d+$/, "").replace(/^\[(.*)\]$/, "$1");
}

type Open = <S extends ServiceDefinition>(definition: S, daemon: string) => Client<S>;

function connectionOver(name: string, open: Open, access?: Access): Connection {
  const clients = new Map<ServiceDefinition, { close(): void }>();
  return {
    name,
    ...(access && { access }),
    client<S extends ServiceDefinition>(definition: S, daemon: string): Client<S> {
      const client = (clients.get(definition) as Client<S> | undefined) ?? open(definition, daemon);
      clients.set(definition, client);
      return client;
    },
    close() {
      for (const client of clients.values()) client.close();
    },
  };
}
