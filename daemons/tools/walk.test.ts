import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import {
  existsSync,
  linkSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { AiosError } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import { type Held, type Worst, worstInputs } from "#lib/testing/worst";
import { UnitState as State, Unit as UnitMessage } from "#proto/aios/init";
import { ToolDefinition } from "#proto/aios/tools";
import { type Machine, startMachine, whenAsked } from "./testing/harness.ts";
import { makeDeb, makeRoot } from "./testing/packages.ts";

/** Containers run on a machine that has podman: here it stands that nothing of the machine is lent. */
vi.mock("./catalogue/shared/program.ts", async (importOriginal) => {
  const original = await importOriginal<typeof import("./catalogue/shared/program.ts")>();
  const runProgram: typeof original.runProgram = ([program, ...args], options) =>
    original.runProgram([program === "podman" ? "/nowhere/podman" : program, ...args], options);
  return { ...original, runProgram };
});

const secret = "SECRET-that-nobody-reads";

const daemon = UnitMessage.fromPartial({ name: "memory", managed: false, state: State.UNIT_READY, pid: 5 });
const asked: string[] = [];
const changeOf = (act: string) => async (request: { name: string }) => {
  asked.push(`${act} ${request.name}`);
  return daemon;
};

/** An init with daemons alone. */
const init = {
  listUnits: async () => ({ units: [daemon] }),
  getUnit: async ({ name }: { name: string }) => {
    if (name === daemon.name) return daemon;
    throw new AiosError("NOT_FOUND", `find unit ${name}: no such unit`);
  },
  getBoot: async () => ({ faults: [], phases: [] }) as never,
  readLogs: async function* () {},
  startUnit: changeOf("start"),
  stopUnit: changeOf("stop"),
  enableUnit: changeOf("enable"),
  disableUnit: changeOf("disable"),
  restartUnit: changeOf("restart"),
};

let machine: Machine;
let packages: string;
let tries: Readonly<Record<string, readonly Worst[]>>;
let ticket: { readonly id: string; readonly digest: string };

beforeEach(async () => {
  asked.length = 0;
  packages = mkdtempSync("/tmp/aios-walk-");
  mkdirSync(`${packages}/archive`);
  makeDeb(`${packages}/archive`, { name: "web", version: "1", postinst: "echo > /installed" });
  machine = await startMachine({ init, packages: makeRoot(`${packages}/root`, []) });
  const { folder } = machine;
  const ground = { run: `${folder}/run`, state: `${folder}/state`, etc: `${folder}/etc`, work: `${folder}/work` };
  plant(ground);
  ticket = await criticalTicket();
  tries = worstInputs(ground, ticket);
});
afterEach(() => {
  machine.close();
  rmSync(packages, { recursive: true, force: true });
});

interface Ground {
  readonly run: string;
  readonly state: string;
  readonly etc: string;
  readonly work: string;
}

/** Secrets where they lie, and what a trickster has prepared in a folder of their own. */
function plant({ run, state, etc, work }: Ground): void {
  for (const path of [`${state}/console/ca.key`, `${state}/gateway/secrets.json`, `${run}/provision/key`]) {
    mkdirSync(path.slice(0, path.lastIndexOf("/")), { recursive: true });
    writeFileSync(path, secret);
  }
  writeFileSync(`${etc}/config.toml`, readFileSync(`${import.meta.dirname}/../../rootfs/etc/aios/config.toml`));
  mkdirSync(`${etc}/triggers`);
  mkdirSync(`${etc}/services`);
  mkdirSync(work);
  writeFileSync(`${work}/mine`, "#!/bin/sh\nid\n", { mode: 0o755 });
  symlinkSync(etc, `${work}/etc`);
  symlinkSync(state, `${work}/state`);
  linkSync(`${state}/console/ca.key`, `${work}/key`);
  symlinkSync("/etc/shadow", `${work}/foreign-link`);
  execFileSync("tar", [
    "-czPf",
    `${work}/foreign.tar.gz`,
    "--transform=s,.*mine,../../etc/triggers/mine.toml,",
    `${work}/mine`,
  ]);
  plantRepository({ etc, state, work });
}

/** A repository whose configuration, hooks, filters and links would have git do more than it is asked. */
function plantRepository({ etc, state, work }: Omit<Ground, "run">): void {
  const path = `${work}/repository`;
  const git = (...words: string[]) => execFileSync("git", ["-C", path, ...words], { stdio: "ignore" });
  mkdirSync(path);
  git("init", "--quiet", "--initial-branch=main");
  git("-c", "user.name=x", "-c", "user.email=x@x", "commit", "--quiet", "--allow-empty", "--message=first");
  git("branch", "evil");
  const evil = `touch ${etc}/services/walk.toml`;
  for (const [key, value] of [
    ["core.hooksPath", `${path}/hooks`],
    ["core.fsmonitor", evil],
    ["core.sshCommand", evil],
    ["core.editor", evil],
    ["core.worktree", etc],
    ["diff.external", evil],
    ["filter.x.clean", evil],
    ["filter.x.smudge", evil],
    ["include.path", `${state}/console/ca.key`],
    ["remote.protected.url", `${state}/console`],
  ] as const)
    git("config", key, value);
  mkdirSync(`${path}/hooks`);
  for (const hook of ["pre-commit", "post-commit", "post-checkout", "pre-push"])
    writeFileSync(`${path}/hooks/${hook}`, `#!/bin/sh\n${evil}\n`, { mode: 0o755 });
  writeFileSync(`${path}/.gitattributes`, "* filter=x diff=x\n");
  writeFileSync(`${path}/mine`, "mine");
  symlinkSync(`${state}/console/ca.key`, `${path}/link-to-key`);
  // What git adds to its log would be a line that the linker reads.
  rmSync(`${path}/.git/logs/HEAD`);
  symlinkSync(`${etc}/security/policy.toml`, `${path}/.git/logs/HEAD`);
}

/** An agent's critical call, which waits. */
async function criticalTicket() {
  await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["config:write:*"], reason: "r" });
  const set = { key: "system.log_level", value: "debug" };
  const { ticket, answer } = await whenAsked(machine.operator, () => machine.agent("task").call("config.set", set));
  answer.catch(() => {});
  return { id: ticket.id, digest: ticket.digest };
}

