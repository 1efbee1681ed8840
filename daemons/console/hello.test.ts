import { once } from "node:events";
import { connect as connectTcp, createServer, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import { afterEach, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import { serverNameOf } from "./hello.ts";
import { openListener } from "./listener.ts";
import { now, provisioned } from "./testing/twins.ts";

const closing: (() => void)[] = [];

afterEach(() => {
  for (const close of closing.splice(0)) close();
});

/** What Node's own client says first. */
async function helloOf(servername: string): Promise<Buffer> {
  const server = createServer();
  closing.push(() => server.close());
  await once(server.listen(0, "127.0.0.1"), "listening");
  const { port } = server.address() as { port: number };
  const client = connectTls({ host: "127.0.0.1", port, servername, ALPNProtocols: ["h2"] }).on("error", () => {});
  const [socket] = (await once(server, "connection")) as [Socket];
  closing.push(() => socket.destroy());
  const [hello] = await once(socket, "data");
  client.destroy();
  return hello;
}

it("is the name that a client asks for", async () => {
  expect(serverNameOf(await helloOf("aios-42.example"))).toBe("aios-42.example");
});

it("is none when the client names nobody", async () => {
  expect(serverNameOf(await helloOf(""))).toBeUndefined();
});

it("is none in what is no hello, or ends before its name", async () => {
  const hello = await helloOf("aios");
  const until = hello.indexOf("aios") + 4;
  for (let length = 0; length < until; length++) expect(serverNameOf(hello.subarray(0, length))).toBeUndefined();
  expect(serverNameOf(hello.subarray(0, until))).toBe("aios");
  for (const odd of ["ai\0s", "ai s", "ai\xff\xff"]) {
    expect(serverNameOf(Buffer.from(hello.toString("latin1").replace("aios", odd), "latin1"))).toBeUndefined();
  }
  expect(serverNameOf(Buffer.from("GET / HTTP/1.1\r\nHost: aios\r\n\r\n"))).toBeUndefined();
  for (let at = 0; at < until; at++) {
    const torn = Buffer.from(hello);
    torn[at] = 255;
    expect(() => serverNameOf(torn)).not.toThrow();
  }
});

it("lets a client in while strangers of the same address hold every place, and those who name nobody wait", async () => {
  const refused = () => undefined;
  const clock = new ManualClock(now);
  const where = { host: "127.0.0.1", port: 0 };
  const listener = await openListener(where, provisioned, { operators: refused, newcomers: refused }, clock, silentLog);
  closing.push(listener.close);
  const half = (await helloOf("")).subarray(0, 200);
  const address = { host: "127.0.0.1", port: listener.port };
  let cutOff = 0;
  for (let at = 0; at < 40; at++) {
    const stranger = connectTcp(address).on("error", () => {});
    closing.push(() => stranger.destroy());
    stranger.once("close", () => cutOff++);
    await once(stranger, "connect");
    stranger.write(half);
  }
  const options = { ...address, rejectUnauthorized: false, ALPNProtocols: ["h2"] };
  let nobodyIsIn = false;
  const nobody = connectTls(options, () => {
    nobodyIsIn = true;
  }).on("error", () => {});
  closing.push(() => nobody.destroy());
  await once(connectTls({ ...options, servername: "aios" }), "secureConnect");
  expect({ nobodyIsIn, cutOff }).toEqual({ nobodyIsIn: false, cutOff: 0 });
});
