import { execFile } from "node:child_process";
import { resolve } from "node:path";
import type { Machine } from "../machine.ts";

/** The operator's program, as it is run from this repository. */
export const aiosctlProgram = resolve(import.meta.dirname, "../../daemons/ctl/main.ts");

export interface Told {
  readonly code: number;
  readonly out: string;
  readonly error: string;
}

/** Runs aiosctl against a machine, as the operator whose folder is given. */
export function aiosctlAt(machine: Machine, operatorFolder: string): (...argv: string[]) => Promise<Told> {
  const env = { ...process.env, AIOS_CONFIG_DIR: operatorFolder, AIOS_MACHINE: machine.target };
  return (...argv) =>
    new Promise((done) => {
      const options = { env, maxBuffer: 16 * 1024 * 1024 };
      execFile(process.execPath, [aiosctlProgram, ...argv], options, (failed, out, error) =>
        done({ code: failed === null ? 0 : Number(failed.code ?? 1), out, error }),
      ).stdin?.end();
    });
}