/** What of the host nobody may change: what stands there, and when it was written. */
const host = ["/etc", "/usr/lib/aios", "/usr/local/bin", "/opt", "/boot", "/root/.ssh", "/var/spool", "/var/cache/apt"];

/** All that stands on the host and in the machine, but what the ledger writes of each call, and what is left to the caller. */
async function world(more: readonly string[] = []): Promise<string> {
  const { folder } = machine;
  const places = [...host, `${folder}/etc`, `${folder}/run`, `${folder}/state`, ...more];
  const lines = places.flatMap((place) => entriesOf(place).map(lineOf));
  const grants = await machine.core.call("sec.capabilities", { agent_id: "task" });
  const { waiting } = (await machine.operator.call("sec.approvals")).output;
  return [...new Set(lines), JSON.stringify(grants.output), ...waiting.map(({ id }: { id: string }) => id), ...asked]
    .filter((line) => !/\/state\/(ledger|backups)|\/ledger-head\.json/.test(line))
    .sort()
    .join("\n");
}

const entriesOf = (place: string) =>
  existsSync(place) ? readdirSync(place, { recursive: true }).map((name) => `${place}/${name}`) : [];

function lineOf(path: string): string {
  const found = lstatSync(path);
  const { mode, uid, size, mtimeMs, ino } = found;
  const content = path.startsWith(machine.folder) && found.isFile() ? hash("sha256", readFileSync(path)) : "";
  return `${path} ${mode.toString(8)} ${uid} ${found.isDirectory() ? "" : `${size} ${mtimeMs} ${ino}`} ${content}`;
}

interface Came {
  readonly code: string;
  /** All that the caller was told. */
  readonly told: string;
}

/** Tries it as a person would; one that waits for an approval is taken back. */
async function attempt(role: Role, tool: string, input: object): Promise<Came> {
  try {
    const { success, output, error } = await machine.person(role).call(tool, input);
    return { code: success ? "OK" : "FAILED", told: `${error}${JSON.stringify(output) ?? ""}` };
  } catch (error) {
    if (!(error instanceof AiosError)) throw error;
    return { code: error.code, told: error.message };
  }
}

const refused = /PERMISSION_DENIED|FAILED/;

