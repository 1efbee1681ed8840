/** Init's own gRPC against the library's, both ways and with itself. */
import { mkdtempSync, rmSync, statSync } from "node:fs";
import { connect as connectHttp2 } from "node:http2";
import { connect as connectSocket } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { connect } from "#lib/client";
import { AiosError } from "#lib/errors";
import { type Log, silentLog } from "#lib/log";
import { createServer, listen } from "#lib/server";
import { type Client, coreIdentity, type Service, service } from "#lib/service";
import { InitService, UnitState } from "#proto/aios/init";
import {
  ServerReflectionRequest,
  ServerReflectionResponse,
  ServerReflectionService,
} from "#proto/grpc/reflection/v1/reflection";
import { connectLight } from "./rpc-client.ts";
import {
  frame,
  frameReader,
  messageSizeMaxBytes,
  parseTimeout,
  statusOf,
  statusTrailers,
  timeoutHeader,
} from "./rpc-frames.ts";
import { createLightServer } from "./rpc-server.ts";

const unit = (name: string) => ({
  ...{ name, state: UnitState.UNIT_READY, pid: 7, startedAt: 2 ** 40, readyAfterMs: 0, restarts: 0, reason: "ok" },
  ...{ needs: ["a", "b"], nextStartAt: 0, memoryBytes: 0, cpuMs: 0 },
});

let folder: string;
let path: string;
let closing: (() => void)[];
let cancelled: string[];
let logged: string[];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-rpc-");
  path = join(folder, "unit.sock");
  closing = [];
  cancelled = [];
  logged = [];
});
afterEach(() => {
  for (const close of closing.reverse()) close();
  rmSync(folder, { recursive: true });
});

const log: Log = { ...silentLog, error: (text, fields) => logged.push(`${text} ${fields?.["path"]}`) };

const services: readonly Service[] = [
  service(InitService, {
    getUnit: ({ name }, { identity, signal }) => {
      if (name === "missing") throw new AiosError("NOT_FOUND", "find unit missing: no “such” unit\n100 %");
      if (name === "broken") throw new Error("a secret");
      if (name === "slow") {
        return new Promise((_, reject) =>
          signal.addEventListener("abort", () => {
            cancelled.push((signal.reason as AiosError).code);
            reject(signal.reason);
          }),
        );
      }
      return unit(name === "who" ? `${identity.kind} ${identity.name}` : name);
    },
    listUnits: () => ({ units: Array.from({ length: 40_000 }, (_, index) => unit(`unit-${index}`)) }),
    readLogs: async function* ({ unit: name, lines }, { signal }) {
      signal.addEventListener("abort", () => cancelled.push((signal.reason as AiosError).code));
      for (let line = 0; line < lines; line += 1) yield { unit: name, timestamp: line, text: "x".repeat(1_000) };
      if (name === "fails") throw new AiosError("DATA_LOSS", "the log is torn");
      if (name === "endless") await new Promise(() => {});
    },
  }),
  service(ServerReflectionService, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) yield ServerReflectionResponse.fromPartial({ validHost: request.host });
    },
  }),
];

const servers = {
  async library() {
    const server = createServer(services, () => coreIdentity, log);
    await listen(server, { path, identity: coreIdentity, mode: 0o600 });
    closing.push(() => server.forceShutdown());
    return () => server.forceShutdown();
  },
  async own() {
    const server = createLightServer(services, coreIdentity, log, () => "made-id");
    await server.listen(path, 0o600);
    closing.push(() => server.close());
    return () => server.close();
  },
};
const clients = {
  library: () => connect(InitService, `unix:${path}`),
  own: () => connectLight(InitService, path),
};

function client(kind: keyof typeof clients): Client<typeof InitService> {
  const made = clients[kind]();
  closing.push(() => made.close());
  return made;
}

async function eventually(wanted: () => boolean): Promise<void> {
  for (let tries = 0; tries < 300 && !wanted(); tries += 1) await new Promise((resolve) => setTimeout(resolve, 10));
  expect(wanted()).toBe(true);
}

async function readAll<T>(stream: AsyncIterable<T>): Promise<T[]> {
  const all: T[] = [];
  for await (const item of stream) all.push(item);
  return all;
}

