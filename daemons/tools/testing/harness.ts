import { existsSync, mkdirSync, mkdtempSync, readFileSync, realpathSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { type Clock, systemClock } from "#lib/clock";
import { type Role, roles } from "#lib/identity/role";
import { silentLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { type Client, coreIdentity, type Identity, identify, type Service } from "#lib/rpc/service";
import { openPeer } from "#lib/testing/sockets";
import { HoldingService } from "#proto/aios/holding";
import type { InitService } from "#proto/aios/init";
import { ExecuteRequest, type ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";
import type { Autonomy } from "../access/policy.ts";
import type { PackageWorld } from "../catalogue/pkg/index.ts";
import { holdingService } from "../holding-service.ts";
import { rolesService } from "../roles-service.ts";
import { toolsService } from "../service.ts";
import { openTools } from "../tools.ts";
import { noteCarried } from "./carried.ts";

/** For tests: the tools behind real sockets, the core's and those of agents, over a folder that outlives a restart. */
export interface Machine {
  readonly folder: string;
  /** A client at the core's socket. */
  readonly core: Caller;
  /** A client at an agent's socket. */
  agent(name: string): Caller;
  /** A client at a socket whose peers are an admin, as those calls are that the console passes on. */
  readonly operator: Caller;
  /** The same, of a person with another role. */
  person(role: Role): Caller;
  /** Ends the daemon in order and starts it again; `meanwhile` happens in between. */
  restart(meanwhile?: () => void | Promise<void>): Promise<void>;
  /** As the orchestrator does at an emergency stop, and after it. */
  hold(held: boolean): Promise<void>;
  close(): void;
}

export interface Caller {
  readonly raw: Client<typeof ToolRegistryService>;
  /** Calls a tool; the answer with its output parsed. */
  call(tool: string, input?: unknown, more?: Partial<ExecuteRequest>): Promise<Answer>;
}

export type Answer = Omit<ExecuteResponse, "outputJson"> & {
  // biome-ignore lint/suspicious/noExplicitAny: tests look into whatever a tool gave back
  readonly output: any;
};

type Init = Client<typeof InitService>;

/** An init that answers what a test expects to be asked, and nothing else. */
const initOf = (expected: Partial<Init>): Init =>
  new Proxy<Partial<Init>>(
    { holdServices: async () => ({}), ...expected },
    {
      get: (calls, name) =>
        Reflect.get(calls, name) ??
        (() => Promise.reject(new Error(`init was not expected to be asked ${String(name)}`))),
    },
  ) as Init;

const agents = ["system", "task"];
const names: Readonly<Record<Role, string>> = { reader: "rita", operator: "olga", admin: "alice" };

/** In memory where there is such a place: what these tests ask is not whether the disk keeps its word. */
const usualPlace = existsSync("/dev/shm") ? "/dev/shm" : tmpdir();

/** The image's policy, with room for tests that call often. */
const roomyPolicy = readFileSync(
  `${import.meta.dirname}/../../../rootfs/etc/aios/security/policy.toml`,
  "utf8",
).replaceAll(/^(calls|writes|destructive|network) = .*$/gm, "$1 = 1000000");

export async function startMachine({
  clock = systemClock,
  init = {},
  packages,
  policy = roomyPolicy,
  autonomy = "full",
  outbound = true,
  temporary = usualPlace,
  damaged = () => {},
}: {
  clock?: Clock;
  init?: Partial<Init>;
  packages?: PackageWorld;
  /** The content of policy.toml. */
  policy?: string;
  autonomy?: Autonomy;
  /** network.allow_outbound. */
  outbound?: boolean;
  /** Where its folder is made. */
  temporary?: string;
  /** A database is damaged, and the daemon wants to be started again. */
  damaged?: () => void;
} = {}): Promise<Machine> {
  const folder = realpathSync(mkdtempSync(`${temporary}/aios-tools-`));
  const paths = { run: `${folder}/run`, state: `${folder}/state`, etc: `${folder}/etc` };
  for (const path of [paths.state, paths.etc, ...agents.map((agent) => `${paths.run}/agents/${agent}`)]) {
    mkdirSync(path, { recursive: true });
  }
  const core = openPeer(paths.run, "tools", "orchestrator");
  // The head of the ledger is told there.
  openPeer(paths.run, "tools", "console");
  mkdirSync(`${paths.etc}/security`);
  writeFileSync(`${paths.etc}/security/policy.toml`, policy);
  writeFileSync(
    `${paths.run}/config.json`,
    JSON.stringify({ system: { autonomy_level: autonomy }, network: { allow_outbound: outbound } }),
  );
  const personSocket = (role: Role) => `${paths.run}/${role}.sock`;
  const start = async () => {
    const tools = await openTools({
      paths,
      init: initOf(init),
      clock,
      log: silentLog,
      restart: damaged,
      ...(packages && { packages }),
    });
    const service = toolsService(tools);
    const servers = await Promise.all([
      serve([service, holdingService(tools.holding), rolesService(tools.registry)], core, coreIdentity("orchestrator")),
      ...roles.map((role) => serve([service], personSocket(role), { kind: "operator", name: names[role], role })),
      ...agents.map((name) => serve([service], `${paths.run}/agents/${name}/tools.sock`, { kind: "agent", name })),
    ]);
    return () => {
      for (const server of servers) server.forceShutdown();
      tools.close();
    };
  };
  let stop = await start();
  const callers = new Map<string, Caller>();
  const at = (socket: string): Caller => {
    const caller = callers.get(socket) ?? callerAt(socket);
    callers.set(socket, caller);
    return caller;
  };
  return {
    folder,
    get core() {
      return at(core);
    },
    get operator() {
      return at(personSocket("admin"));
    },
    person: (role) => at(personSocket(role)),
    agent: (name) => at(`${paths.run}/agents/${name}/tools.sock`),
    restart: async (meanwhile = () => {}) => {
      stop();
      await meanwhile();
      stop = await start();
    },
    hold: async (held) => {
      const client = connect(HoldingService, `unix:${core}`);
      await client.setHeld({ held }).finally(() => client.close());
    },
    close: () => {
      for (const { raw } of callers.values()) raw.close();
      stop();
      if (existsSync(`${folder}/state`)) noteCarried(`${folder}/state`);
      rmSync(folder, { recursive: true, force: true });
    },
  };
}

async function serve(services: Service[], path: string, identity: Identity) {
  const server = createServer(services, (call) => identify(identity, call.metadata), silentLog);
  await listen(server, { path, identity, mode: 0o600 });
  return server;
}

function callerAt(socket: string): Caller {
  const raw = connect(ToolRegistryService, `unix:${socket}`);
  return {
    raw,
    call: async (tool, input = {}, more = {}) =>
      answerOf(await raw.execute(requestOf(tool, input, more), { timeoutMs: 60_000 })),
  };
}

export function requestOf(tool: string, input: unknown, more: Partial<ExecuteRequest> = {}): ExecuteRequest {
  const inputJson = Buffer.isBuffer(input) ? input : Buffer.from(JSON.stringify(input));
  return ExecuteRequest.fromPartial({ toolName: tool, inputJson, reason: "a test", ...more });
}

export function answerOf({ outputJson, ...answer }: ExecuteResponse): Answer {
  return { ...answer, output: outputJson.length === 0 ? undefined : JSON.parse(outputJson.toString()) };
}

/** A ticket as the person sees it. */
interface Shown {
  readonly id: string;
  readonly digest: string;
  readonly risk: string;
  readonly agent_id: string;
  readonly preview: string;
  readonly undo: string;
}

/** Makes a call that waits for a person; its ticket as the person sees it, and what will come of the call. */
export async function whenAsked(
  person: Pick<Caller, "call">,
  ask: () => Promise<Answer>,
): Promise<{ ticket: Shown; answer: Promise<Answer> }> {
  const before = new Set(await waitingOf(person).then((all) => all.map(({ id }) => id)));
  const answer = ask();
  let failed: unknown;
  answer.catch((error: unknown) => {
    failed = error;
  });
  for (;;) {
    const ticket = (await waitingOf(person)).find(({ id }) => !before.has(id));
    if (ticket !== undefined) return { ticket, answer };
    if (failed !== undefined) throw failed;
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

async function waitingOf(person: Pick<Caller, "call">): Promise<Shown[]> {
  return (await person.call("sec.approvals")).output.waiting;
}
