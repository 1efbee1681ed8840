import { once } from "node:events";
import { mkdtempSync, rmSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { messageSizeMaxBytes } from "#lib/rpc/server";
import type { Rule } from "./access.ts";
import { type Listener, openListener } from "./listener.ts";
import { type CallProxy, openProxy } from "./proxy.ts";
import { ca, client, now, provisioned } from "./testing/twins.ts";

/** A service of all four kinds of call, and what its peer saw. */
const bytes = (message: Buffer) => message;
const method = (name: string, requestStream: boolean, responseStream: boolean) => ({
  ...{ path: `/test.Kinds/${name}`, requestStream, responseStream },
  ...{ requestSerialize: bytes, requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes },
});
const definition = {
  unary: method("Unary", false, false),
  collect: method("Collect", true, false),
  count: method("Count", false, true),
  echo: method("Echo", true, true),
};
const rules: Rule[] = Object.values(definition).map(({ path }) => ({ path, daemon: "kinds", least: "reader" }));

interface Seen {
  readonly metadata: grpc.Metadata;
  readonly deadline: number;
  readonly gone: AbortController;
  cancelled: boolean;
  sent: number;
}

let folder: string;
let daemon: grpc.Server;
let front: grpc.Server;
let listener: Listener;
let proxy: CallProxy;
let peer: grpc.Client;
let seen: Seen[];

const tags = (key: string, value: string) => {
  const metadata = new grpc.Metadata();
  metadata.set(key, value);
  return metadata;
};

function note(
  call: Pick<grpc.ServerUnaryCall<Buffer, Buffer>, "metadata" | "getDeadline"> & NodeJS.EventEmitter,
): Seen {
  const gone = new AbortController();
  const entry = { metadata: call.metadata, deadline: Number(call.getDeadline()), gone, cancelled: false, sent: 0 };
  call.on("cancelled", () => {
    entry.cancelled = true;
    gone.abort();
  });
  seen.push(entry);
  return entry;
}

/** "N SIZE": so many messages of that many bytes; "hang": none and no end. */
async function count(call: grpc.ServerWritableStream<Buffer, Buffer>): Promise<void> {
  const entry = note(call);
  const [messages = 0, size = 1] = String(call.request).split(" ").map(Number);
  if (Number.isNaN(messages)) return;
  for (let n = 0; n < messages && !entry.cancelled; n++) {
    entry.sent++;
    if (!call.write(Buffer.alloc(size, n))) await once(call, "drain", { signal: entry.gone.signal }).catch(() => {});
  }
  call.end(tags("x-count", String(messages)));
}

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-proxy-");
  seen = [];
  daemon = new grpc.Server({ "grpc.max_receive_message_length": messageSizeMaxBytes });
  daemon.addService(definition, {
    unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
      note(call);
      if (String(call.request) === "hang") return;
      if (String(call.request) !== "fail") return answer(null, call.request, tags("x-trailer", "t"));
      answer({ code: grpc.status.FAILED_PRECONDITION, details: "not now: é", metadata: tags("x-why", "w") });
    },
    collect: async (call: grpc.ServerReadableStream<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) => {
      note(call);
      const parts: Buffer[] = [];
      for await (const part of call) parts.push(part);
      answer(null, Buffer.concat(parts));
    },
    count,
    echo: (call: grpc.ServerDuplexStream<Buffer, Buffer>) => {
      note(call);
      call.sendMetadata(tags("x-head", "h"));
      call.on("data", (message) => call.write(message));
      call.on("end", () => call.end());
    },
  });
  const socket = `unix:${folder}/kinds.sock`;
  await new Promise((resolve) => daemon.bindAsync(socket, grpc.ServerCredentials.createInsecure(), resolve));
  proxy = openProxy(rules, () => socket, new ManualClock(now), silentLog);
  front = new grpc.Server({ "grpc.max_receive_message_length": messageSizeMaxBytes });
  proxy.addTo(front);
  const injector = front.createConnectionInjector(grpc.ServerCredentials.createInsecure());
  const rooms = { operators: injector.injectConnection, newcomers: () => undefined };
  listener = await openListener({ host: "127.0.0.1", port: 0 }, provisioned, rooms, systemClock, silentLog);
  const { certificate, key } = await client("reader", "alice");
  const credentials = grpc.credentials.createSsl(
    Buffer.from(ca.certificate),
    Buffer.from(key),
    Buffer.from(certificate),
  );
  peer = new grpc.Client(`127.0.0.1:${listener.port}`, credentials, { "grpc.ssl_target_name_override": "aios" });
});

afterEach(() => {
  peer.close();
  proxy.close();
  front.forceShutdown();
  listener.close();
  daemon.forceShutdown();
  rmSync(folder, { recursive: true });
});

interface Answer {
  error: grpc.ServiceError | null;
  response: Buffer | undefined;
  trailers: grpc.Metadata;
}

function unary(text: string | Buffer, metadata = new grpc.Metadata(), options: grpc.CallOptions = {}): Promise<Answer> {
  return new Promise((resolve) => {
    let result: Pick<Answer, "error" | "response">;
    peer
      .makeUnaryRequest(
        definition.unary.path,
        bytes,
        bytes,
        Buffer.from(text),
        metadata,
        options,
        (error, response) => {
          result = { error, response };
        },
      )
      .on("status", ({ metadata: trailers }) => setImmediate(() => resolve({ ...result, trailers })));
  });
}

