import { execFileSync, spawn } from "node:child_process";
import {
  closeSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  truncateSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { silentLog } from "#lib/log";
import { compiled } from "#lib/testing/compiled";
import { startWorker } from "./between/worker-process.ts";
import { readModelHeader } from "./files/gguf.ts";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

let folder: string;
let path: string;
let whole: Buffer;
let fields: Field[];

/** Where a number or a text of the header lies. */
interface Field {
  readonly what: string;
  readonly at: number;
  readonly bytes: number;
}

beforeAll(() => {
  folder = mkdtempSync("/tmp/aios-corrupt-");
  path = join(folder, "model.gguf");
  execFileSync(process.execPath, [here("../../image/model/write.ts"), path]);
  whole = readFileSync(path);
  fields = fieldsOf(whole);
});
afterAll(() => rmSync(folder, { recursive: true }));

/** Each field of a GGUF's header, found by a walk of its own. Of lists the count and the first elements. */
function fieldsOf(file: Buffer): Field[] {
  const found: Field[] = [];
  let at = 0;
  const field = (what: string, bytes: number) => {
    found.push({ what, at, bytes });
    at += bytes;
    return bytes === 4 ? file.readUInt32LE(at - 4) : bytes === 8 ? Number(file.readBigUInt64LE(at - 8)) : 0;
  };
  const text = (what: string) => field(what, field(`${what} length`, 8));
  const scalars: Record<number, number> = { 4: 4, 5: 4, 6: 4, 7: 1 };
  field("magic", 4);
  field("version", 4);
  const tensors = field("tensor count", 8);
  const entries = field("metadata count", 8);
  for (let entry = 0; entry < entries; entry++) {
    text(`key ${entry}`);
    const type = field(`type ${entry}`, 4);
    if (type === 8) text(`value ${entry}`);
    else if (type !== 9) field(`value ${entry}`, scalars[type] ?? 0);
    else {
      const element = field(`element type ${entry}`, 4);
      const length = field(`list length ${entry}`, 8);
      for (let index = 0; index < length; index++) {
        const before = found.length;
        if (element === 8) text(`element ${index}`);
        else field(`element ${index}`, scalars[element] ?? 0);
        if (index >= 3) found.length = before;
      }
    }
  }
  for (let tensor = 0; tensor < tensors; tensor++) {
    text(`tensor ${tensor} name`);
    const dimensions = field(`tensor ${tensor} dimensions`, 4);
    for (let index = 0; index < dimensions; index++) field(`tensor ${tensor} dimension ${index}`, 8);
    field(`tensor ${tensor} type`, 4);
    field(`tensor ${tensor} offset`, 8);
  }
  return found;
}

/** What a field of this many bytes is changed to. */
function mutations(bytes: number, old: Buffer): Buffer[] {
  const filled = (value: number) => Buffer.alloc(bytes, value);
  const number = (value: bigint) => {
    const buffer = Buffer.alloc(8);
    buffer.writeBigUInt64LE(BigInt.asUintN(64, value));
    return buffer.subarray(0, Math.min(bytes, 8));
  };
  const value = bytes === 8 ? old.readBigUInt64LE() : bytes === 4 ? BigInt(old.readUInt32LE()) : 0n;
  const numbers = [0n, 1n, value - 1n, value + 1n, value * 2n, 2n ** 31n, 2n ** 32n + 1n, 2n ** 62n, 2n ** 63n, -1n];
  const both = [filled(0), filled(0xff), filled(0x41), Buffer.from(old).reverse()];
  return bytes === 4 || bytes === 8 ? [...both, ...numbers.map(number)] : both;
}

/** What the check says of these bytes. */
function check(bytes: Buffer): "sound" | "refused" {
  writeFileSync(path, bytes);
  return checkFile();
}

/** What the check says of the file: a header, or a clear error. Nothing else is let through. */
function checkFile(): "sound" | "refused" {
  const began = process.cpuUsage();
  try {
    readModelHeader(path);
    return "sound";
  } catch (error) {
    expect(error).toBeInstanceOf(AiosError);
    expect(messageOf(error)).toMatch(/^load model .*model\.gguf: .{10,}; put a whole GGUF/s);
    return "refused";
  } finally {
    expect(workMs(began)).toBeLessThan(500);
  }
}

/** Loads `file` in a worker as the daemon does: it loads, or an error says why; the daemon's process is this one. */
async function loads(file: string): Promise<"loaded" | "refused" | "crashed"> {
  const { chatTemplate, contextTokens } = readModelHeader(file);
  const start = () =>
    spawn(process.execPath, [here("worker/worker.ts")], {
      stdio: ["ignore", "ignore", "ignore", "ipc"],
      env: { ...compiled, UV_THREADPOOL_SIZE: "1" },
    });
  const worker = startWorker(start, "corrupt", systemClock, silentLog);
  try {
    await worker.load({
      ...{ model: "corrupt", modelPath: file, kind: "generation", backend: "cpu", gpuLayers: 0, chatTemplate },
      bindingFolder: here("../../node_modules/@node-llama-cpp/linux-x64/bins/linux-x64"),
      ...{ contextTokens: Math.min(contextTokens || 128, 128), sequences: 1, batchTokens: 64, threads: 1 },
    });
    return "loaded";
  } catch (error) {
    expect(error).toBeInstanceOf(Error);
    return /process ended/.test(messageOf(error)) ? "crashed" : "refused";
  } finally {
    worker.stop();
    await worker.ended;
  }
}

describe("a GGUF that is not what it was", () => {
  it("with any field of its header mutated is a header or a clear error in milliseconds", () => {
    let variants = 0;
    let refused = 0;
    writeFileSync(path, whole);
    const file = openSync(path, "r+");
    for (const { at, bytes } of fields) {
      const old = whole.subarray(at, at + bytes);
      for (const mutation of mutations(bytes, old)) {
        writeSync(file, mutation, 0, mutation.length, at);
        variants++;
        if (checkFile() === "refused") refused++;
      }
      writeSync(file, old, 0, bytes, at);
    }
    closeSync(file);
    expect(fields.length).toBeGreaterThan(200);
    expect(variants).toBeGreaterThan(2_000);
    expect(refused / variants).toBeGreaterThan(0.5);
  });

  it("cut off in any region is refused", () => {
    const header = Math.max(...fields.map(({ at, bytes }) => at + bytes));
    const inHeader = Array.from({ length: header }, (_, at) => at).filter((at) => at < 600 || at % 23 === 0);
    const inTensors = Array.from(
      { length: 200 },
      (_, at) => header + 1 + Math.floor(((whole.length - header - 1) * at) / 200),
    );
    writeFileSync(path, whole);
    for (const length of [...inTensors.reverse(), ...inHeader.reverse()]) {
      truncateSync(path, length);
      expect(() => readModelHeader(path), `${length} bytes`).toThrow(/truncated|not a GGUF/);
    }
  });

  it("with random bytes changed, swapped, doubled or left out is a header or a clear error", () => {
    let state = 12345;
    const random = (below: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return state % below;
    };
    const header = Math.max(...fields.map(({ at, bytes }) => at + bytes));
    for (let round = 0; round < 1_000; round++) {
      const changed = Buffer.from(whole);
      const at = random(header);
      const length = 1 + random(64);
      const act = random(4);
      if (act === 0) for (let index = 0; index < length; index++) changed[at + index] = random(256);
      if (act === 1) changed.copyWithin(at, random(header), random(header));
      if (act === 2) check(Buffer.concat([changed.subarray(0, at), changed.subarray(at - Math.min(at, length))]));
      else if (act === 3) check(Buffer.concat([changed.subarray(0, at), changed.subarray(at + length)]));
      else check(changed);
    }
  });

  it("and passes the check costs at most the worker that loads it", async () => {
    const tried: string[] = [];
    for (const { what, at, bytes } of fields.filter(({ what }) =>
      /value|element \d|element type|tensor (0|9) /.test(what),
    )) {
      const [, ones = Buffer.alloc(0)] = mutations(bytes, whole.subarray(at, at + bytes));
      const changed = Buffer.from(whole);
      ones.copy(changed, at);
      if (tried.length >= 16 || check(changed) === "refused") continue;
      tried.push(`${what}: ${await loads(path)}`);
    }
    expect(tried.length).toBe(16);
    writeFileSync(path, whole);
    expect(await loads(path)).toBe("loaded");
  });
});

it("what lies about its counts does not keep the daemon busy", () => {
  const entry = (key: string, type: number, value: Buffer) =>
    Buffer.concat([long(key.length), Buffer.from(key), int(type), value]);
  const texts = (count: number) => Buffer.concat([int(8), long(count), Buffer.alloc(8 * Math.min(count, 2_000_000))]);
  const start = (entries: number) => Buffer.concat([Buffer.from("GGUF"), int(3), long(1), long(entries)]);
  const began = process.cpuUsage();
  const lists = Array.from({ length: 3 }, (_, at) => entry(`list${at}`, 9, texts(2_000_000)));
  expect(check(Buffer.concat([start(3), ...lists]))).toBe("refused");
  expect(check(Buffer.concat([start(1), entry("list", 9, texts(2 ** 40))]))).toBe("refused");
  expect(workMs(began)).toBeLessThan(5_000);
});

/** Work since then, not time: others may keep the machine busy. */
function workMs(began: NodeJS.CpuUsage): number {
  const { user, system } = process.cpuUsage(began);
  return (user + system) / 1_000;
}

function int(value: number): Buffer {
  const buffer = Buffer.alloc(4);
  buffer.writeUInt32LE(value);
  return buffer;
}

function long(value: number): Buffer {
  const buffer = Buffer.alloc(8);
  buffer.writeBigUInt64LE(BigInt(value));
  return buffer;
}
