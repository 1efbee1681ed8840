import { createHash, type Hash } from "node:crypto";
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, statfsSync, statSync } from "node:fs";
import { type FileHandle, open } from "node:fs/promises";
import { dirname } from "node:path";
import type { Clock } from "./clock.ts";
import { isFullDisk } from "./data/disk.ts";
import { replaceFile, syncFolder } from "./data/files.ts";
import { AiosError, messageOf } from "./errors.ts";
import { type Answer, openAddress, RetryLater } from "./http-get.ts";

/** A download's source, target and terms. */
export interface DownloadRequest {
  /** http or https. */
  readonly url: string;
  /** Where the file appears when it is whole and its hash is right; nothing is under this name before. */
  readonly path: string;
  /** Where it grows, on the same file system. What it came from is kept beside it, in `<partial>.json`. */
  readonly partial: string;
  /** 64 lower-case hexadecimal digits. */
  readonly sha256: string;
  /** 0 = not known. */
  readonly sizeBytes: number;
  /** Bytes of the file system that are left free, so that a download never fills a disk. */
  readonly reserveBytes: number;
  /** A last look at the whole file, before it appears: throws when it is not what it should be. */
  readonly check?: (path: string) => void;
  readonly clock: Clock;
  readonly signal: AbortSignal;
  /** A server that sends less than `leastBytes` in `windowMs` is taken for stalled. */
  readonly stall?: { readonly windowMs: number; readonly leastBytes: number };
}

export interface DownloadProgress {
  readonly state: "downloading" | "verifying" | "done";
  readonly doneBytes: number;
  /** 0 = the server does not say. */
  readonly totalBytes: number;
  /** How much was there from an earlier try. */
  readonly resumedBytes: number;
}

/** The facts that are kept about a file that is not yet whole. */
interface Source {
  readonly url: string;
  readonly etag: string;
  readonly lastModified: string;
  readonly totalBytes: number;
}

/** Tries in a row that bring nothing new; the pause before the next doubles from the first to the last figure. */
const triesMax = 6;
const pauseMinMs = 500;
const pauseMaxMs = 15_000;

const stallDefault = { windowMs: 30_000, leastBytes: 30_000 };

/** Progress is told, and free space looked at, after this many bytes. */
const reportBytes = 4_194_304;

const readBytes = 1_048_576;

/**
 * Downloads a file, telling its progress. A download that was cut off, by the server, the network, a crash or `signal`, goes
 * on where it was when the server's file is still the same one. Throws DATA_LOSS for a wrong hash or length (what came is
 * removed), RESOURCE_EXHAUSTED when the disk has no room (what came stays), UNAVAILABLE when the server cannot be had,
 * FAILED_PRECONDITION when it refuses.
 */
export async function* download(request: DownloadRequest): AsyncGenerator<DownloadProgress, void> {
  mkdirSync(dirname(request.partial), { recursive: true });
  const started = sizeOf(request.partial);
  let pauseMs = pauseMinMs;
  for (let tries = 1; ; tries++) {
    const before = sizeOf(request.partial);
    try {
      yield* attempt(request);
      return;
    } catch (error) {
      if (!(error instanceof RetryLater)) throw explain(error, request);
      request.signal.throwIfAborted();
      if (error.fromStart) removePartial(request.partial);
      if (sizeOf(request.partial) > before) [tries, pauseMs] = [1, pauseMinMs];
      if (tries >= triesMax) throw gaveUp(request, error, started);
      await request.clock.sleep(Math.max(pauseMs, error.retryAfterMs), request.signal);
      pauseMs = Math.min(pauseMs * 2, pauseMaxMs);
    }
  }
}

async function* attempt(request: DownloadRequest): AsyncGenerator<DownloadProgress> {
  const { partial, sizeBytes, signal, clock } = request;
  const file = await open(partial, "a+");
  try {
    const hash = createHash("sha256");
    let have = usableBytes(request, (await file.stat()).size);
    await file.truncate(have);
    const source = readSource(partial);
    const total = source?.totalBytes || sizeBytes;
    if (total === 0 || have < total) {
      const answer = await openAddress(request.url, { from: have, etag: source?.etag ?? "", signal, clock });
      try {
        have = await resumePoint(request, file, answer, have);
        for await (const at of rehash(file, hash, have, signal)) {
          yield { state: "verifying", doneBytes: at, totalBytes: answer.totalBytes, resumedBytes: have };
        }
        yield* receive(request, file, answer, hash, have);
      } finally {
        answer.close();
      }
    } else {
      for await (const at of rehash(file, hash, have, signal)) {
        yield { state: "verifying", doneBytes: at, totalBytes: total, resumedBytes: have };
      }
    }
    await file.sync();
    const { size } = await file.stat();
    finish(request, size, hash.digest("hex"), have > 0);
    yield { state: "done", doneBytes: size, totalBytes: size, resumedBytes: have };
  } finally {
    await file.close();
  }
}

/** How much of what is there may be built on: all of it when it came from this address, else nothing. */
function usableBytes({ partial, url }: DownloadRequest, size: number): number {
  return readSource(partial)?.url === url ? size : 0;
}

/** Where the answer goes on; the file is cut to that. */
async function resumePoint(request: DownloadRequest, file: FileHandle, answer: Answer, have: number): Promise<number> {
  const { url, etag, lastModified, totalBytes } = { ...answer, url: request.url };
  if (request.sizeBytes > 0 && totalBytes > 0 && totalBytes !== request.sizeBytes) {
    throw mismatch(request, `the server's file has ${totalBytes} bytes, the manifest says ${request.sizeBytes}`);
  }
  const before = readSource(request.partial);
  const same = before === undefined || (before.etag === etag && before.lastModified === lastModified);
  if (answer.from > 0 && (answer.from !== have || !same)) {
    throw new RetryLater("the server's file is another one than before", { fromStart: true });
  }
  if (answer.from === 0) await file.truncate(0);
  replaceFile(sourcePath(request.partial), JSON.stringify({ url, etag, lastModified, totalBytes } satisfies Source));
  requireRoom(request, totalBytes - answer.from);
  return answer.from;
}

