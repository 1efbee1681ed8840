import { readdirSync, readFileSync } from "node:fs";
import { join } from "node:path";

/** Where the kernel shows its devices. */
export interface KernelFiles {
  readonly proc: string;
  readonly sys: string;
  readonly dev: string;
}

/** The content of one of the kernel's files without surrounding space; "" when it is not there. */
export function readText(...path: string[]): string {
  try {
    return readFileSync(join(...path), "utf8").trim();
  } catch {
    return "";
  }
}

/** The names in a folder in order; none when it is not there. */
export function namesIn(...path: string[]): string[] {
  try {
    return readdirSync(join(...path)).sort();
  } catch {
    return [];
  }
}
