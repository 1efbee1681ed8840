import { existsSync, rmSync, statSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { type DownloadProgress, download, removePartial } from "#lib/download";
import { AiosError, messageOf } from "#lib/errors";
import type { ModelEntry } from "#lib/model-manifest";
import { modelEntry } from "#lib/model-manifest";
import type { Catalogue, KnownModel } from "./catalogue.ts";
import type { FileHashes } from "./file-identity.ts";
import { readModelHeader } from "./gguf.ts";
import { modelSize, partsOf } from "./model-files.ts";

/** The operators' acts on model files and the manifest. */
export interface Library {
  /**
   * Downloads a model of the manifest, telling its progress; the last says "done", or "present" for a file that was there.
   * FAILED_PRECONDITION without an address or a hash, or while another pull of it runs; else as {@link download}.
   */
  pull(name: string, signal: AbortSignal): AsyncGenerator<PullStep>;
  /** Reads model files and compares them with the manifest; `name` empty = all that the manifests or folders hold. */
  verify(name: string, again: boolean, signal: AbortSignal): AsyncGenerator<Verdict>;
  /** Adds to the machine's manifest. INVALID_ARGUMENT for what cannot be an entry. */
  add(entry: Partial<ModelEntry>): ModelEntry;
  /** Takes a model out of the machine's manifest and removes its file here; returns the bytes that this freed. */
  remove(name: string, keepFile: boolean): Promise<number>;
}

interface PullStep extends Omit<DownloadProgress, "state"> {
  readonly state: DownloadProgress["state"] | "present";
  /** With "done" and "present". */
  readonly sha256: string;
  readonly path: string;
}

interface Verdict {
  readonly model: string;
  /** "unpinned": a sound file, and the manifest has no hash to hold it against. */
  readonly state: "reading" | "good" | "unpinned" | "bad" | "absent";
  readonly reason: string;
  readonly doneBytes: number;
  readonly totalBytes: number;
  readonly sha256: string;
}

interface LibraryOptions {
  readonly catalogue: Catalogue;
  readonly hashes: FileHashes;
  /** Unloads a model; FAILED_PRECONDITION for one that must stay. */
  readonly unload: (model: string) => Promise<void>;
  readonly clock: Clock;
}

/** The space that a pull leaves free on the data partition, for ledger, memory and logs. */
const reserveBytes = 268_435_456;

/** How often the reading of a file tells how far it is. */
const tellMs = 500;

export function openLibrary({ catalogue, hashes, unload, clock }: LibraryOptions): Library {
  const pulling = new Set<string>();

  const required = (name: string): KnownModel => {
    const known = catalogue.find(name);
    if (known !== undefined) return known;
    throw new AiosError("NOT_FOUND", {
      act: "find model",
      object: name,
      reason: "no manifest names it and no file has its name",
      next: '"aiosctl models" lists those that there are; "aiosctl models add" adds one',
    });
  };

  async function* pullNow({ entry, path }: KnownModel, signal: AbortSignal): AsyncGenerator<PullStep> {
    const { sha256, url, sizeBytes } = entry;
    if (path !== undefined && (await hashes.of(path, { signal })) === sha256) {
      const bytes = statSync(path).size;
      return yield { state: "present", doneBytes: bytes, totalBytes: bytes, resumedBytes: bytes, sha256, path };
    }
    const target = catalogue.target(entry);
    const check = (partial: string) => void readModelHeader(partial);
    const request = { url, ...target, sha256, sizeBytes, reserveBytes, check, clock, signal };
    for await (const progress of download(request)) {
      if (progress.state !== "done") yield { ...progress, sha256: "", path: "" };
      else {
        hashes.remember(target.path, sha256);
        yield { ...progress, sha256, path: target.path };
      }
    }
  }

  async function* verifyOne({ entry, path }: KnownModel, again: boolean, signal: AbortSignal): AsyncGenerator<Verdict> {
    const verdict = (state: Verdict["state"], more: Partial<Verdict> = {}): Verdict => ({
      ...{ model: entry.name, state, reason: "", doneBytes: 0, totalBytes: 0, sha256: "", ...more },
    });
    if (path === undefined) return yield verdict("absent", { reason: `its file ${entry.file} is not on this machine` });
    const totalBytes = statSync(path, { throwIfNoEntry: false })?.size ?? 0;
    try {
      readModelHeader(path);
      let doneBytes = 0;
      const progress = (bytes: number) => {
        doneBytes = bytes;
      };
      const reading = hashes.of(path, { signal, again, progress });
      while (!(await settlesWithin(reading, tellMs, clock))) yield verdict("reading", { doneBytes, totalBytes });
      const sha256 = await reading;
      const read = { doneBytes: totalBytes, totalBytes, sha256 };
      if (entry.sha256 === "") yield verdict("unpinned", read);
      else if (entry.sha256 === sha256) yield verdict("good", read);
      else yield verdict("bad", { ...read, reason: `its SHA-256 is ${sha256}, the manifest says ${entry.sha256}` });
    } catch (error) {
      signal.throwIfAborted();
      yield verdict("bad", { reason: messageOf(error), totalBytes });
    }
  }

  return {
    async *pull(name, signal) {
      const known = required(name);
      requirePullable(known.entry);
      const { file } = known.entry;
      if (pulling.has(file)) throw busyError(known.entry);
      pulling.add(file);
      try {
        yield* pullNow(known, signal);
      } finally {
        pulling.delete(file);
      }
    },
    async *verify(name, again, signal) {
      const models = name === "" ? catalogue.all().filter(({ path }) => path !== undefined) : [required(name)];
      for (const known of models) yield* verifyOne(known, again, signal);
    },
    add(fields) {
      const entry = modelEntry(fields);
      if (entry.path !== "" && !existsSync(entry.path)) throw noFile(entry);
      return catalogue.add(entry).entry;
    },
    async remove(name, keepFile) {
      const { entry, origin } = required(name);
      if (pulling.has(entry.file)) throw busyError(entry);
      const { path, partial } = catalogue.target(entry);
      const own = existsSync(path);
      if (origin === "image" && !own && !existsSync(partial)) throw ofImage(entry);
      await unload(entry.name);
      catalogue.drop(entry.name);
      if (keepFile) return 0;
      const freed = modelSize(path) + modelSize(partial);
      for (const part of partsOf(path)) rmSync(part, { force: true });
      removePartial(partial);
      return freed;
    },
  };
}

async function settlesWithin(promise: Promise<unknown>, ms: number, clock: Clock): Promise<boolean> {
  const over = new AbortController();
  const settled = promise.then(
    () => true,
    () => true,
  );
  const late = clock.sleep(ms, over.signal).then(
    () => false,
    () => false,
  );
  const first = await Promise.race([settled, late]);
  over.abort();
  return first;
}

function requirePullable({ name, url, sha256 }: ModelEntry): void {
  if (url !== "" && sha256 !== "") return;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "pull model",
    object: name,
    reason:
      url === "" ? "its entry has no address" : "its entry has no SHA-256, and nothing is shown before it is verified",
    next: `aiosctl models add ${name} --url ADDRESS --sha256 HASH`,
  });
}

function busyError({ name }: ModelEntry): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "pull model",
    object: name,
    reason: "it is being pulled already",
    next: "wait for that, or stop it",
  });
}

function noFile({ name, path }: ModelEntry): AiosError {
  return new AiosError("NOT_FOUND", {
    act: "add model",
    object: name,
    reason: `there is no file ${path} that the runtime can read`,
    next: "put it there first",
  });
}

function ofImage({ name }: ModelEntry): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "remove model",
    object: name,
    reason: "it is part of the image, and nothing of it is on the data partition",
    next: "leave it out when the image is built",
  });
}
