#!/usr/bin/env node
import { systemClock } from "#lib/clock";
import { pathsFrom } from "#lib/daemon";
import { operatorFolder } from "#lib/operator";
import { run } from "./cli.ts";
import { readInput } from "./input.ts";

const interrupt = new AbortController();
process.once("SIGINT", () => interrupt.abort());

// A reader that has gone away ("| head") is no error.
process.stdout.on("error", () => process.exit(0));

process.exitCode = await run(process.argv.slice(2), {
  folder: operatorFolder(process.env),
  run: pathsFrom(process.env).run,
  machine: process.env["AIOS_MACHINE"] || undefined,
  clock: systemClock,
  signal: interrupt.signal,
  write: (line) => void process.stdout.write(line),
  writeError: (line) => void process.stderr.write(line),
  input: () => readInput(process.stdin, () => process.stderr.write("(not shown, end with Enter) ")),
});
