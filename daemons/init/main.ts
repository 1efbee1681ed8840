import { openScreen, parseCmdline, sayFirstLine } from "./early/index.ts";

// PID 1. Three small files are loaded before the first line is said; the rest follows, and the daemons' protocol last.
const native = process.env["AIOS_CMDLINE"];
const firstJavascriptMs = sayFirstLine(parseCmdline(native ?? "").kernelStartMs);
const screen = openScreen(1, native === undefined ? "/dev/kmsg" : undefined);

// An exception that nobody caught would end PID 1, and with it the machine.
process.on("uncaughtException", (error) => screen.fault("survived an exception", error));
process.on("unhandledRejection", (error) => screen.fault("survived a rejected promise", error));

import("./machine.ts").then(({ startMachine }) => startMachine({ native, firstJavascriptMs, screen }));
