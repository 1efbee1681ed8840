import type { Static } from "typebox";
import * as Type from "typebox";
import { parseToml } from "#lib/config/config";
import { AiosError, errnoOf } from "#lib/errors";
import { users } from "#manifest";
import type { UnitSpec } from "./supervisor.ts";

/** A service's file in /etc/aios/services: a program that init keeps beside the daemons. */
const serviceSchema = Type.Object(
  {
    name: Type.String({
      pattern: "^[a-z0-9][a-z0-9_.-]{0,63}$",
      description: "the file's name without .toml: lower-case letters, digits, dots, dashes",
    }),
    argv: Type.Array(Type.String({ maxLength: 4096 }), {
      minItems: 1,
      maxItems: 64,
      description: "the program's absolute path and its arguments; it stays in the foreground",
    }),
    user: Type.Optional(
      Type.String({ pattern: "^[a-z_][a-z0-9_-]{0,31}$", description: 'an account\'s name, or "own"' }),
    ),
    network: Type.Optional(Type.Boolean({ description: "whether a user of its own has the machine's network" })),
    restart: Type.Optional(
      Type.Enum(["always", "on-failure", "never"], { description: '"always", "on-failure" or "never"' }),
    ),
    enabled: Type.Optional(Type.Boolean({ description: "whether it is started at every boot" })),
    ready_port: Type.Optional(
      Type.Integer({
        minimum: 1,
        maximum: 65_535,
        description: "a TCP port on loopback that answers when it is ready",
      }),
    ),
    memory_mib: Type.Optional(Type.Integer({ minimum: 1, maximum: 1_048_576 })),
    pids_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 32_768 })),
    defined_by: Type.Optional(
      Type.String({ pattern: "^agent [a-z0-9-]{1,64}$", description: '"agent NAME": an emergency stop holds it' }),
    ),
  },
  { additionalProperties: false },
);

/** A managed unit. */
export interface ServiceSpec extends UnitSpec {
  readonly argv: readonly [string, ...string[]];
  /** An account, or {@link ownUser}. */
  readonly user: string;
  /** Without it a service with a user of its own reaches nothing. */
  readonly network: boolean;
  readonly enabled: boolean;
  /** An agent has defined it: an emergency stop holds it. */
  readonly ofAgent: boolean;
  /** Ready when this TCP port on loopback answers; without one, when it has run for a moment. */
  readonly readyPort?: number;
  readonly limits: { readonly memoryMiB: number; readonly pids: number };
}

const limitsDefault = { memoryMiB: 2048, pids: 512 } as const;

/** The largest file, characters. */
export const serviceFileLengthMax = 16_384;

/** Reads a service's file. Throws INVALID_ARGUMENT with file, line, key and what was expected. */
export function parseService(text: string, file: string): ServiceSpec {
  if (text.length > serviceFileLengthMax) throw flaw(file, "file", `longer than ${serviceFileLengthMax} characters`);
  const service = parseToml(serviceSchema, text, file);
  check(service, file);
  const { name, argv, user = "root", restart = "always", enabled = false, network = true, ready_port } = service;
  const limits = {
    memoryMiB: service.memory_mib ?? limitsDefault.memoryMiB,
    pids: service.pids_max ?? limitsDefault.pids,
  };
  const [program = "", ...args] = argv;
  const ofAgent = service.defined_by !== undefined;
  const fixed = {
    name,
    needs: [],
    restart,
    argv: [program, ...args] as const,
    user,
    network,
    enabled,
    limits,
    ofAgent,
  };
  return ready_port === undefined ? fixed : { ...fixed, readyPort: ready_port };
}

function check({ name, argv, user }: Static<typeof serviceSchema>, file: string): void {
  if (!file.endsWith(`/${name}.toml`)) throw flaw(file, "name", `the file is not named ${name}.toml`);
  if (!argv[0]?.startsWith("/")) throw flaw(file, "argv", "the program is no absolute path");
  if (argv.some((word) => word.includes("\0"))) throw flaw(file, "argv", "an argument cannot hold NUL");
  // Their groups open the daemons' sockets.
  if (user !== undefined && user !== "root" && user in users) {
    throw flaw(file, "user", `${user} is the account of a daemon or agent`);
  }
}

function flaw(file: string, key: string, reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "read", object: `${file}: ${key}`, reason, next: "correct the key" });
}

/** The text of a service's file with `enabled` set: the rest, comments too, stays as it was written. */
export function withEnabled(text: string, enabled: boolean, file: string): string {
  const line = `enabled = ${enabled}`;
  const written = /^enabled[ \t]*=[ \t]*(?:true|false)/m;
  const edited = written.test(text) ? text.replace(written, line) : `${line}\n${text}`;
  if (parseService(edited, file).enabled === enabled) return edited;
  throw flaw(file, "enabled", `it cannot be set to ${enabled} without rewriting the file`);
}

/** The error of a file that is not there as one that says so. */
export function missingService(name: string, error: unknown): unknown {
  if (errnoOf(error) !== "ENOENT") return error;
  return new AiosError("NOT_FOUND", {
    act: "find",
    object: `service ${name}`,
    reason: `no file /etc/aios/services/${name}.toml describes it`,
    next: "define it first",
  });
}
