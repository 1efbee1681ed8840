import { readFileSync } from "node:fs";
import type { Config } from "./config.ts";

/**
 * The configuration in effect, which init has merged and checked: kernel command line over data partition over image.
 * Daemons read this, never the TOML. Apart from config.ts, so that a daemon which reads no TOML loads no schema checker:
 * that is a tenth of its code.
 */
export function effectiveConfig(runFolder: string): Config {
  return JSON.parse(readFileSync(effectiveConfigPath(runFolder), "utf8")) as Config;
}

export function effectiveConfigPath(runFolder: string): string {
  return `${runFolder}/config.json`;
}

export type Autonomy = Config["system"]["autonomy_level"];

/**
 * How far the machine acts by itself now: what an operator has said (the orchestrator writes it down, for whoever decides
 * about calls), else what the configuration says.
 */
export function autonomyLevel(runFolder: string): Autonomy {
  const configured = effectiveConfig(runFolder).system.autonomy_level;
  try {
    const said = readFileSync(autonomyPath(runFolder), "utf8");
    return (["full", "supervised", "manual"] as const).find((level) => level === said) ?? configured;
  } catch {
    return configured;
  }
}

export function autonomyPath(runFolder: string): string {
  return `${runFolder}/autonomy`;
}

/**
 * There while an emergency stop is in effect: the orchestrator writes it, and whoever starts again meanwhile finds it. Unlike what
 * is kept on the data volume no full disk refuses it, and a reboot forgets it.
 */
export function stopPath(runFolder: string): string {
  return `${runFolder}/stop.json`;
}
