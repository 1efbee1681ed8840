import { existsSync, mkdirSync, mkdtempSync, readdirSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { open } from "node:fs/promises";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock, systemClock } from "#lib/clock";
import { openState, type State } from "./state.ts";
import { backupSizeMaxBytes, openUndos, type Undos } from "./undo.ts";

const day = 86_400_000;

let clock: ManualClock;
let folder: string;
let state: State;
let undos: Undos;

beforeEach(async () => {
  clock = new ManualClock();
  folder = mkdtempSync("/tmp/aios-undo-");
  state = openState(folder, systemClock);
  undos = await openUndos(state, `${folder}/undo`, clock);
});

afterEach(() => {
  state.commits.close();
  rmSync(folder, { recursive: true });
});

async function keep(executionId: string, bytes: number): Promise<void> {
  writeFileSync(`${folder}/file`, "x".repeat(bytes));
  await using source = await open(`${folder}/file`);
  await undos.backups(executionId).save("content", source, "/file");
  await undos.keep({
    executionId,
    tool: "fs.write",
    needs: ["fs:write:/file"],
    locks: ["path /file"],
    role: "operator",
    plan: { a: 1 },
  });
}

describe("undo plans", () => {
  it.each([3, 65_536, 65_537])("are kept as they were given, with backups of %i bytes", async (bytes) => {
    await keep("e1", bytes);
    expect(undos.find("e1")).toMatchObject({
      state: "ready",
      plan: { a: 1 },
      needs: ["fs:write:/file"],
      locks: ["path /file"],
    });
    expect(readdirSync(`${folder}/undo`)).toEqual(bytes > 65_536 ? ["e1"] : []);
    const backup = await undos.backups("e1").load("content");
    const content = backup instanceof Uint8Array ? Buffer.from(backup) : await backup.readFile();
    if (!(backup instanceof Uint8Array)) await backup.close();
    expect(content.toString()).toBe("x".repeat(bytes));
    await undos.undone("e1");
    expect(undos.find("e1")).toMatchObject({ state: "undone" });
    expect(readdirSync(`${folder}/undo`)).toEqual([]);
    await expect(undos.backups("e1").load("content")).rejects.toThrow("ENOENT");
  });

  it.each([400, 70_000])(
    "give up backups of %i bytes, the oldest first, when all are too large together",
    async (bytes) => {
      undos = await openUndos(state, `${folder}/undo`, clock, 2.5 * bytes);
      for (const id of ["e1", "e2", "e3"]) {
        await keep(id, bytes);
        await clock.advance(1);
      }
      expect(["e1", "e2", "e3"].map((id) => undos.find(id)?.state)).toEqual(["expired", "ready", "ready"]);
      await expect(undos.backups("e1").load("content")).rejects.toThrow("ENOENT");
      // What was counted is counted again after a restart.
      undos = await openUndos(state, `${folder}/undo`, clock, 2.5 * bytes);
      await keep("e4", bytes);
      expect(undos.find("e2")?.state).toBe("expired");
    },
  );

  it("are forgotten after seven days, and backups without a plan at the next start", async () => {
    await keep("e1", 70_000);
    mkdirSync(`${folder}/undo/orphan`);
    await clock.advance(6 * day);
    await keep("e2", 70_000);
    await clock.advance(2 * day);
    undos = await openUndos(state, `${folder}/undo`, clock);
    expect(readdirSync(`${folder}/undo`)).toEqual(["e1", "e2"]);
    expect(await undos.forget()).toBe(1);
    expect(undos.find("e1")).toBeUndefined();
    expect(undos.find("e2")?.state).toBe("ready");
    expect(readdirSync(`${folder}/undo`)).toEqual(["e2"]);
  });

  it("are not forgotten at a start, when the clock may be ahead until a time server has told", async () => {
    await keep("e1", 70_000);
    const now = clock.now();
    clock.setTo(now + 400 * day);
    undos = await openUndos(state, `${folder}/undo`, clock);
    clock.setTo(now);
    expect(await undos.forget()).toBe(0);
    expect(undos.find("e1")?.state).toBe("ready");
  });

  it("are refused for a file that is too large to back up", async () => {
    writeFileSync(`${folder}/large`, "");
    truncateSync(`${folder}/large`, backupSizeMaxBytes + 1);
    await using source = await open(`${folder}/large`);
    await expect(undos.backups("e1").save("content", source, "/large")).rejects.toThrow("back up /large: larger than");
    expect(existsSync(`${folder}/undo/e1`)).toBe(false);
  });
});
