import { once } from "node:events";
import { connect as connectTcp, type Socket } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { createCa, issueCertificate } from "#lib/identity/certify";
import { validityMs } from "#lib/identity/pki";
import { openLog } from "#lib/log";
import { health } from "#lib/rpc/health";
import { type Call, type Identity, service } from "#lib/rpc/service";
import { AgentRegistration } from "#proto/aios/common";
import { InitService } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { ToolRegistryService } from "#proto/aios/tools";
import { HealthService, HealthCheckResponse_ServingStatus as Status } from "#proto/grpc/health/v1/health";
import { ServerReflectionService } from "#proto/grpc/reflection/v1/reflection";
import { ca, client, knock, now, openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
let callers: Identity[];
let lines: string[];

const note = (call: Call) => callers.push(call.identity);
const orchestrator = service(OrchestratorService, {
  submitGoal: (_, call) => {
    note(call);
    return { id: "g1" };
  },
  listGoals: (_, call) => {
    note(call);
    return { goals: [], total: 7, nextCursor: "" };
  },
  registerAgent: () => ({ success: true, message: "" }),
});
const init = service(InitService, { shutdown: ({ reason }) => ({ success: true, message: reason }) });

const goal = {
  description: "x",
  priority: 2,
  source: "",
  tags: [],
  metadataJson: Buffer.alloc(0),
  dependsOn: [],
  dedupeKey: "",
};
const stranger = await createCa("operator", now);

const page = { statusFilter: "", limit: 0, offset: 0, cursor: "" };

beforeEach(async () => {
  callers = [];
  lines = [];
  twin = await openTwin(
    {},
    openLog("console", "debug", (line) => lines.push(line)),
  );
  await twin.daemon("orchestrator", orchestrator);
  await twin.daemon("init", init);
});
afterEach(() => twin.close());

describe("who comes in", () => {
  it("an operator is passed on under the name and role of the certificate", async () => {
    const goals = twin.client(OrchestratorService, await client("operator", "alice"));
    expect(await goals.submitGoal(goal)).toEqual({ id: "g1" });
    expect(callers).toEqual([{ kind: "operator", name: "alice", role: "operator" }]);
  });

  const old = now - validityMs.client - 86_400_000;
  it.each([
    ["none", () => undefined],
    ["another authority's", () => client("admin", "mallory", now, stranger)],
    ["an expired", () => client("admin", "late", old, ca)],
    ["a not yet valid", () => client("admin", "early", now + 3 * 86_400_000)],
    ["a machine's", () => issueCertificate(ca, { kind: "server", name: "aios", addresses: [] }, now)],
    ["a self-signed", () => stranger],
  ])("whoever shows %s certificate is cut off, quickly, before a word is exchanged", async (_, certified) => {
    const shows = await certified();
    const started = performance.now();
    const goals = twin.client(OrchestratorService, shows);
    await expect(goals.listGoals(page)).rejects.toMatchObject({ code: "UNAVAILABLE" });
    expect(performance.now() - started).toBeLessThan(10_000);
    expect((await knock(twin.console.port, shows)).received).toBe(0);
    expect(callers).toEqual([]);
    expect(lines.join("")).toMatch("refused a connection");
  });

  it("whoever does not offer HTTP/2 is cut off", async () => {
    expect((await knock(twin.console.port, await client("admin"), [])).received).toBe(0);
    expect((await knock(twin.console.port, await client("admin"), ["http/1.1"])).error).toMatch(
      /application protocol/i,
    );
  });

  it("no session is resumed: everyone proves anew who they are", async () => {
    const { certificate: cert, key } = await client("reader");
    const visit = (session?: Buffer) =>
      new Promise<{ reused: boolean; session: Buffer | undefined }>((resolve) => {
        const to = {
          port: twin.console.port,
          rejectUnauthorized: false,
          ALPNProtocols: ["h2"],
          minVersion: "TLSv1.3",
        } as const;
        const socket = connectTls({ ...to, cert, key, ...(session && { session }) });
        let kept: Buffer | undefined;
        socket.on("session", (offered) => {
          kept = offered;
        });
        // The server's first frame comes after any ticket.
        socket.once("data", () => {
          resolve({ reused: socket.isSessionReused(), session: kept });
          socket.destroy();
        });
      });
    const first = await visit();
    expect((await visit(first.session)).reused).toBe(false);
  });

  it("an operator whose certificate runs out on an open connection is told so", async () => {
    const goals = twin.client(OrchestratorService, await client("reader", "bob"));
    await goals.listGoals(page);
    await twin.clock.advance(validityMs.client);
    await expect(goals.listGoals(page)).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      message: expect.stringContaining("bob has expired"),
    });
  });

  it("plain text and rubbish harm no one", async () => {
    const { connect } = await import("node:net");
    const socket = connect(twin.console.port, "127.0.0.1", () => socket.write("GET / HTTP/1.1\r\n\r\n"));
    await new Promise((resolve) => socket.on("close", resolve));
    await twin.client(OrchestratorService, await client("reader")).listGoals(page);
  });
});

