/**
 * Which tools the unit tests have really carried out: the daemons of the tests leave what their ledgers say
 * (daemons/tools/testing/carried.ts), and every tool of the catalogue must be among it.
 */
import { mkdirSync, readdirSync, readFileSync, rmSync } from "node:fs";
import { carriedFolder } from "../daemons/tools/testing/carried.ts";

/** They need podman, which is no part of the image: qemu/tests/container.test.ts installs it in a machine and runs them. */
export const machineOnly: readonly string[] = [
  "pull_or_load",
  "create",
  "start",
  "stop",
  "remove",
  "exec",
  "list",
  "logs",
].map((verb) => `container.${verb}`);

/** From here on the tests' daemons leave what they carried out. */
export function beginCarried(): void {
  rmSync(carriedFolder, { recursive: true, force: true });
  mkdirSync(carriedFolder, { recursive: true });
}

/** The tools that were carried out since, with success. */
export function endCarried(): ReadonlySet<string> {
  const names = readdirSync(carriedFolder).flatMap((file) =>
    readFileSync(`${carriedFolder}/${file}`, "utf8").split("\n"),
  );
  rmSync(carriedFolder, { recursive: true });
  return new Set(names.filter((name) => name !== ""));
}
