/**
 * What the boot does not need is read afterwards. Procedures and triggers are read by the first goal or notice, at the
 * latest when the machine is up: a third of what the orchestrator's start took.
 */
import { readdirSync, readFileSync } from "node:fs";
import { errnoOf, messageOf } from "#lib/errors";

/** Reads declarations when they are first asked for: the boot need not wait. Faults are told then. */
export function whenAsked<D extends { readonly faults: readonly string[] }>(
  read: () => D,
  told: (fault: string) => void,
): () => D {
  let declared: D | undefined;
  return () => {
    if (declared === undefined) {
      declared = read();
      declared.faults.forEach(told);
    }
    return declared;
  };
}

/**
 * Reads the files `NAME.toml` of `folder`, in the order of their names; `faults` says what is wrong with those that
 * cannot be used. A missing folder declares nothing.
 */
export function readDeclarations<T>(folder: string, parse: (name: string, content: string, path: string) => T) {
  const read: T[] = [];
  const faults: string[] = [];
  for (const file of tomlFiles(folder)) {
    try {
      const path = `${folder}/${file}`;
      read.push(parse(file.slice(0, -".toml".length), readFileSync(path, "utf8"), path));
    } catch (error) {
      faults.push(messageOf(error));
    }
  }
  return { read, faults };
}

function tomlFiles(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((file) => file.endsWith(".toml"))
      .toSorted();
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return [];
    throw error;
  }
}