/** How each is told of what holds them. */
const ways: Readonly<Record<Held, (came: Came) => void>> = {
  admin: ({ code, told }) => {
    expect(code).toMatch(refused);
    expect(told).toMatch(/needs the role admin/);
  },
  nobody: ({ code, told }) => {
    expect(code).toMatch(refused);
    expect(told).toMatch(/is protected|through what a process holds open|is not for file tools/);
  },
  malformed: ({ code }) => expect(code).toMatch(/INVALID_ARGUMENT|FAILED/),
  nothing: () => {},
};

describe("who wants what is root's", () => {
  it("has an input for every tool of the catalogue", async () => {
    const { tools } = await machine.core.raw.listTools({ namespace: "" });
    expect(Object.keys(tries).sort()).toEqual(tools.map(({ name }) => name).sort());
    for (const [tool, inputs] of Object.entries(tries)) expect(inputs, tool).not.toEqual([]);
  });

  it("as an operator, is held by the same word at every tool, and changes nothing", { timeout: 300_000 }, async () => {
    expect(await walk("operator", [], (held, came) => ways[held](came))).toEqual([]);
  });

  it("as a reader, looks at the machine's own state, and changes nothing at all", { timeout: 300_000 }, async () => {
    const admitted = new Set<string>();
    const check = (held: Held, { code, told }: Came, tool: string) => {
      if (code === "PERMISSION_DENIED")
        expect(told).toMatch(/needs the role (operator|admin)|is protected|no business|for file tools/);
      else if (code !== "INVALID_ARGUMENT") admitted.add(tool);
      if (held === "admin") expect(code).toBe("PERMISSION_DENIED");
    };
    expect(await walk("reader", [`${machine.folder}/work`], check)).toEqual([]);
    const verbs =
      /\.(list|search|info|history|check_vuln|status|logs|health|version|inspect|get|validate|rules|interfaces|route_list|connections|bandwidth|usage)$/;
    const looks =
      /^(monitor|hw|self)\.|^sec\.(scan|capabilities|audit|verify_ledger|export_ledger|protected|approvals)$|^process\.list$/;
    expect([...admitted].filter((tool) => !verbs.test(tool) && !looks.test(tool))).toEqual([]);
    expect(admitted.size).toBeGreaterThan(30);
  });

  it("by the calls that are no tools, is told who may", async () => {
    const { executionId } = await machine.operator.call("sec.revoke", { agent_id: "task", revoke_all: true });
    const before = await world();
    const tool = {
      name: "walk.run",
      namespace: "walk",
      inputSchema: Buffer.from("{}"),
      outputSchema: Buffer.from("{}"),
    };
    for (const role of ["reader", "operator"] as const) {
      const { raw } = machine.person(role);
      const calls = [
        raw.register({ tool: ToolDefinition.fromPartial(tool), handlerAddress: `unix:${machine.folder}/own/mine` }),
        raw.deregister({ toolName: "walk.run" }),
        ...(role === "reader" ? [raw.rollback({ executionId, reason: "walk" })] : []),
      ];
      for (const call of calls)
        await expect(call).rejects.toMatchObject({
          code: "PERMISSION_DENIED",
          message: expect.stringMatching(/needs the role (admin|operator)/),
        });
    }
    expect(await world()).toBe(before);
  });
});

/** Tries all of it; what was not held as it should, and what changed in the world by which tool. */
async function walk(
  role: Role,
  more: readonly string[],
  check: (held: Held, came: Came, tool: string) => void,
): Promise<string[]> {
  const wrong: string[] = [];
  const before = await world(more);
  for (const [tool, inputs] of Object.entries(tries)) {
    for (const { held, input } of inputs) {
      const came = await attempt(role, tool, input);
      try {
        check(held, came, tool);
        expect(came.told).not.toContain(secret);
      } catch {
        wrong.push(`${held}: ${tool} ${JSON.stringify(input)}: ${came.code} ${came.told.slice(0, 300)}`);
      }
    }
  }
  const after = await world(more);
  if (after !== before) wrong.push(`changed: ${difference(before, after)}`);
  return wrong;
}

function difference(before: string, after: string): string {
  const [old, now] = [before.split("\n"), after.split("\n")];
  return JSON.stringify([old.filter((line) => !now.includes(line)), now.filter((line) => !old.includes(line))]);
}
