/**
 * What programs write comes through pipes of the kernel's. Node gives its children sockets, and no program can open one
 * by name (`/dev/stdout`: ENXIO), which services count on. These are real ones, owned by whom the program runs as. Each
 * pipe has its own decoder and line under way.
 */
import type { ChildProcess } from "node:child_process";
import { closeSync, fchownSync } from "node:fs";
import { Socket } from "node:net";
import type { Readable } from "node:stream";
import { openLibc } from "./libc.ts";

/** A program whose output comes through pipes of the kernel's. */
export interface Piped {
  readonly child: ChildProcess;
  readonly stdout: Readable;
  readonly stderr: Readable;
}

export interface Owner {
  readonly uid: number;
  readonly gid: number;
}

/**
 * Starts a program whose standard output and error are pipes: `start` gets their descriptors for its `stdio`. Node's own
 * "pipe" is a socket, which no program can open by name (/dev/stdout, /dev/stderr: ENXIO), and images and services count
 * on that. `owner` is whom the program runs as, where that is somebody else: only the owner opens a pipe by name.
 * Throws what `start` throws, and EMFILE when there are no descriptors left.
 */
export function startPiped(start: (stdout: number, stderr: number) => ChildProcess, owner?: Owner): Piped {
  const pipes: Pipe[] = [];
  const closeAll = (end: keyof Pipe) => {
    for (const pipe of pipes) closeSync(pipe[end]);
  };
  try {
    const [out, err] = [openPipe(owner, pipes), openPipe(owner, pipes)];
    const child = start(out.write, err.write);
    return { child, stdout: reader(out.read), stderr: reader(err.read) };
  } catch (error) {
    closeAll("read");
    throw error;
  } finally {
    closeAll("write");
  }
}

/** Hears that the program has ended and that nobody holds its pipes any more: the event "close" of Node's own pipes. */
export function whenClosed(
  { child, stdout, stderr }: Piped,
  notice: (code: number | null, signal: NodeJS.Signals | null) => void,
): void {
  let open = 3;
  const one = () => {
    open -= 1;
    if (open === 0) notice(child.exitCode, child.signalCode);
  };
  child.once("exit", one);
  stdout.once("close", one);
  stderr.once("close", one);
}

interface Pipe {
  readonly read: number;
  readonly write: number;
}

const closeOnExec = 0o2000000;
const signatures = { pipe2: { arguments: ["buffer", "int32"], return: "int32" } } as const;
let opened: ReturnType<typeof openLibc<typeof signatures>> | undefined;

function openPipe(owner: Owner | undefined, pipes: Pipe[]): Pipe {
  opened ??= openLibc(signatures);
  const ends = Buffer.alloc(8);
  opened.check(opened.libc.pipe2(ends, closeOnExec), "make a pipe");
  const pipe = { read: ends.readInt32LE(0), write: ends.readInt32LE(4) };
  pipes.push(pipe);
  if (owner !== undefined) fchownSync(pipe.write, owner.uid, owner.gid);
  return pipe;
}

function reader(fd: number): Readable {
  return new Socket({ fd, readable: true, writable: false });
}
