import { createHash, randomBytes } from "node:crypto";
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { createServer, type IncomingMessage, type Server, type ServerResponse } from "node:http";
import type { AddressInfo } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Clock } from "./clock.ts";
import { systemClock } from "./clock.ts";
import { type DownloadProgress, type DownloadRequest, download } from "./download.ts";

const content = randomBytes(9_000_000);
const sha256 = createHash("sha256").update(content).digest("hex");

/** Pauses between tries take no time; a stall does. */
const quickClock: Clock = {
  ...systemClock,
  sleep: (ms, signal) => systemClock.sleep(ms > 400 && ms < 20_000 ? 1 : ms, signal),
};

let folder: string;
let server: Server;
let url: string;
let asked: { path: string; range: string | undefined; ifRange: string | undefined }[];
/** What the server does with the next requests; the last one goes on. */
let plan: ((request: IncomingMessage, response: ServerResponse) => void)[];

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-download-");
  asked = [];
  plan = [whole];
  server = createServer((request, response) => {
    const { range, "if-range": ifRange } = request.headers;
    asked.push({ path: request.url ?? "", range, ifRange: ifRange as string | undefined });
    const act = plan.length > 1 ? plan.shift() : plan[0];
    act?.(request, response);
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  url = `http://127.0.0.1:${(server.address() as AddressInfo).port}/m.gguf`;
});
afterEach(async () => {
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
  rmSync(folder, { recursive: true });
});

interface Serving {
  readonly etag?: string;
  readonly body?: Buffer;
  /** Breaks the connection after this many bytes of the body. */
  readonly cutAt?: number;
  /** Sends no more after this many bytes. */
  readonly hangAt?: number;
  readonly ranges?: boolean;
  readonly lengthless?: boolean;
}

function serve({ etag = '"v1"', body = content, cutAt, hangAt, ranges = true, lengthless = false }: Serving = {}) {
  return ({ headers }: IncomingMessage, response: ServerResponse) => {
    const from = ranges ? Number(/^bytes=(\d+)-$/.exec(headers.range ?? "")?.[1] ?? 0) : 0;
    const honoured = from > 0 && (headers["if-range"] ?? etag) === etag;
    if (honoured && from >= body.length) return void response.writeHead(416).end();
    const start = honoured ? from : 0;
    const part = body.subarray(start);
    response.writeHead(honoured ? 206 : 200, {
      ...(etag !== "" && { etag }),
      ...(!lengthless && { "content-length": part.length }),
      ...(honoured && { "content-range": `bytes ${start}-${body.length - 1}/${body.length}` }),
    });
    if (cutAt !== undefined) response.write(part.subarray(0, cutAt), () => response.socket?.end());
    else if (hangAt !== undefined) response.write(part.subarray(0, hangAt));
    else response.end(part);
  };
}
const whole = serve();

/** The range of a request that goes on somewhere: what of the last packets counts when a connection breaks is not ours to say. */
const part = expect.stringMatching(/^bytes=[1-9]\d+-$/);

const request = (more: Partial<DownloadRequest> = {}): DownloadRequest => ({
  url,
  path: join(folder, "m.gguf"),
  partial: join(folder, ".partial/m.gguf"),
  sha256,
  sizeBytes: 0,
  reserveBytes: 0,
  clock: quickClock,
  signal: new AbortController().signal,
  stall: { windowMs: 150, leastBytes: 10 },
  ...more,
});

async function run(more: Partial<DownloadRequest> = {}): Promise<DownloadProgress[]> {
  const seen: DownloadProgress[] = [];
  for await (const progress of download(request(more))) {
    expect(existsSync(join(folder, "m.gguf")), "visible only when whole").toBe(progress.state === "done");
    seen.push(progress);
  }
  expect(readFileSync(join(folder, "m.gguf")).equals(content)).toBe(true);
  expect(readdirSync(join(folder, ".partial"))).toEqual([]);
  return seen;
}

/** Fails as `expected`, leaving nothing under the model's name and `kept` bytes of a part. */
async function fails(expected: object, more: Partial<DownloadRequest> = {}, kept = 0): Promise<void> {
  await expect(async () => {
    for await (const _ of download(request(more)));
  }).rejects.toMatchObject(expected);
  expect(existsSync(join(folder, "m.gguf"))).toBe(false);
  expect(statSync(join(folder, ".partial/m.gguf"), { throwIfNoEntry: false })?.size ?? 0).toBe(kept);
}

