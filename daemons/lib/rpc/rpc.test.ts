import { getEventListeners } from "node:events";
import { mkdtempSync, rmSync, statSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import type grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { InitService } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { HealthService } from "#proto/grpc/health/v1/health";
import { ServerReflectionService } from "#proto/grpc/reflection/v1/reflection";
import { serviceName } from "../daemon.ts";
import { AiosError } from "../errors.ts";
import { correlationId, type Log, openLog, silentLog, withCorrelation } from "../log.ts";
import { type ConnectOptions, connect, outlivesRestart } from "./client.ts";
import { health } from "./health.ts";
import { reflection } from "./reflection.ts";
import { createServer, listen, metadataOf } from "./server.ts";
import {
  type Call,
  coreIdentity,
  identify,
  identityOf,
  operatorHeader,
  roleHeader,
  type Service,
  service,
} from "./service.ts";

let folder: string;
let path: string;
const closing: (() => void)[] = [];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-rpc-");
  path = join(folder, "s.sock");
});

afterEach(() => {
  for (const close of closing.splice(0)) close();
  rmSync(folder, { recursive: true });
});

async function serve(services: Service[], log: Log = silentLog): Promise<grpc.Server> {
  const server = createServer(services, (call) => identify(coreIdentity("console"), call.metadata), log);
  await listen(server, { path, identity: coreIdentity("console"), mode: 0o660 });
  closing.push(() => server.forceShutdown());
  return server;
}

function client<S extends Parameters<typeof connect>[0]>(definition: S, options?: ConnectOptions) {
  const made = connect(definition, `unix:${path}`, undefined, options);
  closing.push(() => made.close());
  return made;
}

const unit = {
  name: "x",
  state: 0,
  pid: 0,
  startedAt: 0,
  readyAfterMs: 0,
  restarts: 0,
  reason: "",
  needs: [],
  managed: false,
  wanted: false,
  enabled: false,
  nextStartAt: 0,
  memoryBytes: 0,
  cpuMs: 0,
} as const;

const goal = {
  description: "",
  priority: 0,
  source: "",
  tags: [],
  metadataJson: Buffer.alloc(0),
  dependsOn: [],
  dedupeKey: "",
};

