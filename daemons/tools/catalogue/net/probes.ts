import { readFile } from "node:fs/promises";
import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { resolveHost } from "../../names.ts";
import { reads, type Tool } from "../../tool.ts";
import {
  alsoLocal,
  answerFields,
  answerOf,
  bodyLimit,
  checkPort,
  dnsRecords,
  headersField,
  holdersOf,
  interfaceName,
  type KernelFolders,
  measureRates,
  type Outbound,
  object,
  ownHost,
  probeAddresses,
  programFailed,
  readConnections,
  readCounters,
  readPing,
  recordTypes,
  requestOf,
  runProgram,
  scanPorts,
  send,
  urlField,
  withoutPort,
} from "../shared/index.ts";

/** Connections that are told at most, and ports that are scanned at once. */
const connectionsMax = 2_000;
const portsMax = 4_096;

const host = Type.String({
  pattern: "^[^\\s/?#@\\\\]+$",
  maxLength: 253,
  description: "a host name or an IP address",
});
const port = Type.Integer({ minimum: 1, maximum: 65_535 });
const timeout = Type.Optional(
  Type.Integer({ minimum: 50, maximum: 10_000, description: "milliseconds to wait for an answer" }),
);

export function probeTools({ proc }: KernelFolders, clock: Clock, outbound: Outbound): readonly Tool[] {
  const connections = reads({
    name: "net.connections",
    summary: "Lists TCP and UDP sockets with the processes that hold them, at most 2,000.",
    input: object({
      state: Type.Optional(Type.Enum(["listening", "established"])),
      port: Type.Optional(port),
    }),
    output: object({
      connections: Type.Array(
        object({
          protocol: Type.Enum(["tcp", "tcp6", "udp", "udp6"]),
          local_address: Type.String(),
          local_port: Type.Integer(),
          remote_address: Type.String(),
          remote_port: Type.Integer(),
          state: Type.String(),
          pid: Type.Optional(Type.Integer()),
          program: Type.Optional(Type.String()),
        }),
      ),
      total: Type.Integer(),
    }),
    capabilities: ["net:read"],
    timeoutMs: 30_000,
    run: async ({ input, signal }) => {
      const found = (await readConnections(proc)).filter(
        ({ state, localPort, remotePort }) =>
          (input.state === undefined || state === input.state || (input.state === "listening" && state === "bound")) &&
          (input.port === undefined || localPort === input.port || remotePort === input.port),
      );
      const holders = await holdersOf(proc, signal);
      const told = found.slice(0, connectionsMax).map(({ inode, ...connection }) => ({
        protocol: connection.protocol,
        local_address: connection.localAddress,
        local_port: connection.localPort,
        remote_address: connection.remoteAddress,
        remote_port: connection.remotePort,
        state: connection.state,
        ...holders.get(inode),
      }));
      return { connections: told, total: found.length };
    },
  });

  const bandwidth = reads({
    name: "net.bandwidth",
    summary: "Measures what goes through the interfaces over some seconds (one unless told otherwise).",
    input: object({
      interface: Type.Optional(interfaceName),
      seconds: Type.Optional(Type.Number({ minimum: 0.1, maximum: 20 })),
    }),
    output: object({
      interfaces: Type.Array(
        object({
          interface: Type.String(),
          rx_bytes_per_second: Type.Integer(),
          tx_bytes_per_second: Type.Integer(),
          rx_packets_per_second: Type.Integer(),
          tx_packets_per_second: Type.Integer(),
        }),
      ),
    }),
    capabilities: ["net:read"],
    timeoutMs: 30_000,
    run: async ({ input, signal }) => {
      const read = async () => readCounters(await readFile(`${proc}/net/dev`, "utf8"));
      const rates = await measureRates(read, (input.seconds ?? 1) * 1000, clock, signal);
      const interfaces = rates.filter((rate) => input.interface === undefined || rate.interface === input.interface);
      if (interfaces.length > 0 || input.interface === undefined) return { interfaces };
      throw new AiosError("NOT_FOUND", {
        act: "measure",
        object: input.interface,
        reason: "there is no such interface",
      });
    },
  });

  return [connections, checkPortTool(clock, outbound), ...askingTools(outbound), bandwidth];
}

const askingTools = (outbound: Outbound): readonly Tool[] =>
  [requestTool, lookupTool, pingTool, scanTool].map((make) => make(outbound));

const checkPortTool = (clock: Clock, outbound: Outbound) =>
  reads({
    name: "net.check_port",
    summary: "Tells whether a TCP port of a host takes connections.",
    input: object({ host, port, timeout_ms: timeout }),
    output: object({
      open: Type.Boolean(),
      state: Type.Enum(["open", "closed", "filtered"], { description: "filtered: there was no answer" }),
      address: Type.String(),
      latency_ms: Type.Number(),
    }),
    resources: { host: "host" },
    capabilities: ["net:connect:{host}"],
    alsoNeeds: alsoLocal,
    timeoutMs: 30_000,
    run: async ({ input, resources, permits, signal }) => {
      const [address] = await probeAddresses(resources.host.name, permits, outbound, signal);
      const started = clock.monotonic();
      const state = await checkPort(address, input.port, input.timeout_ms ?? 3_000, signal);
      const latency = Math.round((clock.monotonic() - started) * 100) / 100;
      return { open: state === "open", state, address, latency_ms: latency };
    },
  });