describe("a download", () => {
  it("appears when it is whole, with its progress told", async () => {
    const seen = await run({ sizeBytes: content.length });
    expect(seen[0]).toEqual({ state: "downloading", doneBytes: 0, totalBytes: content.length, resumedBytes: 0 });
    expect(seen.map(({ doneBytes }) => doneBytes)).toEqual(
      seen.map(({ doneBytes }) => doneBytes).sort((a, b) => a - b),
    );
    expect(seen.length).toBeGreaterThan(3);
    expect(seen.at(-1)).toMatchObject({ state: "done", doneBytes: content.length });
  });

  it("goes on where the connection broke, in the same call", async () => {
    plan = [serve({ cutAt: 3_000_000 }), serve({ cutAt: 2_000_000 }), whole];
    await run();
    expect(asked.map(({ range }) => range)).toEqual([undefined, part, part]);
    expect(asked[1]?.ifRange).toBe('"v1"');
  });

  it("goes on where an earlier call was cancelled", async () => {
    plan = [serve({ hangAt: 5_000_000 }), whole];
    const cancel = new AbortController();
    await expect(async () => {
      for await (const { doneBytes } of download(
        request({ signal: cancel.signal, stall: { windowMs: 60_000, leastBytes: 1 } }),
      ))
        if (doneBytes > 4_000_000) cancel.abort(new Error("enough"));
    }).rejects.toThrow("enough");
    const [first] = await run();
    expect(first).toMatchObject({ state: "verifying", resumedBytes: expect.any(Number) });
    expect(asked[1]?.range).toMatch(/^bytes=[45]\d{6}-$/);
  });

  it("starts over when the server's file has become another one", async () => {
    const other = serve({ etag: '"v0"', body: randomBytes(9_000_000), cutAt: 1_000_000 });
    plan = [other, whole];
    await run();
    expect(asked[1]).toMatchObject({ range: part, ifRange: '"v0"' });
  });

  it("starts over when parts of a server that names no versions do not fit together", async () => {
    plan = [serve({ etag: "", body: randomBytes(9_000_000), cutAt: 1_000_000 }), serve({ etag: "" })];
    await run();
    expect(asked.map(({ range }) => range)).toEqual([undefined, part, undefined]);
  });

  it("starts over when what came is longer than the server's file", async () => {
    plan = [
      serve({ body: randomBytes(20_000_000), cutAt: 10_000_000, etag: "", lengthless: true }),
      serve({ etag: "" }),
    ];
    await run();
    expect(asked.map(({ range }) => range)).toEqual([undefined, part, undefined]);
  });

  it("takes the file from a server without ranges, from the start each time", async () => {
    plan = [serve({ ranges: false, cutAt: 3_000_000 }), serve({ ranges: false })];
    await run();
    plan = [serve({ lengthless: true })];
    rmSync(join(folder, "m.gguf"));
    expect((await run())[0]?.totalBytes).toBe(0);
  });

  it("needs no second answer when all of it came before the connection broke", async () => {
    plan = [serve({ hangAt: content.length, lengthless: true })];
    await run({ sizeBytes: content.length });
    expect(asked).toHaveLength(1);
  });

  it("breaks off a server that stalls, and goes on at the next try", async () => {
    plan = [serve({ hangAt: 2_000_000 }), whole];
    await run();
    expect(asked[1]?.range).toEqual(part);
  });

  it("waits for a server that is busy", async () => {
    plan = [(_, response) => void response.writeHead(503, { "retry-after": "3" }).end(), whole];
    await run();
  });

  it("follows redirects, and not endlessly", async () => {
    plan = [(_, response) => void response.writeHead(302, { location: "/elsewhere" }).end(), whole];
    await run();
    expect(asked.map(({ path }) => path)).toEqual(["/m.gguf", "/elsewhere"]);
    rmSync(join(folder, "m.gguf"));
    plan = [(_, response) => void response.writeHead(302, { location: "/m.gguf" }).end()];
    await fails({ code: "FAILED_PRECONDITION", message: expect.stringContaining("more than 5 times") });
    plan = [(_, response) => void response.writeHead(302, { location: "file:///etc/passwd" }).end()];
    await fails({ code: "FAILED_PRECONDITION", message: expect.stringContaining("from http: to file:") });
  });
});

describe("a download that fails", () => {
  it("says so when the hash is another, and keeps nothing", async () => {
    await fails(
      { code: "DATA_LOSS", message: expect.stringContaining(`is ${sha256}, expected 00`) },
      { sha256: "0".repeat(64) },
    );
  });

  it("does not begin when the server's file has another size", async () => {
    await fails(
      { code: "DATA_LOSS", message: expect.stringContaining("9000000 bytes, the manifest says 5") },
      { sizeBytes: 5 },
    );
    plan = [serve({ lengthless: true })];
    await fails({ code: "DATA_LOSS", message: expect.stringContaining("more than the 5 bytes") }, { sizeBytes: 5 });
  });

  it.each([404, 403, 401])("says that the server answers %d, at once", async (status) => {
    plan = [(_, response) => void response.writeHead(status).end()];
    await fails({ message: expect.stringContaining(`answers ${status}`) });
    expect(asked).toHaveLength(1);
  });

  it("gives up on a server that cannot be had", async () => {
    plan = [(_, response) => void response.destroy()];
    await fails({ code: "UNAVAILABLE", message: expect.stringContaining("6 tries in a row") });
    expect(asked).toHaveLength(6);
  });

  it("leaves the reserve free, and does not begin without room", async () => {
    await fails(
      { code: "RESOURCE_EXHAUSTED", message: expect.stringMatching(/bytes free.*make room/) },
      { reserveBytes: 2 ** 60 },
    );
  });

  it("removes what came when the last look refuses it", async () => {
    const check = () => {
      throw new Error("not a GGUF");
    };
    await fails({ message: "not a GGUF" }, { check });
  });

  it("leaves the file that was there before as it was", async () => {
    writeFileSync(join(folder, "m.gguf"), "old");
    const failing = download(request({ sha256: "0".repeat(64) }));
    await expect(async () => {
      for await (const _ of failing);
    }).rejects.toMatchObject({ code: "DATA_LOSS" });
    expect(readFileSync(join(folder, "m.gguf"), "utf8")).toBe("old");
  });
});
