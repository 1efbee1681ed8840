import { createHash } from "node:crypto";
import { once } from "node:events";
import { existsSync, mkdirSync, readdirSync, readFileSync, statSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine } from "../../testing/harness.ts";
import { reachOf } from "../shared/addresses.ts";

let machine: Machine;
let server: Server;
let at: string;
let work: string;
/** What the server was asked, and by which headers. */
let asked: { url: string; method: string; headers: Record<string, unknown>; body: string }[];

const page = `<!doctype html><html><head><title>A &amp; B</title><style>p{}</style><script>if (a < b) "</p>"</script></head>
<body><h1>Head</h1><p>One <b>two</b>&nbsp;three &#8364; <a href="/next?x=1#y">next</a></p><!-- <p>no</p> -->
<a href="javascript:alert(1)">bad</a><ul><li>a</li><li>b < c</li></ul><p title="a > b">end`;

beforeAll(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
  server = createServer(async (request, answer) => {
    const body = (await request.toArray()).join("");
    const { url = "", method = "", headers } = request;
    asked.push({ url, method, headers, body });
    const redirect = (location: string, status = 302) => answer.writeHead(status, { location }).end();
    if (url === "/page") answer.writeHead(200, { "content-type": "text/html; charset=utf-8" }).end(page);
    else if (url === "/gzip")
      answer.writeHead(200, { "content-encoding": "gzip" }).end(gzipSync("x".repeat(1_000_000)));
    else if (url === "/binary") answer.end(Buffer.from([0xff, 0xfe, 0]));
    else if (url === "/big") answer.end(Buffer.alloc(300_000, "ä"));
    else if (url === "/endless") endless(answer);
    else if (url === "/cut") cut(answer);
    else if (url === "/silent") return;
    else if (url === "/loop") redirect("/loop");
    else if (url === "/away") redirect(`${at.replace("127.0.0.1", "127.0.0.2")}/page`, 307);
    else if (url === "/file") redirect("file:///etc/passwd");
    else if (url === "/missing") answer.writeHead(404).end("no");
    else if (url === "/moved") redirect("/hello", 303);
    else answer.end(`hello ${url}`);
  }).listen(0, "127.0.0.1");
  await once(server, "listening");
  at = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
});

function endless(answer: import("node:http").ServerResponse): void {
  const more = () => {
    while (answer.writable && !answer.destroyed && answer.write(Buffer.alloc(65_536)));
  };
  answer.on("drain", more);
  more();
}

function cut(answer: import("node:http").ServerResponse): void {
  answer.writeHead(200, { "content-length": 1000 });
  answer.write("begin");
  setTimeout(() => answer.destroy(), 20);
}

beforeEach(() => {
  asked = [];
});

afterAll(() => {
  server.closeAllConnections();
  server.close();
  machine.close();
});

const call = (tool: string, input: object) => machine.core.call(tool, input);
const grant = (...capabilities: string[]) =>
  machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
const revoke = () => machine.core.call("sec.revoke", { agent_id: "task", revoke_all: true });
const spool = () => `${machine.folder}/state/ledger/spool`;