describe("who may call what", () => {
  it("a reader reads, and is told which role the rest needs", async () => {
    const goals = twin.client(OrchestratorService, await client("reader", "bob"));
    expect((await goals.listGoals(page)).total).toBe(7);
    await expect(goals.submitGoal(goal)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message:
        "call /aios.orchestrator.Orchestrator/SubmitGoal: it needs the role operator, and bob is reader; ask an admin",
    });
    expect(callers).toHaveLength(1);
  });

  it("an operator does not turn the machine off, an admin does", async () => {
    const off = { reason: "move" };
    await expect(twin.client(InitService, await client("operator")).shutdown(off)).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("the role admin"),
    });
    expect(await twin.client(InitService, await client("admin")).shutdown(off)).toEqual({
      success: true,
      message: "move",
    });
    expect(lines.join("")).toMatch('"path":"/aios.init.Init/Shutdown","operator":"admin"');
  });

  it("nobody makes an agent's calls, not even an admin", async () => {
    const goals = twin.client(OrchestratorService, await client("admin"));
    await expect(goals.registerAgent(AgentRegistration.fromPartial({ agentId: "system" }))).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
      message: expect.stringContaining("own daemons"),
    });
  });

  it("a daemon that is away is named, its socket is not", async () => {
    const tools = twin.client(ToolRegistryService, await client("reader"));
    await expect(tools.listTools({ namespace: "" })).rejects.toMatchObject({
      code: "UNAVAILABLE",
      message: 'call /aios.tools.ToolRegistry/ListTools: tools does not answer; see "aiosctl units"',
    });
  });
});

describe("health and reflection", () => {
  it("tells the health of the machine's services", async () => {
    const state = health(["aios.tools.ToolRegistry"]);
    await twin.daemon("tools", state.service);
    const check = twin.client(HealthService, await client("reader")).check;
    expect(await check({ service: "" })).toEqual({ status: Status.SERVING });
    expect(await check({ service: "aios.tools.ToolRegistry" })).toEqual({ status: Status.NOT_SERVING });
    state.set(true);
    expect(await check({ service: "aios.tools.ToolRegistry" })).toEqual({ status: Status.SERVING });
    expect(await check({ service: "aios.memory.MemoryService" })).toEqual({ status: Status.NOT_SERVING });
    await expect(check({ service: "aios.agent.Agent" })).rejects.toMatchObject({ code: "NOT_FOUND" });
    const watching = twin.client(HealthService, await client("reader")).watch({ service: "aios.tools.ToolRegistry" });
    for await (const { status } of watching) {
      expect(status).toBe(Status.SERVING);
      break;
    }
  });

  it("lists the services that can be called", async () => {
    const reflection = twin.client(ServerReflectionService, await client("reader"));
    const ask = async function* () {
      yield { host: "", messageRequest: { $case: "listServices", value: "" } } as const;
    };
    for await (const { messageResponse } of reflection.serverReflectionInfo(ask())) {
      const names = messageResponse?.$case === "listServicesResponse" ? messageResponse.value.service : [];
      expect(names.map(({ name }) => name)).toContain("aios.init.Init");
      expect(names.map(({ name }) => name)).not.toContain("aios.agent.Agent");
    }
  });
});

/** What a TLS client says first. */
function clientHello(): Promise<Buffer> {
  return new Promise((resolve) => {
    const socket = new Duplex({ read() {}, write: (chunk) => resolve(chunk) });
    connectTls({ socket, ALPNProtocols: ["h2"] }).on("error", () => {});
  });
}

