import { getSystemErrorName } from "node:util";

type Ffi = typeof import("node:ffi");

/** The functions of the C library that are called: names and types, as node:ffi takes them. */
type Signatures = Parameters<Ffi["dlopen"]>[1];

/**
 * Functions of the C library that Node lacks. `check` throws an Error whose `code` is the errno's name when a result is -1;
 * it comes right after the call: nothing may run between the two, or libc's errno is another call's. `addressOf` tells where a buffer
 * lies, for a struct that points to it: as long as the buffer is held, and is larger than those that move (64 bytes).
 */
export function openLibc<const S extends Signatures>(signatures: S) {
  const ffi = loadFfi();
  const { functions } = ffi.dlopen(null, { ...signatures, __errno_location: { arguments: [], return: "pointer" } });
  const errno = (functions as { __errno_location(): bigint }).__errno_location();
  const check = (result: number, what: string) => {
    if (result === -1) throw systemError(ffi.getInt32(errno, 0), what);
  };
  return { libc: functions, check, addressOf: (buffer: Buffer) => ffi.getRawPointer(buffer) };
}

/** node:ffi without its warning that it is experimental; every other warning is shown. */
function loadFfi(): Ffi {
  const warn = process.emitWarning;
  process.emitWarning = () => {};
  try {
    return process.getBuiltinModule("node:ffi");
  } finally {
    process.emitWarning = warn;
  }
}

function systemError(number: number, what: string): NodeJS.ErrnoException {
  const code = getSystemErrorName(-number);
  return Object.assign(new Error(`${what}: ${code}`), { code, errno: -number });
}
