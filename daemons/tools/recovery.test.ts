import { randomBytes } from "node:crypto";
import { readdirSync, readFileSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine } from "./testing/harness.ts";

/** What may become of the daemon's own files, and that it starts whatever became of them. */

let machine: Machine;
beforeEach(async () => {
  machine = await startMachine();
  for (const content of ["one", "two"]) await write(content);
});
afterEach(() => machine.close());

const path = () => `${machine.folder}/f`;
const write = (content: string) => machine.core.call("fs.write", { path: path(), content });
const verified = async () => (await machine.core.call("sec.verify_ledger", { full: true })).output;
const acknowledge = (reason = "a disk was changed") => machine.operator.call("sec.acknowledge_ledger", { reason });

const fates: Readonly<Record<string, (file: string) => void>> = {
  missing: (file) => rmSync(file),
  empty: (file) => truncateSync(file, 0),
  torn: (file) => truncateSync(file, Math.floor(readFileSync(file).length / 2)),
  random: (file) => {
    const { length } = readFileSync(file);
    rmSync(file);
    writeFileSync(file, randomBytes(length));
  },
};

/** Ends the daemon, lets the file meet its fate, and starts the daemon. */
const meet = (file: string, fate: string) =>
  machine.restart(() => {
    const whole = `${machine.folder}/state/ledger/${file}`;
    rmSync(`${whole}-wal`, { force: true });
    fates[fate]?.(whole);
  });

const asides = (file: string) =>
  readdirSync(`${machine.folder}/state/ledger`).filter(
    (name) => name.startsWith(`${file}.aside-`) && !/-(wal|shm)$/.test(name),
  );

describe.each(["missing", "empty", "torn", "random"])("a file that is %s", (fate) => {
  it("the ledger's: the chain goes on behind the last known head, and says what was lost until it is acknowledged", async () => {
    const { entries } = await verified();
    await meet("ledger.db", fate);
    expect(await write("three")).toMatchObject({ success: true });
    const { valid, problems } = await verified();
    expect(valid).toBe(false);
    expect(problems, problems.join("\n")).toHaveLength(1);
    expect(problems[0]).toMatch(/^entry \d+ records a fault: the ledger could not be read/);
    expect(Number(/^entry (\d+)/.exec(problems[0])?.[1])).toBeGreaterThan(entries);
    if (fate === "torn" || fate === "random") expect(asides("ledger.db")).toHaveLength(1);
    expect((await acknowledge()).output.problems).toEqual(problems);
    await write("four");
    await machine.restart();
    expect(await verified()).toMatchObject({ valid: true, problems: [], acknowledged: problems });
  });

  it("the tools' state: what was kept there is gone, and the ledger says so", async () => {
    await machine.core.call("sec.grant", { agent_id: "task", capabilities: ["hw:read"], reason: "r" });
    await meet("tools.db", fate);
    expect(await write("three")).toMatchObject({ success: true });
    expect((await machine.core.call("sec.capabilities", { agent_id: "task" })).output.capabilities).toEqual([]);
    const { problems } = await verified();
    expect(problems).toEqual([
      expect.stringMatching(/records a fault: tools.db could not be read .* grants, undo plans/),
    ]);
    await acknowledge();
    expect((await verified()).valid).toBe(true);
  });

  it("the key's: another one signs, and what the one before has signed still fits", async () => {
    const before = readFileSync(`${machine.folder}/state/ledger/ledger.pub`, "utf8");
    await meet("ledger.key", fate);
    expect(await write("three")).toMatchObject({ success: true });
    expect(readFileSync(`${machine.folder}/state/ledger/ledger.pub`, "utf8")).not.toBe(before);
    expect((await verified()).problems).toEqual([
      expect.stringMatching(/records a fault: the ledger's key could not be read: another one signs from here/),
    ]);
    await acknowledge();
    await machine.restart();
    expect((await verified()).valid).toBe(true);
  });

  it("the public key's: it is made from the key", async () => {
    const file = `${machine.folder}/state/ledger/ledger.pub`;
    const before = readFileSync(file, "utf8");
    await meet("ledger.pub", fate);
    expect(readFileSync(file, "utf8")).toBe(before);
    expect((await verified()).valid).toBe(true);
  });
});

describe("an acknowledgement", () => {
  it("is refused when nothing is wrong, to whoever is no admin, and without a reason", async () => {
    expect(await acknowledge()).toMatchObject({
      success: false,
      error: expect.stringContaining("nothing in it is wrong"),
    });
    for (const caller of [machine.core, machine.agent("task"), machine.person("operator")])
      await expect(caller.call("sec.acknowledge_ledger", { reason: "r" })).rejects.toMatchObject({
        code: "PERMISSION_DENIED",
      });
    await expect(acknowledge("")).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });

  it("is an entry with its reason, and what is found later is a problem again", async () => {
    await meet("ledger.key", "missing");
    await acknowledge("the disk was changed on purpose");
    const { entries } = (await machine.core.call("sec.export_ledger", { after: 0 })).output;
    expect(entries.find(({ kind }: { kind: string }) => kind === "acknowledged")).toMatchObject({
      caller: "alice",
      reason: "the disk was changed on purpose",
    });
    await meet("tools.db", "missing");
    expect((await verified()).problems).toHaveLength(1);
  });
});

it("the whole folder is gone: the chain goes on behind the head that was told, with another key", async () => {
  await machine.restart(() => rmSync(`${machine.folder}/state/ledger`, { recursive: true }));
  expect(await write("three")).toMatchObject({ success: true });
  expect((await verified()).problems).toEqual([
    expect.stringContaining("the ledger could not be read"),
    expect.stringContaining("another one signs from here"),
    expect.stringContaining("tools.db could not be read"),
  ]);
});