describe.each([
  ["own", "own"],
  ["own", "library"],
  ["library", "own"],
] as const)("a server (%s) and a client (%s)", (serverKind, clientKind) => {
  let init: Client<typeof InitService>;
  let end: () => void;

  beforeEach(async () => {
    end = await servers[serverKind]();
    init = client(clientKind);
  });

  it("pass messages, small and large, one after the other and at once", async () => {
    expect(await init.getUnit({ name: "memory" })).toEqual(unit("memory"));
    expect((await init.listUnits({})).units).toHaveLength(40_000);
    const names = Array.from({ length: 200 }, (_, index) => `u${index}`);
    const units = await Promise.all(names.map((name) => init.getUnit({ name })));
    expect(units.map(({ name }) => name)).toEqual(names);
    expect(await init.getUnit({ name: "who" })).toMatchObject({ name: "core core" });
  });

  it("pass errors as they are, and no internals", async () => {
    await expect(init.getUnit({ name: "missing" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: "find unit missing: no “such” unit\n100 %",
    });
    const internal = await init.getUnit({ name: "broken" }).catch((error: AiosError) => error);
    expect(internal).toMatchObject({ code: "INTERNAL", message: expect.not.stringContaining("secret") });
    expect(logged).toEqual(["call failed /aios.init.Init/GetUnit"]);
    await expect(init.getBoot({})).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      message: expect.stringMatching(/GetBoot|does not implement/),
    });
  });

  it("stream, to the end or to an error after the last message", async () => {
    const lines = await readAll(init.readLogs({ unit: "a", lines: 3_000, follow: false }));
    expect(lines.map(({ timestamp }) => timestamp)).toEqual(Array.from({ length: 3_000 }, (_, index) => index));
    expect(await readAll(init.readLogs({ unit: "a", lines: 0, follow: false }))).toEqual([]);
    const read: number[] = [];
    const failing = (async () => {
      for await (const { timestamp } of init.readLogs({ unit: "fails", lines: 2, follow: false })) read.push(timestamp);
    })();
    await expect(failing).rejects.toMatchObject({ code: "DATA_LOSS", message: "the log is torn" });
    expect(read).toEqual([0, 1]);
  });

  it("keep deadlines, on both sides", async () => {
    const late = init.getUnit({ name: "slow" }, { timeoutMs: 150 });
    await expect(late).rejects.toMatchObject({ code: "DEADLINE_EXCEEDED" });
    await eventually(() => cancelled.length === 1);
    expect(["DEADLINE_EXCEEDED", "CANCELLED"]).toContain(cancelled[0]);
  });

  it("cancel, by signal and by leaving a stream", async () => {
    const stop = new AbortController();
    const call = init.getUnit({ name: "slow" }, { signal: stop.signal });
    setTimeout(() => stop.abort(), 50);
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    await eventually(() => cancelled.length === 1);
    for await (const _ of init.readLogs({ unit: "endless", lines: 1, follow: true })) break;
    await eventually(() => cancelled.length === 2);
    const before = AbortSignal.abort();
    await expect(init.getUnit({ name: "a" }, { signal: before })).rejects.toMatchObject({ code: "CANCELLED" });
  });

  it("fail when the peer goes away, and find the next one", async () => {
    const call = init.getUnit({ name: "slow" });
    const stream = readAll(init.readLogs({ unit: "endless", lines: 1, follow: true }));
    setTimeout(end, 100);
    for (const outcome of await Promise.allSettled([call, stream])) {
      expect(outcome).toMatchObject({ status: "rejected", reason: { code: "UNAVAILABLE" } });
    }
    rmSync(path, { force: true });
    await expect(init.getUnit({ name: "a" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await servers[serverKind]();
    let again: unknown;
    for (let tries = 0; tries < 50 && again === undefined; tries += 1) {
      again = await init.getUnit({ name: "a" }).catch(() => new Promise((resolve) => setTimeout(resolve, 50)));
    }
    expect(again).toEqual(unit("a"));
  });
});

describe("init's own server", () => {
  it("speaks in both directions at once", async () => {
    await servers.own();
    const reflection = connect(ServerReflectionService, `unix:${path}`);
    closing.push(() => reflection.close());
    async function* requests() {
      for (const host of ["one", "two"]) yield ServerReflectionRequest.fromPartial({ host });
    }
    const hosts = (await readAll(reflection.serverReflectionInfo(requests()))).map(({ validHost }) => validHost);
    expect(hosts).toEqual(["one", "two"]);
  });

  it("keeps its socket to its mode, and knows an operator only from a core daemon", async () => {
    await servers.own();
    expect(statSync(path).mode & 0o777).toBe(0o600);
    const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(path) });
    closing.push(() => session.destroy());
    const request = session.request({
      ...{ ":method": "POST", ":path": "/aios.init.Init/GetUnit", "content-type": "application/grpc" },
      ...{ te: "trailers", "x-aios-operator": "alice" },
    });
    request.end(frame(InitService.getUnit.requestSerialize({ name: "who" })));
    const chunks: Buffer[] = [];
    for await (const chunk of request) chunks.push(chunk as Buffer);
    const [message] = frameReader()(Buffer.concat(chunks));
    expect(InitService.getUnit.responseDeserialize(message ?? Buffer.alloc(0)).name).toBe("operator alice");
  });

  it.each([
    ["a message that is too large", Buffer.from([0, 0x7f, 0, 0, 0]), "8", /at most/],
    ["a compressed message", Buffer.from([1, 0, 0, 0, 0]), "12", /compressed/],
    ["no message", Buffer.alloc(0), "3", /no request/],
    ["bytes that are no such message", frame(Buffer.from([0x0a, 0x7f, 1])), "13", /internal error/],
  ])("refuses %s, and lives", async (_, bytes, status, message) => {
    await servers.own();
    const session = connectHttp2("http://localhost", { createConnection: () => connectSocket(path) });
    closing.push(() => session.destroy());
    const request = session.request({ ":method": "POST", ":path": "/aios.init.Init/GetUnit", te: "trailers" });
    const headers = new Promise<Record<string, unknown>>((resolve) => request.once("response", resolve));
    request.end(bytes);
    request.resume();
    expect((await headers)["grpc-status"]).toBe(status);
    expect(decodeURIComponent(String((await headers)["grpc-message"]))).toMatch(message);
    expect(await client("own").getUnit({ name: "a" })).toEqual(unit("a"));
  });
});