describe("web.http_request", () => {
  it("sends what it is told and gives back the answer", async () => {
    const input = { url: `${at}/post`, method: "POST", headers: { "X-One": "1", Accept: "text/plain" }, body: "grün" };
    expect(await call("web.http_request", input)).toMatchObject({
      success: true,
      output: { status: 200, url: `${at}/post`, address: "127.0.0.1", body: "hello /post", encoding: "utf8" },
    });
    expect(asked).toMatchObject([{ method: "POST", body: "grün", headers: { "x-one": "1", accept: "text/plain" } }]);
  });

  it("cuts a body where it was told to, uncompressed, and says so", async () => {
    const { output } = await call("web.http_request", { url: `${at}/gzip`, body_bytes_max: 1000 });
    expect(output).toMatchObject({ body: "x".repeat(1000), truncated: true });
    expect((await call("web.http_request", { url: `${at}/endless` })).output.body).toHaveLength(262_144);
  });

  it("gives back what is no text as base64, and does not cut a character in two", async () => {
    expect((await call("web.http_request", { url: `${at}/binary` })).output).toMatchObject({
      body: "//4A",
      encoding: "base64",
    });
    expect((await call("web.http_request", { url: `${at}/big`, body_bytes_max: 5 })).output).toMatchObject({
      body: "ää",
      encoding: "utf8",
    });
  });

  it("follows redirects, but not for ever and not to files", async () => {
    expect((await call("web.http_request", { url: `${at}/moved`, method: "POST", body: "x" })).output).toMatchObject({
      body: "hello /hello",
      url: `${at}/hello`,
    });
    expect(asked.at(-1)).toMatchObject({ method: "GET", body: "" });
    expect(await call("web.http_request", { url: `${at}/loop` })).toMatchObject({
      error: expect.stringContaining("more than 5 redirects"),
    });
    expect(await call("web.http_request", { url: `${at}/file` })).toMatchObject({
      error: expect.stringContaining("its scheme is file:"),
    });
  });

  it.each([{ Host: "other" }, { "content-length": "5" }, { "X-A": "a\r\nX-B: b" }, { "a b": "c" }])(
    "refuses the headers %j",
    async (headers) => {
      await expect(call("web.http_request", { url: at, headers })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    },
  );
});

describe("an agent", () => {
  const request = (url: string) => machine.agent("task").call("web.http_request", { url });

  it("reaches nothing without a grant, and nothing near with the grant of the URL alone", async () => {
    await expect(request(`${at}/x`)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await grant(`web:request:${at}/x`);
    expect(await request(`${at}/x`)).toMatchObject({
      success: false,
      error: expect.stringContaining(
        "it is not on the public network (loopback); it needs a grant of net:local:127.0.0.1",
      ),
    });
    await grant("net:local:127.0.0.1");
    expect(await request(`${at}/x`)).toMatchObject({ success: true });
    expect(asked).toHaveLength(1);
    await revoke();
  });

  it("is granted a URL as it is compared: by its one spelling", async () => {
    await grant(`web:request:${at.replace("http://127.0.0.1", "HTTP://0x7f.1")}/a\\?b=c`, "net:local:127.0.0.1");
    expect(await request(`${at}/./a?b=c#d`)).toMatchObject({ success: true });
    await expect(request(`${at}/aXb=c`)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await revoke();
  });

  it("is not led by a redirect to what it was not granted", async () => {
    await grant(`web:request:${at}/**`, "net:local:127.0.0.1");
    expect(await request(`${at}/away`)).toMatchObject({
      success: false,
      error: expect.stringMatching(/redirects to http:\/\/127\.0\.0\.2:\d+\/page, which was not granted/),
    });
    await grant(`web:request:${at.replace("127.0.0.1", "127.0.0.2")}/**`);
    expect(await request(`${at}/away`)).toMatchObject({
      success: false,
      error: expect.stringContaining("it needs a grant of net:local:127.0.0.2"),
    });
    await revoke();
  });

  it("is not led by a name to an address near, however it is written", async () => {
    const { port } = new URL(at);
    await grant("web:request:http://**");
    for (const host of ["localhost", "127.1", "0x7f000001", "[::ffff:127.0.0.1]", "[::1]", "0.0.0.0"]) {
      expect(await request(`http://${host}:${port}/`)).toMatchObject({
        success: false,
        error: expect.stringContaining("not on the public network"),
      });
    }
    expect(asked).toEqual([]);
    await revoke();
  });
});

it.each([
  ["127.0.0.1", "loopback"],
  ["::1", "loopback"],
  ["::ffff:127.0.0.1", "loopback"],
  ["64:ff9b::7f00:1", "loopback"],
  ["2002:7f00:1::", "loopback"],
  ["169.254.169.254", "link-local"],
  ["fe80::1%eth0", "link-local"],
  ["fd00:ec2::254", "private"],
  ["10.255.255.255", "private"],
  ["172.31.0.1", "private"],
  ["100.100.100.200", "private"],
  ["::ffff:10.0.0.1", "private"],
  ["0.0.0.0", "special"],
  ["::", "special"],
  ["224.0.0.1", "special"],
  ["255.255.255.255", "special"],
  ["ff02::1", "special"],
  ["4000::1", "special"],
  ["93.184.216.34", "public"],
  ["172.32.0.1", "public"],
  ["2606:2800:220:1::", "public"],
  ["9.9.9.9", "own"],
] as const)("%s is %s", (address, reach) => {
  expect(reachOf(address, new Set(["9.9.9.9"]))).toBe(reach);
});

describe("web.scrape", () => {
  it("gives back title, text and links", async () => {
    expect((await call("web.scrape", { url: `${at}/page` })).output).toEqual({
      url: `${at}/page`,
      status: 200,
      title: "A & B",
      text: "Head\nOne two three € next\nbad\na\nb < c\nend",
      links: [{ text: "next", url: `${at}/next?x=1` }],
      truncated: false,
    });
    expect((await call("web.scrape", { url: `${at}/page`, text_length_max: 4 })).output).toMatchObject({
      text: "Head",
      truncated: true,
    });
  });
});

describe("web.download", () => {
  const sha256 = createHash("sha256").update("hello /a").digest("hex");

  it("puts a file in place, tells its SHA-256, and is taken back", async () => {
    const path = `${work}/new/file`;
    const done = await call("web.download", { url: `${at}/a`, path, sha256 });
    expect(done).toMatchObject({ success: true, output: { path, bytes: 8, sha256, url: `${at}/a` } });
    expect(readFileSync(path, "utf8")).toBe("hello /a");
    expect(readdirSync(spool())).toEqual([]);
    await machine.restart();
    expect(await machine.core.raw.rollback({ executionId: done.executionId, reason: "" })).toMatchObject({
      success: true,
    });
    expect(existsSync(`${work}/new`)).toBe(false);
  });

  it("keeps the file that it replaces, with its mode", async () => {
    writeFileSync(`${work}/old`, "old", { mode: 0o640 });
    const done = await call("web.download", { url: `${at}/a`, path: `${work}/old` });
    expect(readFileSync(`${work}/old`, "utf8")).toBe("hello /a");
    expect(await machine.core.raw.rollback({ executionId: done.executionId, reason: "" })).toMatchObject({
      success: true,
    });
    expect(readFileSync(`${work}/old`, "utf8")).toBe("old");
    expect(statSync(`${work}/old`).mode & 0o777).toBe(0o640);
  });

  it.each([
    ["/a", { sha256: "0".repeat(64) }, "not the one that was asked for"],
    ["/big", { bytes_max: 1000 }, "300000 bytes, at most 1000 are taken"],
    ["/endless", { bytes_max: 100_000 }, "more than 100000 bytes"],
    ["/missing", {}, "it answers with status 404"],
    ["/cut", {}, "the connection was cut"],
  ])("writes nothing when %s %j", async (url, more, error) => {
    const path = `${work}/nothing`;
    expect(await call("web.download", { url: at + url, path, ...more })).toMatchObject({
      success: false,
      error: expect.stringContaining(error),
    });
    expect(existsSync(path)).toBe(false);
    expect(readdirSync(spool())).toEqual([]);
  });

  it("needs both grants of an agent, and none opens what is reserved", async () => {
    await grant(`web:request:${at}/**`, "net:local:127.0.0.1");
    const download = (path: string) => machine.agent("task").call("web.download", { url: `${at}/a`, path });
    await expect(download(`${work}/mine`)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await grant(`fs:write:${machine.folder}/**`);
    expect(await download(`${work}/mine`)).toMatchObject({ success: true });
    await expect(download(`${machine.folder}/state/ledger/x`)).rejects.toMatchObject({ code: "PERMISSION_DENIED" });
    await revoke();
  });
});

it("gives up when the caller goes away", async () => {
  const client = machine.core.raw;
  const controller = new AbortController();
  const input = Buffer.from(JSON.stringify({ url: `${at}/silent` }));
  const asking = client.execute(
    { toolName: "web.http_request", agentId: "", taskId: "", inputJson: input, reason: "" },
    { signal: controller.signal },
  );
  setTimeout(() => controller.abort(), 100);
  await expect(asking).rejects.toMatchObject({ code: "CANCELLED" });
  await expect.poll(() => connections()).toBe(0);
});

const connections = () => new Promise<number>((resolve) => server.getConnections((_, count) => resolve(count)));
