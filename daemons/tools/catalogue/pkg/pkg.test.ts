import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine, whenAsked } from "../../testing/harness.ts";
import { indexArchive, makeDeb, makeRoot } from "../../testing/packages.ts";
import { parseSimulation } from "./apt.ts";
import { compareVersions } from "./version.ts";
import { members } from "./vulnerabilities.ts";

let folder: string;
let root: string;
let machine: Machine;

const web = (version: string) => ({
  name: "web",
  version,
  depends: "web-common",
  summary: "a small server (really)",
  files: { "/usr/bin/web": `web ${version}` },
  // As Debian's own: it starts its service unless the machine's policy says no.
  postinst: "if /usr/sbin/policy-rc.d web start; then echo > /started; fi; echo > /configured",
});

beforeEach(async () => {
  folder = mkdtempSync("/tmp/aios-pkg-");
  root = `${folder}/root`;
  const archive = `${folder}/archive`;
  for (const path of [archive, `${folder}/security`]) mkdirSync(path);
  makeDeb(archive, web("1.0"));
  makeDeb(archive, { name: "web-common", version: "1:1.0-2", files: { "/etc/web/web.conf": "listen 80\n" } });
  makeDeb(archive, { name: "web-plugin", version: "3", depends: "web" });
  makeDeb(archive, { name: "broken", version: "1", postinst: "echo no >&2; exit 3" });
  indexArchive(archive, "Debian");
  indexArchive(`${folder}/security`, "Debian-Security");
  machine = await startMachine({ packages: makeRoot(root, [archive, `${folder}/security`]) });
  expect(await call("pkg.update")).toMatchObject({ success: true, output: { upgradable: 0 } });
});

afterEach(() => {
  machine.close();
  rmSync(folder, { recursive: true, force: true });
});

const call = async (tool: string, input: object = {}) => {
  const raw = await machine.operator.raw.execute(
    { toolName: tool, agentId: "", taskId: "", inputJson: Buffer.from(JSON.stringify(input)), reason: "a test" },
    { timeoutMs: 60_000 },
  );
  return { ...raw, output: raw.outputJson.length === 0 ? undefined : JSON.parse(raw.outputJson.toString()) };
};
const back = (executionId: string) =>
  machine.operator.raw.rollback({ executionId, reason: "a test" }, { timeoutMs: 60_000 });
const installed = async (): Promise<string[]> => {
  const { output } = await call("pkg.list");
  return output.packages.map(({ name, version }: { name: string; version: string }) => `${name} ${version}`);
};

/** A newer version comes, by the security archive, and the old one goes from the other. */
async function release(version: string): Promise<void> {
  makeDeb(`${folder}/security`, web(version));
  indexArchive(`${folder}/security`, "Debian-Security");
  rmSync(`${folder}/archive/web_1.0_all.deb`);
  indexArchive(`${folder}/archive`, "Debian");
  expect(await call("pkg.update")).toMatchObject({ output: { upgradable: 1 } });
}

describe("a call that is stopped", () => {
  it("while a package is configured goes on until that is done", { timeout: 240_000 }, async () => {
    const postinst = "echo > /begun; i=0; while [ $i -lt 1500000 ]; do i=$((i+1)); done; echo > /slowly";
    makeDeb(`${folder}/archive`, { name: "slow", version: "1", postinst });
    indexArchive(`${folder}/archive`, "Debian");
    expect(await call("pkg.update")).toMatchObject({ success: true });
    const stop = new AbortController();
    const inputJson = Buffer.from(JSON.stringify({ name: "slow" }));
    const answer = machine.operator.raw.execute(
      { toolName: "pkg.install", agentId: "", taskId: "", inputJson, reason: "a test" },
      { signal: stop.signal, timeoutMs: 240_000 },
    );
    answer.catch(() => {});
    await expect.poll(() => existsSync(`${root}/begun`), { timeout: 120_000, interval: 5 }).toBe(true);
    stop.abort();
    await expect(answer).rejects.toMatchObject({ code: "CANCELLED" });
    expect(existsSync(`${root}/slowly`)).toBe(false);
    await expect.poll(() => existsSync(`${root}/slowly`), { timeout: 120_000 }).toBe(true);
    await expect.poll(installed, { timeout: 120_000 }).toEqual(["slow 1"]);
    const state = async () => (await call("sec.audit", { tool_name: "pkg.install" })).output.entries[0].state;
    await expect.poll(state, { timeout: 120_000 }).toBe("done");
  });
});

