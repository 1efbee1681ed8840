import { readFileSync } from "node:fs";
import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/rpc/service";

interface Account {
  readonly uid: number;
  readonly gid: number;
}

/** Debian's "nobody": for agents that have no account of their own. */
const nobody: Account = { uid: 65_534, gid: 65_534 };

/** Whose rights a spawned program has: an agent's own, whatever it asks for; of others nobody's in a sandbox, else root's, unless they name a user. */
export function accountFor(caller: Identity, user: string | undefined, sandbox: boolean): Account | undefined {
  if (caller.kind !== "agent") {
    if (user === undefined) return sandbox ? nobody : undefined;
    return accountOf(user) ?? unknown(user);
  }
  const own = `aios-agent-${caller.name}`;
  if (user !== undefined && user !== own) {
    throw new AiosError("PERMISSION_DENIED", {
      act: "start process as",
      object: user,
      reason: `what ${caller.name} starts runs as ${own}`,
      next: "leave user out",
    });
  }
  return accountOf(own) ?? nobody;
}

function accountOf(name: string): Account | undefined {
  const line = readFileSync("/etc/passwd", "utf8")
    .split("\n")
    .find((one) => one.startsWith(`${name}:`));
  const [, , uid, gid] = line?.split(":") ?? [];
  return uid === undefined || gid === undefined ? undefined : { uid: Number(uid), gid: Number(gid) };
}

function unknown(user: string): never {
  throw new AiosError("FAILED_PRECONDITION", {
    act: "start process as",
    object: user,
    reason: "there is no such user on this machine",
  });
}

/** Variables that an agent may set: words about language and place. Others change what a granted program is. */
const harmless = /^(LANG|LC_[A-Z]+|TZ|TERM|COLUMNS|LINES|NO_COLOR|APP_[A-Z0-9_]+)$/;

/** Changes which code a program runs, whoever asks. */
const dangerous = /^(LD_.*|GLIBC_TUNABLES|GCONV_PATH)$/;

/** Throws PERMISSION_DENIED for variables by which one program is made to run another. */
export function checkEnvironment(caller: Identity, env: Readonly<Record<string, string>>): void {
  for (const name of Object.keys(env)) {
    if (caller.kind === "agent" ? harmless.test(name) : !dangerous.test(name)) continue;
    throw new AiosError("PERMISSION_DENIED", {
      act: "set environment",
      object: name,
      reason: "it can change what a program runs",
      next: caller.kind === "agent" ? "names that begin with APP_ are free" : "leave it out",
    });
  }
}