describe("frames", () => {
  it("are found wherever the chunks are cut", () => {
    const messages = ["", "a", "bc".repeat(300)].map((text) => Buffer.from(text));
    const bytes = Buffer.concat(messages.map(frame));
    for (const size of [1, 2, 5, 7, 600, 10_000]) {
      const read = frameReader();
      const found: Buffer[] = [];
      for (let at = 0; at < bytes.length; at += size) found.push(...read(bytes.subarray(at, at + size)));
      expect(found.map(String)).toEqual(messages.map(String));
    }
    const large = Buffer.alloc(5);
    large.writeUInt32BE(messageSizeMaxBytes + 1, 1);
    expect(() => frameReader()(large)).toThrow(expect.objectContaining({ code: "RESOURCE_EXHAUSTED" }));
  });

  it("carry statuses and deadlines as text", () => {
    for (const message of ["plain", "ä “x” 100 %\n", "🦊", "%41"]) {
      expect(statusOf(statusTrailers("NOT_FOUND", message))).toEqual({ code: "NOT_FOUND", message });
    }
    expect(statusOf(statusTrailers("OK"))).toEqual({ code: "OK", message: "" });
    expect(statusOf({})).toBeUndefined();
    expect(statusOf({ "grpc-status": "99", "grpc-message": "%zz" })).toEqual({ code: "INTERNAL", message: "%zz" });
    for (const ms of [1, 250, 10_000, 86_400_000]) expect(parseTimeout(timeoutHeader(ms))).toBe(ms);
    expect([parseTimeout("5S"), parseTimeout("2M"), parseTimeout("1H"), parseTimeout("x")]).toEqual([
      5_000,
      120_000,
      3_600_000,
      undefined,
    ]);
    expect(timeoutHeader(1e12)).toBe("99999999S");
  });
});