describe("calls", () => {
  it("tell something before their answer, and with it", async () => {
    await serve([
      service(InitService, {
        getUnit: (_, { tell, add }) => {
          tell({ "x-before": "soon" });
          add({ "x-with": "done" });
          return { ...unit, needs: [] };
        },
      }),
    ]);
    const told: (string | undefined)[] = [];
    const onTold = (header: (name: string) => string | undefined) =>
      void told.push(header("x-before"), header("x-with"));
    await client(InitService).getUnit({ name: "x" }, { onTold });
    expect(told).toEqual(["soon", undefined, undefined, "done"]);
  });

  it("answer, and pass an error's code and message", async () => {
    await serve([
      service(InitService, {
        getUnit: async ({ name }) => {
          if (name === "x") return { ...unit, needs: [] };
          throw new AiosError("NOT_FOUND", {
            act: "get unit",
            object: name,
            reason: "no such unit",
            next: "see units",
          });
        },
      }),
    ]);
    const init = client(InitService);
    expect(await init.getUnit({ name: "x" })).toMatchObject({ name: "x" });
    await expect(init.getUnit({ name: "y" })).rejects.toMatchObject({
      code: "NOT_FOUND",
      message: "get unit y: no such unit; see units",
    });
  });

  it("leave nothing at the signal that could have cancelled them", async () => {
    await serve([service(InitService, { getUnit: () => ({ ...unit, needs: [] }) })]);
    const { signal } = new AbortController();
    await client(InitService).getUnit({ name: "x" }, { signal });
    expect(getEventListeners(signal, "abort")).toEqual([]);
  });

  it("without a handler answer UNIMPLEMENTED with the call's name", async () => {
    await serve([service(InitService, {})]);
    await expect(client(InitService).getBoot({})).rejects.toMatchObject({
      code: "UNIMPLEMENTED",
      message: expect.stringContaining("GetBoot"),
    });
  });

  it("show a client no internals, and log them under the correlation id it is given", async () => {
    const lines: string[] = [];
    await serve(
      [
        service(InitService, {
          getBoot: () => {
            throw new Error("secret path");
          },
        }),
      ],
      openLog("t", "info", (line) => lines.push(line)),
    );
    const call = withCorrelation("abc", () => client(InitService).getBoot({}));
    await expect(call).rejects.toMatchObject({
      code: "INTERNAL",
      message: expect.stringMatching(/^(?!.*secret).*abc/),
    });
    expect(lines.join()).toContain("secret path");
    expect(JSON.parse(lines[0] ?? "")).toMatchObject({ cid: "abc" });
  });

  it("pass an error's text that was cut within a character, whatever its length, and go on", async () => {
    const lamp = "\u{1F4A1}";
    await serve([
      service(InitService, {
        getUnit: ({ name }) => {
          throw new AiosError("NOT_FOUND", `no unit "${`x${lamp.repeat(20)}`.slice(0, Number(name))}"`);
        },
      }),
    ]);
    const init = client(InitService);
    for (let length = 0; length <= 41; length++) {
      const whole = `x${lamp.repeat(20)}`.slice(0, length).toWellFormed();
      await expect(init.getUnit({ name: String(length) })).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: `no unit "${whole}"`,
      });
    }
  });

  it("keep the code of an error with a long text, and the connection's other calls", async () => {
    const texts = ["a", "é", "磁", "\u{1F4A1}", "\ud83d", "%", "\n"];
    const slow = Promise.withResolvers<typeof unit & { needs: string[] }>();
    await serve([
      service(InitService, {
        getUnit: ({ name }) => {
          if (name === "slow") return slow.promise;
          throw new AiosError("NOT_FOUND", "no unit ".concat((texts[Number(name)] ?? "").repeat(100_000)));
        },
      }),
    ]);
    const init = client(InitService);
    const other = init.getUnit({ name: "slow" });
    for (const at of texts.keys())
      await expect(init.getUnit({ name: String(at) })).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: expect.stringMatching(/^no unit .*…$/s),
      });
    slow.resolve({ ...unit, needs: [] });
    expect(await other).toMatchObject({ name: "x" });
  });

  it("with a correlation id that no header can carry on are given another", async () => {
    await serve([service(OrchestratorService, { submitGoal: () => ({ id: correlationId() ?? "" }) })]);
    const raw = client(OrchestratorService);
    const { id } = await raw.submitGoal(goal, { headers: { "x-correlation-id": "a b;c" } });
    expect(id).toMatch(/^[\w-]{36}$/);
  });

  it("carry the correlation id to the handler", async () => {
    await serve([service(OrchestratorService, { submitGoal: () => ({ id: correlationId() ?? "" }) })]);
    expect(await withCorrelation("c-1", () => client(OrchestratorService).submitGoal(goal))).toEqual({ id: "c-1" });
  });

  it("stop at their deadline, and the handler hears of it", async () => {
    const aborted = Promise.withResolvers<void>();
    await serve([
      service(InitService, {
        getBoot: (_, { signal }: Call) =>
          new Promise((_, reject) =>
            signal.addEventListener("abort", () => {
              aborted.resolve();
              reject(signal.reason);
            }),
          ),
      }),
    ]);
    await expect(client(InitService).getBoot({}, { timeoutMs: 2_000 })).rejects.toMatchObject({
      code: "DEADLINE_EXCEEDED",
    });
    await aborted.promise;
  });

  it("fail with the address when nobody listens", async () => {
    await expect(client(InitService).getBoot({})).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(path),
    });
  });
});

