import { openLibc } from "#lib/linux/libc";

/** The system calls that Node lacks. Each throws an Error whose `code` is the errno's name. */
export interface Syscalls {
  /** mount(2). `source` and `data` may be empty. */
  mount(source: string, target: string, type: string, flags: number, data?: string): void;
  unmount(target: string, options?: { readonly lazy: boolean }): void;
  /** Makes the mount at `newRoot` the root and puts the old one at `putOld`, a folder below it. */
  pivotRoot(newRoot: string, putOld: string): void;
  setHostname(name: string): void;
  /** Sets the wall clock, milliseconds since the epoch. */
  setTime(nowMs: number): void;
  /** Has the wall clock run a little faster or slower until it has made up `offsetMs`, under a second; from now on it counts as set. */
  slewTime(offsetMs: number): void;
  /** Takes the exit status of the zombie `pid`; false when it is none of ours or still lives. */
  reap(pid: number): boolean;
  /** Time after which the watchdog on `file` fires unless it is written to. */
  setWatchdogTimeout(file: number, seconds: number): void;
  /** Ctrl-Alt-Del sends SIGINT to PID 1 rather than rebooting at once. */
  catchCtrlAltDel(): void;
  /** Writes all dirty pages. Blocks. */
  sync(): void;
  /** Ends the machine, or the PID namespace that the caller is PID 1 of. */
  reboot(act: "power-off" | "restart" | "halt"): void;
}

/** Flags of mount(2). */
export const mountFlags = {
  readOnly: 1,
  noSuid: 2,
  noDev: 4,
  noExec: 8,
  remount: 32,
  noAtime: 1024,
  bind: 4096,
  move: 8192,
  recursive: 16384,
  private: 1 << 18,
} as const;

const lazyUnmount = 2;
const waitNoHang = 1;
const clockRealtime = 0;
const watchdogSetTimeout = 0xc0045706n;
const ctrlAltDelOff = 0;
const rebootActs = { restart: 0x01234567, halt: 0xcdef0123 | 0, "power-off": 0x4321fedc } as const;

const signatures = {
  mount: { arguments: ["string", "string", "string", "uint64", "string"], return: "int32" },
  umount2: { arguments: ["string", "int32"], return: "int32" },
  pivot_root: { arguments: ["string", "string"], return: "int32" },
  sethostname: { arguments: ["string", "uint64"], return: "int32" },
  clock_settime: { arguments: ["int32", "buffer"], return: "int32" },
  adjtimex: { arguments: ["buffer"], return: "int32" },
  waitpid: { arguments: ["int32", "buffer", "int32"], return: "int32" },
  ioctl: { arguments: ["int32", "uint64", "buffer"], return: "int32" },
  reboot: { arguments: ["int32"], return: "int32" },
  sync: { arguments: [], return: "void" },
} as const;

/** The system calls of this process, through libc. */
export function openSyscalls(): Syscalls {
  const { libc, check } = openLibc(signatures);

  return {
    mount(source, target, type, flags, data = "") {
      const result = libc.mount(source, target, type, BigInt(flags), data);
      check(result, `mount ${type || source} on ${target}`);
    },
    unmount(target, { lazy } = { lazy: false }) {
      check(libc.umount2(target, lazy ? lazyUnmount : 0), `unmount ${target}`);
    },
    pivotRoot(newRoot, putOld) {
      check(libc.pivot_root(newRoot, putOld), `make ${newRoot} the root`);
    },
    setHostname(name) {
      check(libc.sethostname(name, BigInt(Buffer.byteLength(name))), `set host name ${name}`);
    },
    setTime(nowMs) {
      check(libc.clock_settime(clockRealtime, timespec(nowMs)), "set the clock");
      check(libc.adjtimex(timexOf(inStep)), "say that the clock is set");
    },
    slewTime(offsetMs) {
      check(libc.adjtimex(timexOf(slewOnce, offsetMs)), "slew the clock");
      check(libc.adjtimex(timexOf(inStep)), "say that the clock is set");
    },
    reap: (pid) => libc.waitpid(pid, Buffer.alloc(4), waitNoHang) === pid,
    setWatchdogTimeout(file, seconds) {
      const value = Buffer.alloc(4);
      value.writeInt32LE(seconds);
      check(libc.ioctl(file, watchdogSetTimeout, value), "set the watchdog's time-out");
    },
    catchCtrlAltDel() {
      check(libc.reboot(ctrlAltDelOff), "catch Ctrl-Alt-Del");
    },
    sync: () => libc.sync(),
    reboot(act) {
      // Outside a machine of its own this would take the host down.
      if (process.pid !== 1) throw new Error(`${act}: refused, this process is not PID 1`);
      check(libc.reboot(rebootActs[act]), act);
    },
  };
}

/** adjtimex(2)'s struct: where its fields are, and which of them a call changes. */
const timex = { bytes: 208, modes: 0, offset: 8 } as const;
const slewOnce = 0x8001;
/** Errors and status become 0: the clock counts as set, and the kernel keeps the hardware clock by it, every 11 minutes. */
const inStep = 4 | 8 | 16;

/** Changes to the clock's running, in a buffer that the call writes its answer to: each is for one call. */
function timexOf(modes: number, offsetMs = 0): Buffer {
  const change = Buffer.alloc(timex.bytes);
  change.writeUInt32LE(modes, timex.modes);
  change.writeBigInt64LE(BigInt(Math.round(offsetMs * 1000)), timex.offset);
  return change;
}

function timespec(ms: number): Buffer {
  const time = Buffer.alloc(16);
  time.writeBigInt64LE(BigInt(Math.floor(ms / 1000)), 0);
  time.writeBigInt64LE(BigInt(Math.floor((ms % 1000) * 1_000_000)), 8);
  return time;
}
