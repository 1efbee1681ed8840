import { readdirSync, readFileSync } from "node:fs";
import { errnoOf, messageOf } from "#lib/errors";
import { type Declared, type Procedure, parseProcedure } from "./procedures.ts";

/** What is declared in files, read by whoever asks first: the boot need not wait for it. Faults are told then. */
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

/** The procedures in `folder`. A missing folder has none. */
export function readProcedures(folder: string): Declared {
  const procedures: Procedure[] = [];
  const faults: string[] = [];
  for (const file of tomlFiles(folder)) {
    try {
      const path = `${folder}/${file}`;
      procedures.push(parseProcedure(file.slice(0, -".toml".length), readFileSync(path, "utf8"), path));
    } catch (error) {
      faults.push(messageOf(error));
    }
  }
  return { procedures, faults };
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