describe("calls that outlive a restart", () => {
  const answering = () => serve([service(InitService, { getUnit: () => ({ ...unit, needs: [] }) })]);

  it("are answered by the peer that comes back", async () => {
    const init = client(InitService, outlivesRestart);
    const first = await answering();
    await init.getUnit({ name: "x" });
    first.forceShutdown();
    // Several calls, so that one of them finds the channel between two attempts.
    const calls = Array.from({ length: 3 }, () => init.getUnit({ name: "x" }));
    await expect(client(InitService).getUnit({ name: "x" })).rejects.toMatchObject({ code: "UNAVAILABLE" });
    await answering();
    expect(await Promise.all(calls)).toMatchObject([{ name: "x" }, { name: "x" }, { name: "x" }]);
  });

  it("fail with the address when it does not come back in time", async () => {
    await expect(client(InitService, { connectWithinMs: 50 }).getUnit({ name: "x" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: expect.stringContaining(path),
    });
  });

  it("wait no longer than they may take", async () => {
    const call = client(InitService, { connectWithinMs: 60_000 }).getUnit({ name: "x" }, { timeoutMs: 1_000 });
    await expect(call).rejects.toMatchObject({ code: "UNAVAILABLE" });
  });

  it("are cancelled while they wait", async () => {
    const cancel = new AbortController();
    const call = client(InitService, { connectWithinMs: 60_000 }).getUnit({ name: "x" }, { signal: cancel.signal });
    setTimeout(() => cancel.abort(), 20);
    await expect(call).rejects.toMatchObject({ code: "CANCELLED" });
    expect(getEventListeners(cancel.signal, "abort")).toEqual([]);
  });
});

describe("streams", () => {
  it("deliver in order, end, and end with an error", async () => {
    await serve([
      service(InitService, {
        async *readLogs({ lines }) {
          for (let at = 0; at < lines; at++) yield { unit: "u", timestamp: at, text: "x".repeat(10_000) };
          if (lines === 3) throw new AiosError("OUT_OF_RANGE", "read logs: no more");
        },
      }),
    ]);
    const init = client(InitService);
    const read = async (lines: number) => {
      const got: number[] = [];
      for await (const line of init.readLogs({ unit: "", lines, follow: false })) got.push(line.timestamp);
      return got;
    };
    expect(await read(500)).toEqual(Array.from({ length: 500 }, (_, at) => at));
    await expect(read(3)).rejects.toMatchObject({ code: "OUT_OF_RANGE" });
  });

  it("end on the server when the client stops reading", async () => {
    const ended = Promise.withResolvers<void>();
    await serve([
      service(InitService, {
        async *watchUnits(_, { signal }) {
          try {
            for (let at = 0; !signal.aborted; at++) {
              yield { ...unit, restarts: at, needs: [] };
              await new Promise((resolve) => setTimeout(resolve, 5));
            }
          } finally {
            ended.resolve();
          }
        },
      }),
    ]);
    for await (const change of client(InitService).watchUnits({})) if (change.restarts === 2) break;
    await ended.promise;
  });

  it("go from client to server", async () => {
    await serve([
      service(OrchestratorService, {
        async streamProgress(updates) {
          let last = "";
          for await (const update of updates) last = update.message;
          return { success: true, message: last };
        },
      }),
    ]);
    async function* updates() {
      for (const message of ["a", "b", "c"]) yield { taskId: "t", progress: 0, message, waitsFor: "" };
    }
    expect(await client(OrchestratorService).streamProgress(updates())).toEqual({ success: true, message: "c" });
  });
});

describe("a socket", () => {
  it("replaces a stale one and has the mode that was asked for", async () => {
    writeFileSync(path, "");
    await serve([service(InitService, {})]);
    expect(statSync(path).isSocket()).toBe(true);
    expect(statSync(path).mode & 0o777).toBe(0o660);
  });
});

describe("identity", () => {
  it("is an operator's only when the console says so", () => {
    const metadata = metadataOf({ [operatorHeader]: "alice", [roleHeader]: "admin" });
    expect(identify(coreIdentity("console"), metadata)).toEqual({ kind: "operator", name: "alice", role: "admin" });
    for (const peer of [coreIdentity("memory"), coreIdentity("runtime"), { kind: "agent", name: "console" } as const])
      expect(identify(peer, metadata)).toEqual(peer);
  });

  it("on the machine itself is that of a person at root's shell", () => {
    expect(identityOf("ctl")).toEqual({ kind: "operator", name: "root", role: "admin" });
    expect(identityOf("memory")).toEqual({ kind: "core", name: "memory" });
  });

  it.each([{}, { [roleHeader]: "root" }, { [roleHeader]: "" }])("has the least role when %j says none", (said) => {
    const metadata = metadataOf({ [operatorHeader]: "alice", ...said });
    expect(identify(coreIdentity("console"), metadata)).toEqual({ kind: "operator", name: "alice", role: "reader" });
  });
});

describe("health and reflection", () => {
  it("tell ready, per service, and watchers of a change", async () => {
    const state = health(["aios.init.Init"]);
    await serve([state.service]);
    const check = client(HealthService);
    expect(await check.check({ service: "" })).toEqual({ status: 2 });
    const seen: number[] = [];
    for await (const { status } of check.watch({ service: "aios.init.Init" })) {
      seen.push(status);
      if (seen.length === 2) break;
      state.set(true);
    }
    expect(seen).toEqual([2, 1]);
    await expect(check.check({ service: "nobody" })).rejects.toMatchObject({ code: "NOT_FOUND" });
  });

  it("list services and give a file with what it imports", async () => {
    const { default: descriptors } = await import("../../../proto/gen/descriptors.json", { with: { type: "json" } });
    const init = service(InitService, {});
    await serve([init, reflection([serviceName(init)], () => descriptors)]);
    async function* questions() {
      yield { host: "", messageRequest: { $case: "listServices" as const, value: "" } };
      yield { host: "", messageRequest: { $case: "fileContainingSymbol" as const, value: "aios.init.Init.GetBoot" } };
      yield { host: "", messageRequest: { $case: "fileByFilename" as const, value: "none.proto" } };
    }
    const answers = [];
    for await (const answer of client(ServerReflectionService).serverReflectionInfo(questions()))
      answers.push(answer.messageResponse);
    expect(answers).toMatchObject([
      { $case: "listServicesResponse", value: { service: [{ name: "aios.init.Init" }] } },
      { $case: "fileDescriptorResponse" },
      { $case: "errorResponse", value: { errorCode: 5 } },
    ]);
    expect(answers[1]).toMatchObject({ value: { fileDescriptorProto: [expect.any(Buffer), expect.any(Buffer)] } });
  });
});