describe("reading", () => {
  it("pkg.list takes a pattern of many stars", async () => {
    await call("pkg.install", { name: "web-common" });
    const stars = "*".repeat(40);
    expect(await call("pkg.list", { pattern: `${stars}z` })).toMatchObject({ output: { packages: [] } });
    const { output } = await call("pkg.list", { pattern: `*-comm?n${stars}` });
    expect(output.packages).toMatchObject([{ name: "web-common" }]);
  });

  it("pkg.search takes words as words", async () => {
    const { output } = await call("pkg.search", { query: "server (really)" });
    expect(output).toEqual({ packages: [{ name: "web", summary: "a small server (really)" }], total: 1 });
    expect((await call("pkg.search", { query: "package", limit: 1 })).output).toMatchObject({ total: 3 });
    expect((await call("pkg.search", { query: ".* --help" })).output.total).toBe(0);
  });

  it("pkg.info tells of packages that are installed and that are not", async () => {
    expect((await call("pkg.info", { name: "web" })).output).toMatchObject({
      candidate: "1.0",
      locked: false,
      depends: "web-common",
      description: "Its long description.",
    });
    await call("pkg.install", { name: "web-common" });
    const { output } = await call("pkg.info", { name: "web-common" });
    expect(output).toMatchObject({ installed: "1:1.0-2", candidate: "1:1.0-2" });
    expect(await call("pkg.info", { name: "nothing" })).toMatchObject({
      success: false,
      error: expect.stringMatching(/find package nothing: .*pkg\.update/),
    });
    await expect(call("pkg.info", { name: "web-" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    await expect(call("pkg.info", { name: "--help" })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});

describe("pkg.install", () => {
  it("installs with what it depends on, starts nothing, and its rollback leaves nothing, after a restart too", async () => {
    const { output, executionId } = await call("pkg.install", { name: "web" });
    expect(output).toMatchObject({
      installed: true,
      version: "1.0",
      changes: expect.arrayContaining([
        { name: "web", to: "1.0" },
        { name: "web-common", to: "1:1.0-2" },
      ]),
    });
    expect(await installed()).toEqual(["web 1.0", "web-common 1:1.0-2"]);
    expect([existsSync(`${root}/configured`), existsSync(`${root}/started`)]).toEqual([true, false]);
    await machine.restart();
    expect(await back(executionId)).toEqual({ success: true, error: "" });
    expect(await installed()).toEqual([]);
    expect(existsSync(`${root}/etc/web`)).toBe(false);
    const { output: history } = await call("pkg.history");
    expect(history.entries).toMatchObject([
      { removed: ["web-common 1:1.0-2", "web 1.0"].sort(), installed: [] },
      { installed: expect.arrayContaining(["web-common 1:1.0-2", "web 1.0"]), error: "" },
    ]);
  });

  it("has nothing to do, and nothing to take back, when it is installed", async () => {
    await call("pkg.install", { name: "web" });
    const again = await call("pkg.install", { name: "web", version: "1.0" });
    expect(again.output).toEqual({ installed: true, version: "1.0", changes: [] });
    expect(await back(again.executionId)).toMatchObject({ success: true });
    expect(await installed()).toHaveLength(2);
  });

  it("is not rolled back while something installed since needs it", async () => {
    const first = await call("pkg.install", { name: "web" });
    const second = await call("pkg.install", { name: "web-plugin" });
    expect(await back(first.executionId)).toMatchObject({
      success: false,
      error: expect.stringContaining("web-plugin came to need it since; roll back that installation first"),
    });
    expect(await back(second.executionId)).toMatchObject({ success: true });
    expect(await back(first.executionId)).toMatchObject({ success: true });
  });

  it("that fails says what the package said, and can be rolled back", async () => {
    const { success, error, executionId } = await call("pkg.install", { name: "broken" });
    expect({ success, error }).toEqual({ success: false, error: expect.stringContaining("exit status 3") });
    expect(await back(executionId)).toMatchObject({ success: true });
    expect(await call("pkg.install", { name: "web" })).toMatchObject({ success: true });
  });

  it("refuses when packages could start daemons, and what does not exist", async () => {
    rmSync(`${root}/usr/sbin/policy-rc.d`);
    expect(await call("pkg.install", { name: "web" })).toMatchObject({
      success: false,
      error: expect.stringContaining("start daemons by themselves"),
    });
    writeFileSync(`${root}/usr/sbin/policy-rc.d`, "");
    expect((await call("pkg.install", { name: "web", version: "9" })).error).toMatch(
      /Version '9' for 'web' was not found/,
    );
    expect(await installed()).toEqual([]);
  });
});

describe("pkg.remove", () => {
  it("brings the same version back on rollback, when the archive has it no more", async () => {
    await call("pkg.install", { name: "web" });
    writeFileSync(`${root}/etc/web/web.conf`, "listen 8080\n");
    const { output, executionId } = await call("pkg.remove", { name: "web-common", dependents: true });
    expect(output.removed).toBe(true);
    expect(await installed()).toEqual([]);
    rmSync(`${folder}/archive`, { recursive: true });
    await machine.restart();
    expect(await back(executionId)).toEqual({ success: true, error: "" });
    expect(await installed()).toEqual(["web 1.0", "web-common 1:1.0-2"]);
    expect(readFileSync(`${root}/etc/web/web.conf`, "utf8")).toBe("listen 8080\n");
    const automatic = execFileSync("apt-mark", ["showauto"], { env: { APT_CONFIG: `${root}/apt.conf` } }).toString();
    expect(automatic.trim()).toBe("web-common");
  });

  it("takes the configuration along when purge is said", async () => {
    await call("pkg.install", { name: "web" });
    await call("pkg.remove", { name: "web" });
    await call("pkg.remove", { name: "web-common" });
    expect(existsSync(`${root}/etc/web/web.conf`)).toBe(true);
    await call("pkg.install", { name: "web-common" });
    writeFileSync(`${root}/etc/web/web.conf`, "listen 8080\n");
    const { executionId } = await call("pkg.remove", { name: "web-common", purge: true });
    expect(existsSync(`${root}/etc/web`)).toBe(false);
    expect(await back(executionId)).toEqual({ success: true, error: "" });
    expect(readFileSync(`${root}/etc/web/web.conf`, "utf8")).toBe("listen 8080\n");
  });

  it("shows a person what apt would do", async () => {
    await call("pkg.install", { name: "web" });
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["pkg:remove:*"], reason: "r" });
    const input = { name: "web-common", dependents: true };
    const { ticket, answer } = await whenAsked(machine.operator, () => machine.agent("task").call("pkg.remove", input));
    expect(ticket.preview.split("\n").sort()).toEqual(["- web 1.0", "- web-common 1:1.0-2"]);
    await machine.operator.call("sec.deny", { id: ticket.id });
    await expect(answer).rejects.toThrow("denied");
    expect(await installed()).toHaveLength(2);
  });

  it("refuses what others need, and what the image is made of", async () => {
    await call("pkg.install", { name: "web" });
    expect((await call("pkg.remove", { name: "web-common" })).error).toMatch(/web need it; remove them too/);
    mkdirSync(`${root}/usr/share/aios`, { recursive: true });
    writeFileSync(`${root}/usr/share/aios/packages.lock`, "web 1.0 abc\n");
    expect(await call("pkg.remove", { name: "web-common", dependents: true })).toMatchObject({
      success: false,
      error: expect.stringContaining("the image is made of it"),
    });
    expect(await installed()).toHaveLength(2);
    expect((await call("pkg.remove", { name: "nothing" })).output).toEqual({ removed: false, changes: [] });
  });
});

describe("pkg.upgrade", () => {
  it("takes newer versions, leaves locked ones, and goes back to versions that the archive dropped", async () => {
    await call("pkg.install", { name: "web" });
    await release("2.0");
    const lock = await call("pkg.lock", { name: "web" });
    expect(lock.output).toEqual({ name: "web", locked: true });
    expect((await call("pkg.upgrade")).output).toEqual({ changes: [] });
    const unlock = await call("pkg.unlock", { name: "web" });
    expect(unlock.output).toEqual({ name: "web", locked: false });
    await back(unlock.executionId);
    expect((await call("pkg.info", { name: "web" })).output.locked).toBe(true);
    await back(lock.executionId);
    const upgrade = await call("pkg.upgrade");
    expect(upgrade.output).toEqual({ changes: [{ name: "web", from: "1.0", to: "2.0" }] });
    expect(await call("pkg.lock", { name: "nothing" })).toMatchObject({ success: false });
  });

  it("says what it cannot bring back", async () => {
    const install = await call("pkg.install", { name: "web" });
    await release("2.0");
    rmSync(`${root}/var/cache/apt/archives`, { recursive: true });
    mkdirSync(`${root}/var/cache/apt/archives/partial`, { recursive: true });
    const upgrade = await call("pkg.upgrade");
    expect(await back(install.executionId)).toMatchObject({
      success: false,
      error: expect.stringContaining("changed again since (now 2.0); roll back the later change first"),
    });
    expect(await back(upgrade.executionId)).toMatchObject({
      success: false,
      error: expect.stringMatching(/bring back web 1\.0: .*was not found/),
    });
  });
});

describe("pkg.check_vuln", () => {
  it("finds waiting security updates, and what the tracker knows of the installed versions", async () => {
    await call("pkg.install", { name: "web" });
    const before = await call("pkg.check_vuln");
    expect(before.output).toMatchObject({ findings: [], checked: 2, truncated: false });
    expect(before.output.data[1]).toContain("no data of the security tracker");
    await release("2.0");
    const state = `${machine.folder}/state/security`;
    mkdirSync(state);
    const trixie = (more: object) => ({ description: '{"\\\\', releases: { trixie: more, sid: { status: "open" } } });
    const tracker = {
      web: {
        "CVE-1": trixie({ status: "open", urgency: "high" }),
        "CVE-2": trixie({ status: "resolved", fixed_version: "1.0~beta" }),
        "CVE-3": trixie({ status: "resolved", fixed_version: "1.5", urgency: "low" }),
        "CVE-4": trixie({ status: "resolved", fixed_version: "0" }),
      },
      other: { "CVE-5": trixie({ status: "open" }) },
    };
    writeFileSync(`${state}/debian-tracker.json`, JSON.stringify(tracker));
    const { output } = await call("pkg.check_vuln");
    const finding = { package: "web", installed: "1.0" };
    expect(output.findings).toEqual([
      { ...finding, fixed_in: "2.0", vulnerability: "security update", urgency: "", by: "archive" },
      { ...finding, vulnerability: "CVE-1", urgency: "high", by: "tracker" },
      { ...finding, fixed_in: "1.5", vulnerability: "CVE-3", urgency: "low", by: "tracker" },
    ]);
  });
});

describe("what apt says", () => {
  it("is read from a simulation", () => {
    const text = [
      "NOTE: This is only a simulation!",
      "Remv old [1.0-1]",
      "Inst web [1.0] (2.0 Debian-Security:13/stable-security [amd64]) [other:amd64 ]",
      "Inst new:i386 (1:3 Debian:13.1/stable, Local [all])",
      "Conf web (2.0 Debian:13/stable [amd64])",
    ];
    expect(parseSimulation(text.join("\n"))).toEqual([
      { name: "old", from: "1.0-1" },
      { name: "web", from: "1.0", to: "2.0", origin: "Debian-Security:13/stable-security" },
      { name: "new", to: "1:3", origin: "Debian:13.1/stable, Local" },
    ]);
  });

  it.each([
    ["1.0", "1.0", 0],
    ["1.0~rc1", "1.0", -1],
    ["1.0", "1.0a", -1],
    ["1.9", "1.10", -1],
    ["1:0.1", "9.9", 1],
    ["1.0-1", "1.0-1+deb13u1", -1],
    ["1.0-1", "1.0-10", -1],
    ["1.0+b", "1.0.b", -1],
    ["2.47.3-0+deb13u1", "1:2.47.3-0+deb13u1", -1],
  ])("versions %s and %s are compared as dpkg does", (a, b, order) => {
    expect(Math.sign(compareVersions(a, b))).toBe(order);
    expect(Math.sign(compareVersions(b, a))).toBe(order === 0 ? 0 : -order);
    const relation = order === 0 ? "eq" : order < 0 ? "lt" : "gt";
    execFileSync("dpkg", ["--compare-versions", a, relation, b]);
  });

  it.each([1, 2, 3, 7, 1000])("large JSON is read member by member, in chunks of %i", async (size) => {
    const document = { 'a"{': { x: { y: '}"\\' } }, "b\\": {}, c: { z: [1, "{"] } };
    const text = JSON.stringify(document, undefined, 1);
    const chunks = async function* () {
      for (let at = 0; at < text.length; at += size) yield text.slice(at, at + size);
    };
    const found: Record<string, unknown> = {};
    for await (const [key, value] of members(chunks())) found[key] = JSON.parse(value);
    expect(found).toEqual(document);
  });
});
