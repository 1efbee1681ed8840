import { spawnSync } from "node:child_process";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { rememberMachine } from "#lib/identity/machines";
import { ensureOperatorIdentity } from "#lib/identity/operator";
import { service } from "#lib/rpc/service";
import { ToolRegistryService } from "#proto/aios/tools";
import { autonomy, init, openTwin, orchestrator, type Twin } from "./testing/twins.ts";

let twin: Twin;
beforeEach(() => {
  twin = openTwin();
});
afterEach(() => twin.close());

/** The tools of a machine on which so many calls wait. */
const waitingCalls = (calls: number) =>
  service(ToolRegistryService, {
    execute: () => ({
      ...{ success: true, error: "", executionId: "e", durationMs: 1, backupId: "" },
      outputJson: Buffer.from(JSON.stringify({ waiting: Array.from({ length: calls }, () => ({})) })),
    }),
  });

/** The commands that are suggested: the lines that begin with one. */
const commandsIn = (out: string) =>
  out.split("\n").flatMap((line) => /^ {2}((?:aiosctl|npm) .*?) {2,}\S/.exec(line)?.[1] ?? []);

describe("aiosctl alone", () => {
  it("without a machine says how to get one", async () => {
    const { code, out, error } = await twin.aiosctl();
    expect({ code, error }).toEqual({ code: 0, error: "" });
    expect(out).toMatch(/^no machine is known here/);
    expect(commandsIn(out)).toEqual(["npm run up", "npm run up -- --lane native", "aiosctl enroll HOST CODE"]);
    expect(out).toContain("aiosctl --help lists all commands.");
    const inRepository = await twin.aiosctlWith({ called: "npm run aiosctl --" });
    expect(inRepository.out).toContain("  npm run aiosctl -- enroll HOST CODE  ");
  });

  it("says how the machine is, what waits for a person, and puts first what cannot wait", async () => {
    await twin.daemon("init", init([], "autonomous", true));
    await twin.daemon("orchestrator", orchestrator([]), autonomy([], ['goal "proxy" asks: Which port?']));
    await twin.daemon("tools", waitingCalls(2));
    const { code, out } = await twin.aiosctl();
    expect(code).toBe(0);
    expect(out.split("\n").slice(0, 4)).toEqual([
      "this machine: autonomous, up 3 min 20 s",
      "  waits    2 calls of agents for your approval",
      '  waits    goal "proxy" asks: Which port?',
      "  goals    1 goal under way",
    ]);
    expect(commandsIn(out)).toEqual([
      "aiosctl approvals",
      "aiosctl goal list",
      'aiosctl goal submit "report disk usage to /srv/disk.txt"',
    ]);
    const [document] = (await twin.aiosctl("--json")).out.trimEnd().split("\n");
    expect(JSON.parse(document ?? "")).toMatchObject({
      ...{ machine: "this machine", state: "autonomous", approvals: 2, others: [] },
      next: ["aiosctl approvals", "aiosctl goal list", 'aiosctl goal submit "report disk usage to /srv/disk.txt"'],
    });
  });

  it("leads to the status where something is wrong, also while the orchestrator and the tools are away", async () => {
    await twin.daemon("init", init([], "autonomous", true));
    const { code, out } = await twin.aiosctl();
    expect(code).toBe(0);
    expect(out).toMatch(/^this machine: degraded\n/);
    expect(commandsIn(out)[0]).toBe("aiosctl status");
  });

  it("tells of a machine that has ended, what starts it again, and where others are", async () => {
    await ensureOperatorIdentity(twin.folder);
    const { pid: gone } = spawnSync("true");
    const up = { process: gone, command: "npm run up -- --lane native" };
    const address = "127.0.0.1:1";
    rememberMachine(twin.folder, "aios-native", { address, name: "aios-native", identity: ".", up });
    const alone = await twin.aiosctl();
    expect(alone).toMatchObject({ code: 0, error: "" });
    expect(alone.out).toMatch(/^aios-native ran on this computer and has ended\.\n\n/);
    expect(commandsIn(alone.out).slice(0, 2)).toEqual(["npm run up -- --lane native", "aiosctl machines"]);
    rememberMachine(twin.folder, "lab", { address, name: "lab", identity: "." });
    const { out } = await twin.aiosctl();
    expect(out).toContain("  others   lab: aiosctl machines use NAME\n");
    expect(commandsIn(out)).toContain("aiosctl machines use lab");
    expect((await twin.aiosctl("machines")).out).toMatch(/aios-native \* +\S+ +has ended/);
    expect(await twin.aiosctl("status")).toMatchObject({
      code: 3,
      error: expect.stringMatching(
        /reach aios-native: it ran on this computer and has ended; "npm run up -- --lane native" starts it again; others are lab: "aiosctl machines use NAME"/,
      ),
    });
  });

  it("tells of a machine that does not answer, and whether this computer runs it", async () => {
    await ensureOperatorIdentity(twin.folder);
    const up = { process: process.pid, command: "npm run up" };
    rememberMachine(twin.folder, "aios-qemu", { address: "127.0.0.1:1", name: "aios-qemu", identity: ".", up });
    const { code, out } = await twin.aiosctl();
    expect(code).toBe(0);
    expect(out).toMatch(
      `aios-qemu does not answer. Process ${process.pid} of this computer runs it: it may be booting.`,
    );
    expect(commandsIn(out)).toEqual(["aiosctl status", "aiosctl machines", "npm run up"]);
    expect((await twin.aiosctl("machines")).out).toMatch(/aios-qemu \* +\S+ +runs here/);
  });
});
