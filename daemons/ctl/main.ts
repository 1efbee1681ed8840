#!/usr/bin/env node
import { systemClock } from "#lib/clock";
import { pathsFrom } from "#lib/daemon";
import { operatorFolder } from "#lib/identity/operator";
import { run } from "./cli.ts";
import { openPrompt, readInput } from "./input.ts";
import { openScreen } from "./screen.ts";

const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());

// A reader that has gone away ("| head") is no error.
process.stdout.on("error", () => process.exit(0));

const prompt = openPrompt(process.stdin, process.stdout, () => interrupt.abort());

process.exitCode = await run(process.argv.slice(2), {
  folder: operatorFolder(process.env),
  run: pathsFrom(process.env).run,
  called: process.env["npm_lifecycle_event"] === "aiosctl" ? "npm run aiosctl --" : "aiosctl",
  machine: process.env["AIOS_MACHINE"] || undefined,
  screen: process.stdout.isTTY ? openScreen(process.stdout) : undefined,
  clock: systemClock,
  signal: interrupt.signal,
  write: (line) => void process.stdout.write(line),
  writeError: (line) => void process.stderr.write(line),
  input: () => readInput(process.stdin, () => process.stderr.write("(not shown, end with Enter) ")),
  ask: process.stdin.isTTY && process.stdout.isTTY ? prompt.ask : undefined,
});
prompt.close();
