import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";
import { replaceFile } from "#lib/data/files";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";
import type { Faults } from "../base/index.ts";
import type { ServiceSpec } from "./services.ts";
import type { Supervisor } from "./supervisor.ts";

/** Services that are described at most; further files are left out, and that is said. */
const servicesMax = 64;

/** The units that files in a folder describe, beside the daemons. They are supervised as these are, and no boot waits for them. */
export interface Managed {
  /** Reads the files again: what is new can be started, what changed counts from its next start, what is gone is stopped and forgotten. */
  refresh(): Promise<void>;
  /** Starts those that are enabled. Called once, when the boot has run. */
  startEnabled(): Promise<void>;
  /** Sets in its file whether a service is started at every boot. Throws NOT_FOUND, or FAILED_PRECONDITION for a daemon. */
  enable(name: string, enabled: boolean): Promise<void>;
}

interface ManagedNeeds {
  readonly folder: string;
  /** The services by name, kept up to date. */
  readonly services: Map<string, ServiceSpec>;
  readonly supervisor: Supervisor;
  readonly faults: Faults;
  /** Names that no service may take: the daemons, and init. */
  readonly reserved: ReadonlySet<string>;
}

export function openManaged({ folder, services, supervisor, faults, reserved }: ManagedNeeds): Managed {
  /** The files as they were last read, by service. */
  const known = new Map<string, string>();
  const fileOf = (name: string) => join(folder, `${name}.toml`);
  // A broken file does not end what runs by its last good version: it is a fault, and what was known stays known.
  const take = async (name: string, text: string) => {
    if (known.get(name) === text) return;
    known.set(name, text);
    const { parseService } = await import("./services.ts");
    try {
      if (reserved.has(name)) throw new Error(`read ${fileOf(name)}: a daemon has this name; give it another`);
      const spec = parseService(text, fileOf(name));
      services.set(name, spec);
      supervisor.add(spec);
      faults.clear(`service-${name}`);
    } catch (error) {
      faults.raise(`service-${name}`, messageOf(error));
    }
  };
  const drop = (name: string) => {
    known.delete(name);
    faults.clear(`service-${name}`);
    // Goes on by itself: it may take its ten seconds.
    if (services.delete(name)) supervisor.remove(name).catch(() => {});
  };
  const refresh = async () => {
    const texts = await readServices(folder);
    for (const name of [...known.keys()]) if (!texts.has(name)) drop(name);
    const taken = [...texts].slice(0, servicesMax);
    for (const [name, text] of taken) await take(name, text);
    const left = texts.size - taken.length;
    if (left === 0) faults.clear("services");
    else faults.raise("services", `${folder}: more than ${servicesMax} services, ${left} are left out; remove some`);
  };
  let last: Promise<void> = Promise.resolve();
  // One after the other: two that overlap would tell each other's files apart wrongly.
  const refreshInTurn = () => {
    last = last.then(refresh, refresh);
    return last;
  };

  return {
    refresh: refreshInTurn,
    startEnabled: async () => {
      await refreshInTurn();
      for (const { name, enabled } of services.values()) if (enabled) supervisor.start(name);
    },
    enable: async (name, enabled) => {
      if (reserved.has(name)) throw notManaged(name);
      const { missingService, withEnabled } = await import("./services.ts");
      const text = await readFile(fileOf(check(name)), "utf8").catch((error: unknown) => {
        throw missingService(name, error);
      });
      const edited = withEnabled(text, enabled, fileOf(name));
      if (edited !== text) replaceFile(fileOf(name), edited);
      await refreshInTurn();
    },
  };
}

/** The files' texts by service, in the order of their names. */
async function readServices(folder: string): Promise<Map<string, string>> {
  const texts = new Map<string, string>();
  for (const file of (await namesOf(folder)).sort()) {
    const [, name] = /^([a-z0-9][a-z0-9_.-]{0,63})\.toml$/.exec(file) ?? [];
    const text = name === undefined ? undefined : await readFile(join(folder, file), "utf8").catch(() => undefined);
    if (name !== undefined && text !== undefined) texts.set(name, text);
  }
  return texts;
}

async function namesOf(folder: string): Promise<string[]> {
  try {
    return await readdir(folder);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}

function check(name: string): string {
  if (/^[a-z0-9][a-z0-9_.-]{0,63}$/.test(name)) return name;
  throw new AiosError("INVALID_ARGUMENT", {
    act: "find",
    object: `service ${JSON.stringify(beginning(name, 80))}`,
    reason: "that is no service's name",
  });
}

function notManaged(name: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "enable or disable",
    object: name,
    reason: "it is a daemon of aiOS, which every boot starts",
  });
}