async function* rehash(file: FileHandle, hash: Hash, length: number, signal: AbortSignal): AsyncGenerator<number> {
  const buffer = Buffer.allocUnsafe(readBytes);
  for (let at = 0, told = 0; at < length; ) {
    signal.throwIfAborted();
    const { bytesRead } = await file.read(buffer, 0, Math.min(readBytes, length - at), at);
    if (bytesRead === 0) throw new Error(`the part in hand ends at byte ${at} of ${length}`);
    hash.update(buffer.subarray(0, bytesRead));
    at += bytesRead;
    if (at - told < reportBytes && at < length) continue;
    told = at;
    yield at;
  }
}

async function* receive(
  request: DownloadRequest,
  file: FileHandle,
  answer: Answer,
  hash: Hash,
  resumedBytes: number,
): AsyncGenerator<DownloadProgress> {
  const totalBytes = answer.totalBytes || request.sizeBytes;
  const progress = (doneBytes: number): DownloadProgress => ({
    state: "downloading",
    doneBytes,
    totalBytes,
    resumedBytes,
  });
  let done = resumedBytes;
  let told = done;
  yield progress(done);
  for await (const chunk of answer.chunks(request.stall ?? stallDefault)) {
    if (totalBytes > 0 && done + chunk.length > totalBytes) {
      throw mismatch(request, `the server sends more than the ${totalBytes} bytes that it should have`);
    }
    await write(file, chunk);
    hash.update(chunk);
    done += chunk.length;
    if (done - told < reportBytes) continue;
    told = done;
    requireRoom(request, 0);
    yield progress(done);
  }
  if (totalBytes > 0 && done < totalBytes) throw new RetryLater(`the answer ended at byte ${done} of ${totalBytes}`);
  yield progress(done);
}

async function write(file: FileHandle, chunk: Uint8Array): Promise<void> {
  for (let at = 0; at < chunk.length; ) at += (await file.write(chunk, at, chunk.length - at)).bytesWritten;
}

/** Gives the whole file its name, durably, if it is what was asked for. */
function finish(request: DownloadRequest, size: number, sha256: string, resumed: boolean): void {
  const { partial, path, sizeBytes } = request;
  // Its first bytes may be another file's, from a server that names no versions.
  if (resumed && sha256 !== request.sha256) throw new RetryLater("its parts do not fit together", { fromStart: true });
  if (sizeBytes > 0 && size !== sizeBytes) throw mismatch(request, `it has ${size} bytes, expected ${sizeBytes}`);
  if (sha256 !== request.sha256) throw mismatch(request, `its SHA-256 is ${sha256}, expected ${request.sha256}`);
  try {
    request.check?.(partial);
  } catch (error) {
    removePartial(partial);
    throw error;
  }
  renameSync(partial, path);
  syncFolder(dirname(path));
  removePartial(partial);
}

/** The error for a file that is not the one asked for: it is of no use to a later try. */
function mismatch({ partial, url }: DownloadRequest, reason: string): AiosError {
  removePartial(partial);
  return new AiosError("DATA_LOSS", {
    act: "download",
    object: url,
    reason,
    next: "nothing of it was kept; correct the address or the hash",
  });
}

function requireRoom({ partial, url, reserveBytes }: DownloadRequest, moreBytes: number): void {
  const { bavail, bsize } = statfsSync(dirname(partial));
  const free = bavail * bsize;
  if (free >= reserveBytes + Math.max(0, moreBytes)) return;
  throw new AiosError("RESOURCE_EXHAUSTED", {
    act: "download",
    object: url,
    reason:
      `the disk has ${free} bytes free, ${reserveBytes} stay free for the machine` +
      (moreBytes > 0 ? ` and it needs ${moreBytes} more` : ""),
    next: "make room and pull again; what came so far is kept",
  });
}

function explain(error: unknown, { url, partial }: DownloadRequest): unknown {
  if (!isFullDisk(error)) return error;
  removePartial(partial);
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "download",
    object: url,
    reason: `the disk is full (${messageOf(error)})`,
    next: "what came was removed; make room and pull again",
  });
}

function gaveUp({ url, partial }: DownloadRequest, { message }: Error, started: number): AiosError {
  const more = sizeOf(partial) - started;
  return new AiosError("UNAVAILABLE", {
    act: "download",
    object: url,
    reason: `${triesMax} tries in a row brought nothing${more > 0 ? ` after ${more} bytes` : ""}: ${message}`,
    next: "pull again later; what came so far is kept",
  });
}

/** Removes a part and what is remembered of it. */
export function removePartial(partial: string): void {
  rmSync(partial, { force: true });
  rmSync(sourcePath(partial), { force: true });
}

function sourcePath(partial: string): string {
  return `${partial}.json`;
}

function readSource(partial: string): Source | undefined {
  if (!existsSync(sourcePath(partial))) return undefined;
  try {
    const { url, etag, lastModified, totalBytes } = JSON.parse(readFileSync(sourcePath(partial), "utf8"));
    return { url: String(url), etag: String(etag), lastModified: String(lastModified), totalBytes: Number(totalBytes) };
  } catch {
    return undefined;
  }
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
