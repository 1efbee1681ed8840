import { readFileSync } from "node:fs";
import type { Config } from "./config.ts";

/**
 * The configuration in effect, which init has merged and checked: kernel command line over data partition over image.
 * Daemons read this, never the TOML. Apart from config.ts, so that a daemon which reads no TOML loads no schema checker:
 * that is a third of its code.
 */
export function effectiveConfig(runFolder: string): Config {
  return JSON.parse(readFileSync(effectiveConfigPath(runFolder), "utf8")) as Config;
}

export function effectiveConfigPath(runFolder: string): string {
  return `${runFolder}/config.json`;
}
