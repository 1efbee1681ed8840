import { mkdirSync, readdirSync, readFileSync, writeFileSync } from "node:fs";
import { connect as connectSocket } from "node:net";
import grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, expect, it } from "vitest";
import { type Machine, requestOf, startMachine } from "./testing/harness.ts";
import { randomFrom } from "./testing/random.ts";

const requests = 10_000;
const together = 50;

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/ground`;
  mkdirSync(work);
  writeFileSync(`${work}/kept`, "as it was");
  // What it may do it may do only below `allowed`, which no request names.
  const capabilities = ["read", "write", "append", "delete"].map((action) => `fs:${action}:${work}/allowed/**`);
  await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r", duration_seconds: 3600 });
});
afterEach(() => machine.close());

type Random = ReturnType<typeof randomFrom>;

/** JSON of any shape; paths in it lead to what is kept, by many ways. */
function jsonOf(random: Random, depth = 0): unknown {
  const paths = ["/kept", "/allowed/../kept", "/./kept", "//kept/", "/allowed/../../ground/kept"].map(
    (path) => work + path,
  );
  const kinds: readonly (() => unknown)[] = [
    () => paths[random(paths.length)],
    () => `/proc/self/root${work}/kept`,
    () => "\u0000\uffff".repeat(random(20)),
    () => "9".repeat(random(400)),
    () => random(2) === 0,
    () => null,
    () => (random(3) - 1) * 2 ** random(60),
    () => (depth > 6 ? [] : Array.from({ length: random(4) }, () => jsonOf(random, depth + 1))),
    () =>
      depth > 6
        ? {}
        : Object.fromEntries(
            Array.from({ length: random(4) }, () => [fields[random(fields.length)], jsonOf(random, depth + 1)]),
          ),
  ];
  return kinds[random(kinds.length)]?.();
}

const fields = [
  "path",
  "content",
  "from",
  "to",
  "mode",
  "recursive",
  "__proto__",
  "constructor",
  "argv",
  "agent_id",
  "",
];

function bytesOf(random: Random): Buffer {
  if (random(4) === 0) return Buffer.from(Array.from({ length: random(200) }, () => random(256)));
  const given = Object.fromEntries(fields.filter(() => random(3) === 0).map((name) => [name, jsonOf(random)]));
  const text = Buffer.from(JSON.stringify(given));
  // Half of them damaged in one place.
  if (random(2) === 0 && text.length > 0) text[random(text.length)] = random(256);
  return text;
}

it("ten thousand malformed requests: none ends the daemon, none gets past the gate", { timeout: 240_000 }, async () => {
  const random = randomFrom(7);
  const { tools } = await machine.core.raw.listTools({ namespace: "" });
  const names = [
    ...tools.map(({ name }) => name),
    "",
    "fs",
    "fs.",
    ".",
    "FS.READ",
    "fs.read\0",
    "__proto__",
    "x".repeat(500),
  ];
  const task = machine.agent("task").raw;
  let passed = 0;
  for (let made = 0; made < requests; made += together) {
    const calls = Array.from({ length: together }, () => {
      const name = names[random(names.length)] ?? "";
      const agentId = random(5) === 0 ? ["system", "core", "\ufffd", "x".repeat(100)][random(4)] : "";
      const more = { ...(agentId !== undefined && { agentId }), taskId: "t".repeat(random(200)) };
      return task.execute(requestOf(name, bytesOf(random), more), { timeoutMs: 30_000 });
    });
    for (const one of await Promise.allSettled(calls)) {
      if (one.status === "fulfilled") passed += 1;
      else
        expect(["INVALID_ARGUMENT", "NOT_FOUND", "PERMISSION_DENIED", "RESOURCE_EXHAUSTED"]).toContain(one.reason.code);
    }
  }
  expect(passed).toBe(0);
  expect(readdirSync(work)).toEqual(["kept"]);
  expect(readFileSync(`${work}/kept`, "utf8")).toBe("as it was");
  expect((await machine.core.call("sec.verify_ledger", { full: true })).output).toMatchObject({ valid: true });
});

it("bytes that are no gRPC, and messages that are no request, do not end it", async () => {
  const random = randomFrom(11);
  const path = `${machine.folder}/run/agents/task/tools.sock`;
  const noise = () => Buffer.from(Array.from({ length: 1 + random(500) }, () => random(256)));
  for (let round = 0; round < 100; round += 1) {
    const socket = connectSocket(path);
    socket.on("error", () => {});
    if (round % 2 === 0) socket.write("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n");
    socket.write(noise());
    await new Promise((resolve) => setTimeout(resolve, 2));
    socket.destroy();
  }
  const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
  const methods = ["Execute", "Rollback", "Register", "Deregister", "ListTools", "GetTool", "Nothing"];
  const codes = await Promise.all(
    Array.from(
      { length: 500 },
      () =>
        new Promise<number>((resolve) => {
          const method = `/aios.tools.ToolRegistry/${methods[random(methods.length)]}`;
          client.makeUnaryRequest(
            method,
            noise,
            (bytes: Buffer) => bytes,
            {},
            (error) => resolve(error?.code ?? 0),
          );
        }),
    ),
  );
  client.close();
  // Noise can be a valid message of unknown fields: ListTools answers that.
  expect(codes.length).toBe(500);
  expect((await machine.core.call("hw.info")).success).toBe(true);
});
