import { existsSync, mkdirSync, readFileSync } from "node:fs";
import { isIP, isIPv6 } from "node:net";
import { join } from "node:path";
import { checkServerIdentity } from "node:tls";
import grpc from "@grpc/grpc-js";
import { stringify } from "smol-toml";
import type { Static } from "typebox";
import * as Type from "typebox";
import { parseToml } from "../config/config.ts";
import { replaceFile } from "../data/files.ts";
import { AiosError } from "../errors.ts";
import { isAlive } from "../linux/alive.ts";
import { readPair, readPem } from "./key-files.ts";
import type { KeyPair } from "./pki.ts";

const strict = { additionalProperties: false } as const;

/** `machines.toml` in the operator's folder: the machines they know. */
const machinesSchema = Type.Object(
  {
    default: Type.Optional(Type.String()),
    machines: Type.Record(
      Type.String(),
      Type.Object(
        {
          address: Type.String({ minLength: 1, description: "HOST:PORT" }),
          name: Type.String({ minLength: 1, description: "the name in the machine's certificate" }),
          identity: Type.String({
            pattern: "^(\\.|machines/[A-Za-z0-9._-]+)$",
            description: 'the folder of ca.pem, operator.pem and operator.key: "." or "machines/NAME"',
          }),
          up: Type.Optional(
            Type.Object(
              {
                process: Type.Integer({ description: "what runs it on this computer: it ends with that" }),
                command: Type.String({ description: "what starts it again" }),
              },
              strict,
            ),
          ),
        },
        strict,
      ),
    ),
  },
  strict,
);

type Machines = Static<typeof machinesSchema>;
export type Machine = Machines["machines"][string];

/** The means of `connect` to speak to a machine over its management port. */
export interface Access {
  readonly target: string;
  /** The name in the machine's certificate. */
  readonly name: string;
  /** The authority that signed it, PEM. */
  readonly trusts: string;
  /** The certificate that is shown to the machine, PEM. */
  readonly shows: KeyPair;
  readonly credentials: grpc.ChannelCredentials;
  readonly options: grpc.ClientOptions;
}

/** The machines known in `folder`; none when there is no file. */
export function readMachines(folder: string): Machines {
  const file = join(folder, "machines.toml");
  if (!existsSync(file)) return { machines: {} };
  return parseToml(machinesSchema, readFileSync(file, "utf8"), file);
}

/** Writes down a machine under `alias`; the first one is the default. `identity` "." is the operator's own. */
export function rememberMachine(folder: string, alias: string, machine: Machine): void {
  if (!/^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$/.test(alias))
    throw new AiosError(
      "INVALID_ARGUMENT",
      `remember machine ${JSON.stringify(alias)}: a name has letters, digits, ".", "_" and "-"`,
    );
  const known = readMachines(folder);
  writeMachines(folder, { default: known.default ?? alias, machines: { ...known.machines, [alias]: machine } });
}

/** The command that starts a machine again which ran on this computer and has ended; undefined for any other. */
export function endedMachine({ up }: Machine): string | undefined {
  return up === undefined || isAlive(up.process) ? undefined : up.command;
}

/** The machines beside `name` that may be reached: those that this computer runs, and those elsewhere. */
export function othersThan(name: string, { machines }: Machines): string[] {
  return Object.entries(machines)
    .filter(([alias, machine]) => alias !== name && endedMachine(machine) === undefined)
    .map(([alias]) => alias);
}

export function writeMachines(folder: string, machines: Machines): void {
  mkdirSync(folder, { recursive: true, mode: 0o700 });
  replaceFile(join(folder, "machines.toml"), `${stringify(machines)}\n`, 0o600);
}

/**
 * How to reach a machine with the identity in `folder`. Its certificate must be signed by that identity's authority and
 * carry the machine's name: the address may change, and proves nothing. Throws FAILED_PRECONDITION without an identity.
 */
export function accessTo(folder: string, { address, name, identity }: Machine): Access {
  const files = join(folder, identity);
  const { certificate, key } = readPair(files, "operator");
  const ca = readPem(join(files, "ca.pem"));
  return {
    target: address,
    name,
    trusts: ca,
    shows: { certificate, key },
    credentials: grpc.credentials.createSsl(Buffer.from(ca), Buffer.from(key), Buffer.from(certificate), {
      checkServerIdentity: (_, shown) => checkServerIdentity(name, shown),
    }),
    // TLS wants a name to ask for, and Node refuses an address there: what is shown is checked above.
    options: { "grpc.ssl_target_name_override": isIP(name) === 0 ? name : "aios", "grpc.default_authority": name },
  };
}

/** "HOST:PORT" of "HOST", "HOST:PORT", an IPv6 address, or one in brackets with a port. */
export function withPort(host: string, port: number): string {
  if (isIPv6(host)) return `[${host}]:${port}`;
  return /:\d+$/.test(host) ? host : `${host}:${port}`;
}