const requestTool = (outbound: Outbound) =>
  reads({
    name: "net.http_request",
    summary: "Asks an HTTP server by GET or HEAD and gives back its answer, the body up to 500,000 bytes.",
    input: object({
      url: urlField,
      method: Type.Optional(Type.Enum(["GET", "HEAD"])),
      headers: Type.Optional(headersField),
      body_bytes_max: bodyLimit,
    }),
    output: object(answerFields),
    resources: { url: "url" },
    capabilities: ["net:request:{url}"],
    alsoNeeds: alsoLocal,
    timeoutMs: 30_000,
    run: async (call) => {
      const { method = "GET", headers = {}, body_bytes_max: bytesMax } = call.input;
      return answerOf(await send(requestOf(call, "net:request", outbound, { method, headers })), bytesMax);
    },
  });

const lookupTool = (outbound: Outbound) =>
  reads({
    name: "net.dns_lookup",
    summary: "Asks DNS for a name's records: addresses unless another type is asked for.",
    input: object({
      hostname: host,
      type: Type.Optional(Type.Enum([...recordTypes])),
      server: Type.Optional(
        Type.String({
          pattern: "^([0-9.]{7,15}(:[0-9]{1,5})?|[0-9a-fA-F:]{2,45}|\\[[0-9a-fA-F:]{2,45}\\](:[0-9]{1,5})?)$",
          description: "a name server's address, or address:port; those of the machine unless given",
        }),
      ),
    }),
    output: object({ addresses: Type.Array(Type.String()), records: Type.Array(Type.String()) }),
    resources: { hostname: "host" },
    capabilities: ["net:resolve:{hostname}"],
    alsoNeeds: ["net:connect:{server}"],
    timeoutMs: 30_000,
    run: async ({ input: { type, server }, resources: { hostname }, permits, signal }) => {
      if (server !== undefined) permitServer(server, permits);
      if (type !== undefined) {
        const records = await dnsRecords(hostname.name, type, server, outbound, signal);
        return { addresses: type === "A" || type === "AAAA" ? records : [], records };
      }
      const [four, six] = await Promise.all([
        dnsRecords(hostname.name, "A", server, outbound, signal),
        dnsRecords(hostname.name, "AAAA", server, outbound, signal),
      ]);
      return { addresses: [...four, ...six], records: [...four, ...six] };
    },
  });

/** A name server that the machine does not ask by itself is a host like any other. */
function permitServer(server: string, permits: (capability: string) => boolean): void {
  const capability = `net:connect:${resolveHost(withoutPort(server)).name}`;
  if (permits(capability)) return;
  throw new AiosError("PERMISSION_DENIED", {
    act: "ask name server",
    object: server,
    reason: "it was not granted",
    next: `it needs a grant of ${capability}`,
  });
}

const pingTool = (outbound: Outbound) =>
  reads({
    name: "net.ping",
    summary: "Sends echo requests to a host, three unless told otherwise, and tells how many came back.",
    input: object({ host, count: Type.Optional(Type.Integer({ minimum: 1, maximum: 10 })) }),
    output: object({
      success: Type.Boolean(),
      address: Type.String(),
      sent: Type.Integer(),
      received: Type.Integer(),
      latency_ms: Type.Optional(Type.Number({ description: "on average" })),
    }),
    resources: { host: "host" },
    capabilities: ["net:ping:{host}"],
    alsoNeeds: alsoLocal,
    timeoutMs: 30_000,
    run: async ({ input: { count = 3 }, resources, permits, signal }) => {
      const [address] = await probeAddresses(resources.host.name, permits, outbound, signal);
      const argv = ["ping", "-c", String(count), "-W", "2", "-w", String(count + 2), address] as const;
      const result = await runProgram(argv, { signal, timeoutMs: 20_000 });
      const counted = readPing(result.stdout);
      // Without an answer it ends badly, and has still counted.
      if (counted.sent === 0) throw programFailed(argv, result, "reach a host by");
      return { success: counted.received > 0, address, ...counted };
    },
  });

const scanTool = (outbound: Outbound) =>
  reads({
    name: "net.port_scan",
    summary:
      "Finds open TCP ports, at most 4,096 a call, of this machine or a host in a network that it is attached to.",
    input: object({
      host,
      first_port: Type.Optional(port),
      last_port: Type.Optional(port),
      timeout_ms: timeout,
    }),
    output: object({
      address: Type.String(),
      open: Type.Array(Type.Integer()),
      scanned: Type.Integer(),
    }),
    resources: { host: "host" },
    capabilities: ["net:scan:{host}"],
    risk: "medium",
    timeoutMs: 120_000,
    run: async ({ input, resources: { host: target }, signal }) => {
      const {
        first_port: first = 1,
        last_port: last = Math.min(65_535, first + 1023),
        timeout_ms: timeoutMs = 500,
      } = input;
      const scanned = last - first + 1;
      if (scanned < 1 || scanned > portsMax)
        throw new AiosError("FAILED_PRECONDITION", {
          act: "scan",
          object: target.name,
          reason: `ports ${first} to ${last} are ${scanned}`,
          next: `ask for 1 to ${portsMax}`,
        });
      const address = await ownHost(target.name, outbound, signal);
      return { address, open: await scanPorts(address, { first, last, timeoutMs }, signal), scanned };
    },
  });