describe("strangers", () => {
  it("that say nothing shut nobody out, however many, and as often as they come again", async () => {
    await twin.close();
    twin = await openTwin({ clock: systemClock });
    await twin.daemon("orchestrator", orchestrator);
    const silent = new Set<Socket>();
    let made = 0;
    const come = () => {
      if (made++ >= 3_000) return;
      const socket = connectTcp(twin.console.port, "127.0.0.1").on("error", () => {});
      silent.add(socket.once("close", () => silent.delete(socket) && come()));
    };
    for (let n = 0; n < 600; n++) come();
    try {
      for (let n = 0; n < 3; n++) {
        const { total } = await twin.client(OrchestratorService, await client("reader")).listGoals(page);
        expect(total).toBe(7);
      }
    } finally {
      made = Number.POSITIVE_INFINITY;
      for (const socket of silent) socket.destroy();
    }
  });

  it("that say nothing from many addresses do not either", async () => {
    const silent: Socket[] = [];
    for (let n = 0; n < 400; n++) {
      const from = { host: "127.0.0.1", localAddress: `127.1.${n >> 7}.${1 + (n & 127)}` };
      silent.push(
        connectTcp({ port: twin.console.port, ...from })
          .on("error", () => {})
          .resume(),
      );
    }
    try {
      const { total } = await twin.client(OrchestratorService, await client("reader")).listGoals(page);
      expect(total).toBe(7);
      await expect.poll(() => silent.filter(({ closed }) => !closed), { timeout: 20_000 }).toEqual([]);
    } finally {
      for (const socket of silent) socket.destroy();
    }
  }, 30_000);

  it("are cut off when they hold a handshake open: silent, half-way, or a byte at a time", async () => {
    const hello = await clientHello();
    const open = () =>
      connectTcp(twin.console.port, "127.0.0.1")
        .on("error", () => {})
        .resume();
    const [silent, halfWay, slow] = [open(), open(), open()];
    const closed = [silent, halfWay, slow].map((socket) => once(socket, "close"));
    halfWay.write(hello);
    let at = 0;
    const trickle = setInterval(() => slow.write(hello.subarray(at, ++at)), 500);
    await Promise.all(closed);
    clearInterval(trickle);
  }, 30_000);

  it("with a certificate of their own do not either", async () => {
    const stray = await client("reader", "stray", now, stranger);
    const knocks = Array.from({ length: 60 }, () => knock(twin.console.port, stray));
    const { total } = await twin.client(OrchestratorService, await client("reader")).listGoals(page);
    expect(total).toBe(7);
    await Promise.all(knocks);
  });
});

describe("a person with many connections", () => {
  it("loses the oldest of them, and takes no place of others", async () => {
    const eager = await client("reader", "eager");
    const open: TLSSocket[] = [];
    for (let n = 0; n < 80; n++) {
      const socket = connectTls({
        ...{ port: twin.console.port, host: "127.0.0.1", servername: "aios", ca: ca.certificate },
        ...{ key: eager.key, cert: eager.certificate, ALPNProtocols: ["h2"] },
      });
      await once(socket.on("error", () => {}).resume(), "secureConnect");
      open.push(socket);
    }
    try {
      const left = () => open.flatMap(({ closed }, at) => (closed ? [] : [at]));
      await expect.poll(left, { timeout: 10_000 }).toEqual(Array.from({ length: 64 }, (_, at) => at + 16));
      const other = twin.client(OrchestratorService, await client("reader", "other"));
      expect(await other.listGoals(page)).toMatchObject({ total: 7 });
    } finally {
      for (const socket of open) socket.destroy();
    }
  });
});

describe("a stream", () => {
  it("ends with the certificate that opened it", async () => {
    await twin.close();
    twin = await openTwin({ clock: systemClock });
    await twin.daemon(
      "init",
      service(InitService, {
        async *watchUnits(_, { signal }) {
          await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
        },
      }),
    );
    const secondLeft = await client("reader", "brief", systemClock.now() - validityMs.client + 2_000);
    const reading = (async () => {
      for await (const _ of twin.client(InitService, secondLeft).watchUnits({}));
    })();
    await expect(reading).rejects.toMatchObject({
      code: "UNAUTHENTICATED",
      message: expect.stringContaining("the certificate of brief has expired"),
    });
  });
});
