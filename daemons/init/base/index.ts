/**
 * The ground of init: system calls, the kernel's files, child processes, faults, settings.
 * Every part of init comes in; this room imports no other.
 */
export { type Children, openChildren } from "./children.ts";
export { commandRunner, type Run } from "./commands.ts";
export { effectiveConfig } from "./config.ts";
export { type Faults, openFaults } from "./faults.ts";
export { machineFolders, makeFolders } from "./folders.ts";
export { type KernelFiles, namesIn, readText } from "./kernel-files.ts";
export { linesOf, openKeyboard } from "./keyboard.ts";
export { ipv4Pattern, type Provision, takeProvision } from "./provision.ts";
export { mountFlags, openSyscalls, type Syscalls } from "./syscalls.ts";
export { setSysctls } from "./sysctls.ts";
