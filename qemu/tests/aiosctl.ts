import { execFile } from "node:child_process";
import { resolve } from "node:path";
import type { Machine } from "../machine.ts";

/** The operator's program, as it is run from this repository. */
const program = resolve(import.meta.dirname, "../../daemons/ctl/main.ts");

export interface Ran {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs aiosctl as the operator of a machine. */
export function aiosctlFor(machine: Machine, operatorFolder: string): (...argv: string[]) => Promise<Ran> {
  const env = { ...process.env, AIOS_CONFIG_DIR: operatorFolder, AIOS_MACHINE: machine.target };
  const options = { env, maxBuffer: 16 * 1024 * 1024 };
  return (...argv) =>
    new Promise((done) => {
      execFile(process.execPath, [program, ...argv], options, (failed, out, error) =>
        done({ code: failed === null ? 0 : Number(failed.code ?? 1), out, error }),
      ).stdin?.end();
    });
}
