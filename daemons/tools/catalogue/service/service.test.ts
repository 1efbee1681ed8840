import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { parse } from "smol-toml";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { UnitState as State, type Unit, Unit as UnitMessage } from "#proto/aios/init";
import { type Machine, startMachine, whenAsked } from "../../testing/harness.ts";
import { serviceTools } from "./index.ts";
import { isPackaged, packagedService } from "./packaged.ts";

let machine: Machine;
let services: string;
/** The units of the twin, by name: what init would keep. */
let units: Map<string, Unit>;
let asked: string[];
let faults: string[];

const unit = (name: string, more: Partial<Unit> = {}) => UnitMessage.fromPartial({ name, managed: true, ...more });

/** Init's twin: it reads the files as init does, and starts what they describe unless the program is "/bin/false". */
const init = {
  listUnits: async () => {
    refresh();
    return { units: [...units.values()] };
  },
  getUnit: async ({ name }: { name: string }) => find(name),
  startUnit: ({ name }: { name: string }) => change("start", name, { state: State.UNIT_READY, pid: 7 }),
  stopUnit: ({ name }: { name: string }) => change("stop", name, { state: State.UNIT_STOPPED, pid: 0 }),
  restartUnit: ({ name }: { name: string }) => change("restart", name, { state: State.UNIT_READY, pid: 8 }),
  enableUnit: ({ name }: { name: string }) => change("enable", name, { enabled: true }),
  disableUnit: ({ name }: { name: string }) => change("disable", name, { enabled: false }),
  getBoot: async () => ({ faults }) as never,
  readLogs: async function* ({ unit: name, lines }: { unit: string; lines: number }) {
    find(name);
    for (let at = 0; at < Math.min(lines, 3); at += 1) yield { unit: name, timestamp: at, text: `${name} ${at}` };
  },
};

function refresh(): void {
  for (const [name, { managed }] of units) if (managed && !existsSync(`${services}/${name}.toml`)) units.delete(name);
  for (const name of ["web", "bad"]) {
    if (existsSync(`${services}/${name}.toml`) && !units.has(name)) units.set(name, unit(name));
  }
}

function find(name: string): Unit {
  refresh();
  const found = units.get(name);
  if (found === undefined) throw new AiosError("NOT_FOUND", `find unit ${name}: no such unit`);
  return found;
}

async function change(act: string, name: string, more: Partial<Unit>): Promise<Unit> {
  asked.push(`${act} ${name}`);
  const fails = name === "bad" && ["start", "restart"].includes(act);
  const changed = {
    ...find(name),
    ...(fails ? { state: State.UNIT_BACKOFF, reason: "ended with exit code 1" } : more),
  };
  units.set(name, changed);
  return changed;
}

beforeEach(async () => {
  units = new Map([["memory", unit("memory", { managed: false, state: State.UNIT_READY, pid: 5 })]]);
  asked = [];
  faults = [];
  machine = await startMachine({ init });
  services = `${machine.folder}/etc/services`;
});

afterEach(() => machine.close());

const grant = (...capabilities: string[]) =>
  machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
const call = (tool: string, input: object) => machine.operator.call(tool, input);
const back = (executionId: string) => machine.operator.raw.rollback({ executionId, reason: "r" });
const define = (name = "web", more: object = {}) =>
  call("service.define", { name, argv: ["/usr/sbin/web", "-g", 'daemon "off";'], ready_port: 80, ...more });

