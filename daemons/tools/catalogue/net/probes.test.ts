import { createSocket, type Socket } from "node:dgram";
import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Machine, startMachine } from "../../testing/harness.ts";

let machine: Machine;
let server: Server;
let port: number;

beforeAll(async () => {
  machine = await startMachine();
  server = createServer((request, answer) => answer.end(`${request.method} ${request.url}`)).listen(0, "127.0.0.1");
  await once(server, "listening");
  port = (server.address() as AddressInfo).port;
});

afterAll(() => {
  server.close();
  machine.close();
});

const call = (tool: string, input: object) => machine.core.call(tool, input);
const grant = (...capabilities: string[]) =>
  machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });

it("net.connections finds a listening socket and the process that holds it", async () => {
  const { output } = await call("net.connections", { state: "listening", port });
  expect(output.connections).toEqual([
    {
      protocol: "tcp",
      local_address: "127.0.0.1",
      local_port: port,
      remote_address: "0.0.0.0",
      remote_port: 0,
      state: "listening",
      pid: process.pid,
      program: expect.any(String),
    },
  ]);
});

it("net.check_port tells an open port from a closed one", async () => {
  expect(await call("net.check_port", { host: "127.0.0.1", port })).toMatchObject({
    output: { open: true, state: "open", address: "127.0.0.1", latency_ms: expect.any(Number) },
  });
  expect(await call("net.check_port", { host: "localhost", port: 1 })).toMatchObject({
    output: { open: false, state: "closed" },
  });
});

it("net.check_port needs the address granted too where an agent's name leads somewhere near", async () => {
  await grant("net:connect:127.0.0.1", "net:connect:localhost");
  const agent = machine.agent("task");
  expect(await agent.call("net.check_port", { host: "127.1", port })).toMatchObject({ output: { open: true } });
  expect(await agent.call("net.check_port", { host: "localhost", port })).toMatchObject({
    success: false,
    error: expect.stringMatching(
      /not on the public network \(loopback\); it needs a grant of net:local:(127\.0\.0\.1|::1)/,
    ),
  });
  await grant("net:local:127.0.0.1", "net:local:::1");
  expect(await agent.call("net.check_port", { host: "localhost", port })).toMatchObject({ success: true });
  await expect(agent.call("net.check_port", { host: "127.0.0.2", port })).rejects.toMatchObject({
    code: "PERMISSION_DENIED",
  });
});

it("net.http_request gives back an answer", async () => {
  expect(await call("net.http_request", { url: `http://127.0.0.1:${port}/a?b#c` })).toMatchObject({
    output: { status: 200, body: "GET /a?b", encoding: "utf8", truncated: false, address: "127.0.0.1" },
  });
  expect(await call("net.http_request", { url: `http://127.0.0.1:${port}/`, method: "HEAD" })).toMatchObject({
    output: { status: 200, body: "" },
  });
  expect(await call("net.http_request", { url: "http://127.0.0.1:1/" })).toMatchObject({
    success: false,
    error: "request http://127.0.0.1:1/: the connection was refused (ECONNREFUSED)",
  });
});

it("net.port_scan finds open ports of this machine, and scans no other", async () => {
  const range = { first_port: Math.max(1, port - 20), last_port: port + 20 };
  const { output } = await call("net.port_scan", { host: "127.0.0.1", ...range });
  expect(output).toMatchObject({ address: "127.0.0.1", open: expect.arrayContaining([port]), scanned: 41 });
  expect(await call("net.port_scan", { host: "198.51.100.7" })).toMatchObject({
    success: false,
    error: expect.stringContaining("198.51.100.7 is neither this machine nor in a network that it is attached to"),
  });
  expect(await call("net.port_scan", { host: "127.0.0.1", first_port: 1, last_port: 65535 })).toMatchObject({
    success: false,
  });
});

it("net.ping counts what comes back", async () => {
  expect(await call("net.ping", { host: "127.0.0.1", count: 2 })).toMatchObject({
    output: { success: true, address: "127.0.0.1", sent: 2, received: 2, latency_ms: expect.any(Number) },
  });
});

it("net.bandwidth measures what goes through loopback", async () => {
  const measuring = call("net.bandwidth", { interface: "lo", seconds: 0.3 });
  for (let round = 0; round < 10; round += 1) await fetch(`http://127.0.0.1:${port}/`);
  const { output } = await measuring;
  expect(output.interfaces).toEqual([expect.objectContaining({ interface: "lo" })]);
  expect(output.interfaces[0].rx_bytes_per_second).toBeGreaterThan(100);
  expect(await call("net.bandwidth", { interface: "none0", seconds: 0.1 })).toMatchObject({ success: false });
});

/** A name server that knows one name: its answer is a question's head with a record behind. */
async function nameServer(): Promise<Socket> {
  const socket = createSocket("udp4");
  socket.on("message", (question, { port: from, address }) => {
    const known = question.includes(Buffer.from("\x04host\x07example\x00", "latin1"));
    const type = question.readUInt16BE(question.length - 4 - (question.readUInt16BE(10) > 0 ? 11 : 0));
    const end = question.indexOf(0, 12) + 5;
    const answers = known && type === 1 ? 1 : 0;
    const head = Buffer.from(question.subarray(0, end));
    head.writeUInt16BE(known ? 0x8180 : 0x8183, 2);
    for (const [at, count] of [1, answers, 0, 0].entries()) head.writeUInt16BE(count, 4 + 2 * at);
    const record = Buffer.from("c00c00010001000000010004c0000205", "hex");
    socket.send(answers === 1 ? Buffer.concat([head, record]) : head, from, address);
  });
  socket.bind(0, "127.0.0.1");
  await once(socket, "listening");
  return socket;
}

it("net.dns_lookup asks a name server", async () => {
  const socket = await nameServer();
  try {
    const at = `127.0.0.1:${socket.address().port}`;
    expect(await call("net.dns_lookup", { hostname: "Host.Example", server: at })).toMatchObject({
      output: { addresses: ["192.0.2.5"], records: ["192.0.2.5"] },
    });
    expect(await call("net.dns_lookup", { hostname: "host.example", type: "MX", server: at })).toMatchObject({
      output: { addresses: [], records: [] },
    });
    expect(await call("net.dns_lookup", { hostname: "none.example", server: at })).toMatchObject({
      success: false,
      error: "look up A of none.example: there is no such name",
    });
    await grant("net:resolve:host.example");
    const agent = machine.agent("task");
    expect(await agent.call("net.dns_lookup", { hostname: "host.example", server: "192.0.2.53" })).toMatchObject({
      success: false,
      error: expect.stringContaining("it needs a grant of net:connect:192.0.2.53"),
    });
  } finally {
    socket.close();
  }
});
