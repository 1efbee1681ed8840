/**
 * The system calls that a confined program is refused, as a filter for the kernel (classic BPF, x86-64). Refused is what
 * changes the machine or reaches into the kernel and other processes; a name space of its own would give it that back.
 */

const refusedCalls: Readonly<Record<string, number>> = {
  ...{ ptrace: 101, adjtimex: 159, chroot: 161, acct: 163, settimeofday: 164, mount: 165, umount2: 166, swapon: 167 },
  ...{ swapoff: 168, reboot: 169, sethostname: 170, setdomainname: 171, iopl: 172, ioperm: 173, init_module: 175 },
  ...{ delete_module: 176, quotactl: 179, clock_settime: 227, kexec_load: 246, add_key: 248, request_key: 249 },
  ...{ keyctl: 250, unshare: 272, perf_event_open: 298, open_by_handle_at: 304, clock_adjtime: 305, setns: 308 },
  ...{ process_vm_readv: 310, process_vm_writev: 311, kcmp: 312, finit_module: 313, kexec_file_load: 320, bpf: 321 },
  ...{ userfaultfd: 323, pivot_root: 155, io_uring_setup: 425, io_uring_enter: 426, io_uring_register: 427 },
  ...{ open_tree: 428, move_mount: 429, fsopen: 430, fsconfig: 431, fsmount: 432, fspick: 433, pidfd_getfd: 438 },
  ...{ mount_setattr: 442, quotactl_fd: 443 },
};

/** Signals to others, and limits of others: refused to those that hold no sockets. */
const reachesOthers: readonly number[] = [62 /* kill */, 129, 200 /* tkill */, 297, 424 /* pidfd_send_signal */, 434];
const [tgkill, prlimit64, sigabrt] = [234, 302, 6];

const [clone, clone3, ioctl, socket] = [56, 435, 16, 41];
/** The family of sockets that are files. */
const familyUnix = 1;
const newNamespaces = 0x7e02_0000;
/** The flag that makes a thread of the caller, where a process of its own would be without it. */
const thread = 0x0001_0000;
const [fork, vfork] = [57, 58];
/** Types on somebody else's terminal. */
const tiocsti = 0x5412;

const archX86 = 0xc000_003e;
const x32Bit = 0x4000_0000;

const [errnoEperm, errnoEnosys, errnoFamily] = [1, 38, 97];
const refuse = (errno: number) => 0x0005_0000 | errno;
const [allow, killProcess] = [0x7fff_0000, 0x8000_0000];

/** Offsets in what the kernel hands to a filter: call number, architecture, low halves of the first three arguments. */
const at = { call: 0, architecture: 4, first: 16, second: 24, third: 32 } as const;

/** One instruction: code, steps when true and when false, operand. */
type Instruction = readonly [code: number, whenTrue: number, whenFalse: number, operand: number];

const load = (offset: number): Instruction => [0x20, 0, 0, offset];
const give = (verdict: number): Instruction => [0x06, 0, 0, verdict];
const ifEqual = (value: number, skipUnless: number): Instruction => [0x15, 0, skipUnless, value];
const ifAtLeast = (value: number, skipUnless: number): Instruction => [0x35, 0, skipUnless, value];
const ifAnyOf = (bits: number, skipUnless: number): Instruction => [0x45, 0, skipUnless, bits];

const unixOnly: readonly Instruction[] = [
  ifEqual(socket, 4),
  load(at.first),
  ifEqual(familyUnix, 1),
  give(allow),
  give(refuse(errnoFamily)),
];

/** Alone but for what it was started with: no sockets, and of signals the one by which it ends itself. */
const alone: readonly Instruction[] = [
  ifEqual(socket, 1),
  give(refuse(errnoFamily)),
  ...reachesOthers.flatMap((call) => [ifEqual(call, 1), give(refuse(errnoEperm))]),
  ifEqual(tgkill, 4),
  load(at.third),
  ifEqual(sigabrt, 1),
  give(allow),
  give(refuse(errnoEperm)),
  ifEqual(prlimit64, 4),
  load(at.first),
  ifEqual(0, 1),
  give(allow),
  give(refuse(errnoEperm)),
];

/** Threads, but no process beside its own. */
const single: readonly Instruction[] = [
  ...[fork, vfork].flatMap((call) => [ifEqual(call, 1), give(refuse(errnoEperm))]),
  ifEqual(clone, 4),
  load(at.first),
  // Skips the refusal when it is a thread.
  [0x45, 1, 0, thread],
  give(refuse(errnoEperm)),
  load(at.call),
];

const program = (sockets: Sockets, processes: Processes): readonly Instruction[] => [
  load(at.architecture),
  // Skips the next one when it is what this filter is for.
  [0x15, 1, 0, archX86],
  give(killProcess),
  load(at.call),
  ifAtLeast(x32Bit, 1),
  give(refuse(errnoEnosys)),
  ...Object.values(refusedCalls).flatMap((call) => [ifEqual(call, 1), give(refuse(errnoEperm))]),
  ...(sockets === "unix" ? unixOnly : sockets === "none" ? alone : []),
  ...(processes === "one" ? single : []),
  // Its flags are in memory, out of a filter's sight: libraries fall back to clone.
  ifEqual(clone3, 1),
  give(refuse(errnoEnosys)),
  ifEqual(clone, 4),
  load(at.first),
  ifAnyOf(newNamespaces, 1),
  give(refuse(errnoEperm)),
  give(allow),
  ifEqual(ioctl, 3),
  load(at.second),
  ifEqual(tiocsti, 1),
  give(refuse(errnoEperm)),
  give(allow),
];

/**
 * Which sockets a program may make: any kind, (no network) those that are files, or none; one with none sends no signals to
 * others either.
 */
export type Sockets = "any" | "unix" | "none";

/** Which processes it may make: its own children, or none, so that it can start no program. */
export type Processes = "any" | "one";

/** The filter as the kernel takes it: eight bytes an instruction. */
export const seccompFilter = (sockets: Sockets, processes: Processes = "any"): Buffer =>
  Buffer.concat(
    program(sockets, processes).map(([code, whenTrue, whenFalse, operand]) => {
      const bytes = Buffer.alloc(8);
      bytes.writeUInt16LE(code, 0);
      bytes.writeUInt8(whenTrue, 2);
      bytes.writeUInt8(whenFalse, 3);
      bytes.writeUInt32LE(operand >>> 0, 4);
      return bytes;
    }),
  );