describe("service.define", () => {
  it("writes what PID 1 reads, and its rollback removes it", async () => {
    const { output, executionId } = await define("web", { user: "www-data" });
    expect(output).toEqual({ path: `${services}/web.toml` });
    expect(parse(readFileSync(output.path, "utf8"))).toEqual({
      name: "web",
      argv: ["/usr/sbin/web", "-g", 'daemon "off";'],
      ready_port: 80,
      user: "www-data",
      enabled: false,
    });
    expect(await back(executionId)).toMatchObject({ success: true });
    expect(existsSync(services)).toBe(false);
    expect(units.has("web")).toBe(false);
  });

  it("enables and starts it when told so, and its rollback ends all of it", async () => {
    const { output, executionId } = await define("web", { enabled: true, start: true });
    expect(output).toEqual({ path: `${services}/web.toml`, ready: true });
    expect(parse(readFileSync(output.path, "utf8"))).toMatchObject({ enabled: true });
    expect(parse(readFileSync(output.path, "utf8"))).not.toHaveProperty("start");
    expect(asked).toEqual(["restart web"]);
    await back(executionId);
    expect(units.has("web")).toBe(false);
  });

  it("does not go on trying to start what is new and cannot be started", async () => {
    expect(await define("bad", { start: true })).toMatchObject({
      success: false,
      error: 'start service bad: ended with exit code 1; see service.logs {"name":"bad"}',
    });
    expect(asked).toEqual(["restart bad", "stop bad"]);
    expect(existsSync(`${services}/bad.toml`)).toBe(true);
    await define("bad", { start: true, user: "www-data" });
    expect(asked).toEqual(["restart bad", "stop bad", "restart bad"]);
  });

  it("describes anew, and its rollback brings back what was", async () => {
    mkdirSync(services);
    writeFileSync(`${services}/web.toml`, "# by hand\n");
    const { executionId } = await define();
    await machine.restart();
    await back(executionId);
    expect(readFileSync(`${services}/web.toml`, "utf8")).toBe("# by hand\n");
  });

  it("refuses a daemon's name, and says what PID 1 has against a file", async () => {
    expect(await define("memory")).toMatchObject({
      success: false,
      error: "define service memory: a daemon of aiOS has this name",
    });
    expect(existsSync(`${services}/memory.toml`)).toBe(false);
    faults = [`read ${services}/web.toml: argv: the program is no absolute path`];
    expect(await define()).toMatchObject({ success: false, error: expect.stringContaining("no absolute path") });
    await expect(define("../evil")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("is the only way for agents, whatever files they may write", async () => {
    const capabilities = [`fs:write:${machine.folder}/**`];
    await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
    const agent = machine.agent("task");
    const written = agent.call("fs.write", { path: `${services}/web.toml`, content: "" });
    await expect(written).rejects.toThrow("service.define");
    await expect(agent.call("service.define", { name: "web", argv: ["/x"] })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
    await grant("service:define:web", "service:run:/x");
    expect(await agent.call("service.define", { name: "web", argv: ["/x"] })).toMatchObject({ success: true });
    expect(parse(readFileSync(`${services}/web.toml`, "utf8"))).toMatchObject({
      ...{ user: "own", network: false, defined_by: "agent task" },
    });
  });

  it.each([
    ["a program that was not granted", { argv: ["/bin/sh", "-c", "id"] }, []],
    ["the network", { ready_port: 80 }, []],
    ["the network, told", { network: true }, []],
    ["root", { user: "root" }, ["service:network:web"]],
    ["another account", { user: "www-data" }, ["service:network:web"]],
  ])("with %s is critical for an agent, and waits for an admin", async (_, more, also) => {
    await grant("service:define:web", "service:run:/x", ...also);
    const input = { name: "web", argv: ["/x"], ...more };
    const { ticket, answer } = await whenAsked(machine.operator, () =>
      machine.agent("task").call("service.define", input),
    );
    answer.catch(() => {});
    expect(ticket).toMatchObject({ risk: "critical", role: "admin" });
    expect(existsSync(`${services}/web.toml`)).toBe(false);
  });

  it("by an operator is of a program under a user of its own, without a network", async () => {
    const operator = machine.person("operator");
    const input = { name: "web", argv: ["/x"] };
    for (const more of [{}, { user: "root" }, { user: "own", ready_port: 80 }, { user: "own", network: true }])
      await expect(operator.call("service.define", { ...input, ...more })).rejects.toThrow("needs the role admin");
    expect(await operator.call("service.define", { ...input, user: "own" })).toMatchObject({ success: true });
  });
});

describe("a service that a package brought", () => {
  const brought = (name: string, text: string) => {
    mkdirSync(folder, { recursive: true });
    writeFileSync(`${folder}/${name}.service`, text);
  };
  const nginx =
    "[Unit]\nDescription=x\n[Service]\nType=forking\nExecStartPre=/usr/sbin/nginx -t\nExecStart=/usr/sbin/nginx -g 'daemon on; master_process on;'\n";
  let folder: string;

  beforeEach(() => {
    folder = `${machine.folder}/packaged`;
  });

  it("is read as systemd reads it, and what cannot be kept is told why", () => {
    brought("nginx", nginx);
    brought("plain", "[Service]\nUser=www-data\nExecStart=-/usr/bin/x \\\n  \"a b\" 'c'd\n[Install]\nUser=no\n");
    brought("forks", "[Service]\nType=forking\nExecStart=/usr/bin/x\n");
    brought("varies", "[Service]\nExecStart=/usr/bin/x $OPTIONS\n");
    brought("two", "[Service]\nExecStart=/usr/bin/x\nExecStart=/usr/bin/y\n");
    brought("bare", "[Service]\nType=simple\n");
    brought("once", "[Service]\nType=oneshot\nRemainAfterExit=on\nExecStart=/bin/true\n");
    brought("nobodys", "[Service]\nDynamicUser=yes\nUser=x\nExecStart=/usr/bin/x\n");
    brought("placed", "[Service]\nRuntimeDirectory=x\nExecStart=/usr/bin/x\n");
    brought("shown", "[Service]\nExecStart=@/usr/bin/x x-of-y \\\n  # as it was\n  --more\n");
    brought("handed", "[Service]\nStandardInput=socket\nExecStart=/usr/bin/x\n");
    brought("listed", "[Service]\nExecStart=/usr/bin/x ; /usr/bin/y\n");
    brought("of-one", "[Service]\nUser=%i\nExecStart=/usr/bin/x\n");
    const read = (name: string) => packagedService(name, [folder]);
    const nginxProgram = { argv: ["/usr/sbin/nginx", "-g", "daemon off; master_process on;"], user: "root" };
    expect(read("nginx")).toEqual(nginxProgram);
    expect(isPackaged(["/usr/sbin/nginx", "-g", "daemon off;"], "root", nginxProgram as never)).toBe(true);
    for (const argv of [
      ["/usr/sbin/nginx", "-c", "/srv/x"],
      ["/usr/sbin/nginx", "-g", "daemon off; load_module /x;"],
    ])
      expect(isPackaged(argv, "root", nginxProgram as never)).toBe(false);
    expect(read("plain")).toEqual({ argv: ["/usr/bin/x", "a b", "cd"], user: "www-data" });
    expect(read("forks")).toContain("to the background");
    expect(read("varies")).toContain("variables");
    expect(read("two")).toContain("several programs");
    expect(read("bare")).toContain("not told by a path");
    expect(read("none")).toBeUndefined();
    expect(read("once")).toContain("does its work once");
    expect(read("nobodys")).toContain("account");
    expect(read("placed")).toContain("RuntimeDirectory");
    expect(read("shown")).toEqual({ argv: ["/usr/bin/x", "--more"], user: "root" });
    expect(read("handed")).toContain("by systemd");
    expect(read("listed")).toContain("several programs");
    expect(read("of-one")).toContain("variables");
  });

  it("is set up as the package says, unasked, and told of before anybody is asked", async () => {
    const tools = serviceTools({
      init: init as never,
      clock: systemClock,
      paths: { etc: `${machine.folder}/etc` },
      packaged: [folder],
    });
    const tool = (name: string) => tools.find((one) => one.name === name);
    brought("web", nginx.replaceAll("nginx", "web"));
    const signal = AbortSignal.timeout(5_000);
    const given = (input: object) =>
      ({ input, caller: { kind: "agent", name: "task" }, permits: () => false, resources: {}, signal }) as never;
    for (const name of ["service.start", "service.stop", "service.enable"]) {
      const preview = tool(name)?.preview?.(given({ name: "web" }));
      await expect(preview).rejects.toMatchObject({
        code: "NOT_FOUND",
        message: expect.stringContaining('"packaged":true'),
      });
    }
    const logs = tool("service.logs")?.run(given({ name: "web" }), undefined as never);
    await expect(logs).rejects.toThrow("a package brought it, and nobody has set it up");
    const define = tool("service.define");
    const packaged = { name: "web", packaged: true };
    expect(await define?.rootWhen?.holds(given(packaged), false)).toBe(false);
    // An agent that acts for such a person gets them no further.
    expect(await define?.rootWhen?.holds(given(packaged), true)).toBe(true);
    // Of a person who is no admin it is the right to be root: what the package is set to would be theirs to write.
    const person = { ...(given(packaged) as object), caller: { kind: "operator", name: "olga", role: "operator" } };
    expect(await define?.rootWhen?.holds(person as never, false)).toBe(true);
    expect(await define?.preview?.(given({ name: "web", packaged: true }))).toContain("/usr/sbin/web");
    expect(
      await define?.rootWhen?.holds(given({ name: "web", argv: ["/usr/sbin/web", "-c", "/x"], user: "root" }), false),
    ).toBe(true);
    expect(() => define?.rootWhen?.holds(given({ name: "none", packaged: true }), false)).toThrow("no package");
    expect(() => define?.rootWhen?.holds(given({ name: "web" }), false)).toThrow("give argv");
  });
});

it("nobody is asked about what is not done to a daemon of aiOS", async () => {
  const tools = serviceTools({ init: init as never, clock: systemClock, paths: { etc: `${machine.folder}/etc` } });
  const signal = AbortSignal.timeout(5_000);
  units.set("tools", unit("tools", { managed: false, state: State.UNIT_READY, pid: 6 }));
  const shown = (name: string, input: object) =>
    tools
      .find((one) => one.name === name)
      ?.preview?.({
        ...{ input, caller: { kind: "agent", name: "task" }, permits: () => false, resources: {}, signal },
      } as never);
  for (const name of ["service.start", "service.stop", "service.enable", "service.disable"])
    await expect(shown(name, { name: "memory" })).rejects.toThrow("it is a daemon of aiOS; it can be restarted");
  await expect(shown("service.restart", { name: "tools" })).rejects.toThrow("the daemon that carries out this call");
  expect(await shown("service.restart", { name: "memory" })).toContain("a daemon of aiOS that runs");
  await expect(shown("service.define", { name: "memory", argv: ["/bin/x"] })).rejects.toThrow("has this name");
});

describe("a managed service", () => {
  beforeEach(() => define());

  it("service.start and service.stop answer with what came of it, and take each other back", async () => {
    const start = await call("service.start", { name: "web" });
    expect(start.output).toEqual({ name: "web", running: true, ready: true, pid: 7, reason: "" });
    const stop = await call("service.stop", { name: "web" });
    expect(stop.output).toMatchObject({ running: false, ready: false });
    await machine.restart();
    expect(await back(stop.executionId)).toMatchObject({ success: true });
    expect(units.get("web")?.state).toBe(State.UNIT_READY);
    expect(await back(start.executionId)).toMatchObject({ success: true });
    expect(units.get("web")?.state).toBe(State.UNIT_STOPPED);
    expect(asked).toEqual(["start web", "stop web", "start web", "stop web"]);
  });

  it("starting what runs already is not taken back by a stop", async () => {
    await call("service.start", { name: "web" });
    const again = await call("service.start", { name: "web" });
    expect(await back(again.executionId)).toMatchObject({ success: true });
    expect(units.get("web")?.state).toBe(State.UNIT_READY);
  });

  it("service.enable and service.disable, and back", async () => {
    const enable = await call("service.enable", { name: "web" });
    expect(enable.output).toEqual({ name: "web", enabled: true });
    const disable = await call("service.disable", { name: "web" });
    expect(disable.output).toEqual({ name: "web", enabled: false });
    expect(await call("service.status", { name: "web" })).toMatchObject({ output: { managed: true, enabled: false } });
    await back(disable.executionId);
    expect(units.get("web")?.enabled).toBe(true);
    await back(enable.executionId);
    expect(units.get("web")?.enabled).toBe(false);
  });

  it("has nothing to take back when its file is gone", async () => {
    const start = await call("service.start", { name: "web" });
    const enable = await call("service.enable", { name: "web" });
    rmSync(`${services}/web.toml`);
    for (const { executionId } of [enable, start]) expect(await back(executionId)).toMatchObject({ success: true });
  });

  it("service.restart starts it anew, and cannot be taken back", async () => {
    const { output, executionId } = await call("service.restart", { name: "web" });
    expect(output).toMatchObject({ pid: 8, ready: true });
    await expect(back(executionId)).rejects.toThrow("cannot be brought back");
  });

  it("service.logs gives the last lines", async () => {
    const { output } = await call("service.logs", { name: "web", lines: 2 });
    expect(output.entries).toEqual([
      { timestamp: 0, text: "web 0" },
      { timestamp: 1, text: "web 1" },
    ]);
  });

  it("that does not start fails with why", async () => {
    await define("bad");
    expect(await call("service.start", { name: "bad" })).toMatchObject({
      success: false,
      error: 'start service bad: ended with exit code 1; see service.logs {"name":"bad"}',
    });
  });
});

describe("a daemon of aiOS", () => {
  it("can be restarted, and neither stopped nor disabled", async () => {
    expect(await call("service.restart", { name: "memory" })).toMatchObject({ success: true });
    for (const tool of ["service.stop", "service.start", "service.disable", "service.enable"]) {
      expect(await call(tool, { name: "memory" })).toMatchObject({
        success: false,
        error: expect.stringContaining("it is a daemon of aiOS"),
      });
    }
    expect(await call("service.restart", { name: "tools" })).toMatchObject({ success: false });
    expect(asked).toEqual(["restart memory"]);
    expect(await call("service.stop", { name: "nobody" })).toMatchObject({
      success: false,
      error: expect.stringContaining("no such unit"),
    });
  });
});