describe("passing calls on", () => {
  it("unary: message, trailers, and the identity that the certificate gives, whatever the client claims", async () => {
    const claims = new grpc.Metadata();
    claims.set("x-aios-operator", "root");
    claims.set("x-aios-role", "admin");
    claims.set("x-correlation-id", "abc-123");
    claims.set("x-aios-execution-id", "01a22a70-21d6-7427-a82a-58b551264bab");
    claims.set("x-other", "y");
    const { response, trailers } = await unary("hello", claims);
    expect(String(response)).toBe("hello");
    expect(trailers.get("x-trailer")).toEqual(["t"]);
    const { metadata } = seen[0] ?? { metadata: new grpc.Metadata() };
    expect(metadata.get("x-aios-operator")).toEqual(["alice"]);
    expect(metadata.get("x-aios-role")).toEqual(["reader"]);
    expect(metadata.get("x-correlation-id")).toEqual(["abc-123"]);
    expect(metadata.get("x-aios-execution-id")).toEqual(["01a22a70-21d6-7427-a82a-58b551264bab"]);
    expect(metadata.get("x-other")).toEqual([]);
  });

  it("a correlation id that is none is replaced", async () => {
    await unary("a", tags("x-correlation-id", "x".repeat(100)));
    expect(seen[0]?.metadata.get("x-correlation-id")[0]).toMatch(/^[0-9a-f-]{36}$/);
  });

  it("errors: code, words and trailers", async () => {
    const { error, trailers } = await unary("fail");
    expect(error).toMatchObject({ code: grpc.status.FAILED_PRECONDITION, details: "not now: é" });
    expect(trailers.get("x-why")).toEqual(["w"]);
  });

  it("the deadline, which ends the call on both sides", async () => {
    const deadline = Date.now() + 2_000;
    const { error } = await unary("hang", undefined, { deadline });
    expect(error?.code).toBe(grpc.status.DEADLINE_EXCEEDED);
    expect(Math.abs((seen[0]?.deadline ?? 0) - deadline)).toBeLessThan(500);
    await expect.poll(() => seen[0]?.cancelled).toBe(true);
  });

  it("messages up to the limit, and none over it", async () => {
    const large = Buffer.alloc(messageSizeMaxBytes - 100, 7);
    expect((await unary(large)).response?.equals(large)).toBe(true);
    expect((await unary(Buffer.alloc(messageSizeMaxBytes + 1))).error?.code).toBe(grpc.status.RESOURCE_EXHAUSTED);
  });

  it("client streams", async () => {
    const sum = await new Promise<string>((resolve, reject) => {
      const call = peer.makeClientStreamRequest(definition.collect.path, bytes, bytes, (error, response) =>
        error ? reject(error) : resolve(String(response)),
      );
      for (const part of ["a", "b", "c"]) call.write(Buffer.from(part));
      call.end();
    });
    expect(sum).toBe("abc");
  });

  it("server streams: every message, in order, then the trailers", async () => {
    const call = peer.makeServerStreamRequest(definition.count.path, bytes, bytes, Buffer.from("500 10"));
    const trailers = new Promise<grpc.StatusObject>((resolve) => call.once("status", resolve));
    const firsts: number[] = [];
    for await (const message of call) firsts.push((message as Buffer).readUInt8(0));
    expect(firsts).toEqual(Array.from({ length: 500 }, (_, n) => n & 0xff));
    expect((await trailers).metadata.get("x-count")).toEqual(["500"]);
  });

  it("back-pressure: a daemon does not send what nobody reads", async () => {
    const call = peer.makeServerStreamRequest(definition.count.path, bytes, bytes, Buffer.from("5000 100000"));
    await once(call, "readable");
    await new Promise((resolve) => setTimeout(resolve, 300));
    expect(seen[0]?.sent).toBeLessThan(200);
    call.cancel();
    call.on("error", () => {});
    await expect.poll(() => seen[0]?.cancelled).toBe(true);
  });

  it("a client that goes away ends its calls", async () => {
    const call = peer.makeServerStreamRequest(definition.count.path, bytes, bytes, Buffer.from("hang"));
    call.on("error", () => {});
    await expect.poll(() => seen.length).toBe(1);
    peer.close();
    call.cancel();
    await expect.poll(() => seen[0]?.cancelled).toBe(true);
  });

  it("both ways at once, with the head before the first message", async () => {
    const call = peer.makeBidiStreamRequest(definition.echo.path, bytes, bytes);
    const [head] = (await once(call, "metadata")) as [grpc.Metadata];
    expect(head.get("x-head")).toEqual(["h"]);
    for (const word of ["one", "two"]) {
      call.write(Buffer.from(word));
      expect(String((await once(call, "data"))[0])).toBe(word);
    }
    call.end();
    expect(((await once(call, "status")) as [grpc.StatusObject])[0].code).toBe(grpc.status.OK);
  });

  it("a daemon that dies within a call fails that call, and serves again when it is back", async () => {
    const hanging = unary("hang");
    await expect.poll(() => seen.length).toBe(1);
    daemon.forceShutdown();
    expect((await hanging).error?.code).toBeOneOf([grpc.status.UNAVAILABLE, grpc.status.CANCELLED]);
    daemon = new grpc.Server();
    daemon.addService(definition, {
      unary: (call: grpc.ServerUnaryCall<Buffer, Buffer>, answer: grpc.sendUnaryData<Buffer>) =>
        answer(null, call.request),
    });
    rmSync(`${folder}/kinds.sock`, { force: true });
    const socket = `unix:${folder}/kinds.sock`;
    await new Promise((resolve) => daemon.bindAsync(socket, grpc.ServerCredentials.createInsecure(), resolve));
    await expect.poll(async () => String((await unary("back")).response), { timeout: 5_000 }).toBe("back");
  });
});
