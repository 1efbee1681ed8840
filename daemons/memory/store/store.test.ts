import { execFileSync } from "node:child_process";
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import Database from "better-sqlite3";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { type Log, silentLog } from "#lib/log";
import { checkHere, openBackups } from "./backup.ts";
import { checkApart, runCheck } from "./check.ts";
import { openStore, type Store } from "./store.ts";
import { keepUp } from "./upkeep.ts";

const start = Date.UTC(2026, 10, 21);
const day = 86_400_000;
const migrations = ["CREATE TABLE t (n INTEGER PRIMARY KEY, text TEXT) STRICT; CREATE INDEX t_text ON t (text);"];

let folder: string;
let clock: ManualClock;
let store: Store;
let restarts: string[];
let said: string[];

const log: Log = {
  ...silentLog,
  warn: (msg, fields) => void said.push(`${msg} ${JSON.stringify(fields)}`),
  error: (msg, fields) => void said.push(`${msg} ${JSON.stringify(fields)}`),
};

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-store-");
  clock = new ManualClock(start);
  restarts = [];
  said = [];
  open();
});
afterEach(() => {
  store.close();
  rmSync(folder, { recursive: true });
});

const path = () => join(folder, "memory/x.db");
function open(): void {
  const restart = (reason: string) => void restarts.push(reason);
  store = openStore({
    name: "x",
    path: path(),
    migrations,
    backups: join(folder, "memory/backups"),
    clock,
    log,
    restart,
  });
}
const reopen = () => {
  store.close();
  open();
};
const put = (n: number, text = "") =>
  store.write(`row ${n}`, () => void store.database.prepare("INSERT INTO t VALUES (?, ?)").run(n, text));
const rows = () => store.database.prepare("SELECT n FROM t ORDER BY n").pluck().all();
const backups = () =>
  openBackups({ folder: join(folder, "memory/backups"), stores: [store], check: checkHere, clock, log });
const asides = () => readdirSync(join(folder, "memory")).filter((name) => name.includes(".aside-"));

describe("writes", () => {
  it("that come together share a commit, and each fails by itself", async () => {
    const results = await Promise.allSettled([
      put(1),
      put(1),
      put(2),
      store.write("a bug", () => {
        throw new Error("bug");
      }),
      put(3),
    ]);
    expect(results.map(({ status }) => status)).toEqual([
      "fulfilled",
      "rejected",
      "fulfilled",
      "rejected",
      "fulfilled",
    ]);
    expect(rows()).toEqual([1, 2, 3]);
    expect(store.counts()).toEqual({ writes: 3, commits: 1 });
  });

  it("undo all that they did when they fail in the middle", async () => {
    const half = store.write("half", () => {
      store.database.prepare("INSERT INTO t VALUES (7, '')").run();
      throw new Error("in the middle");
    });
    await expect(Promise.all([put(1), half])).rejects.toThrow("in the middle");
    expect(rows()).toEqual([1]);
  });

  it("are refused when too many wait", async () => {
    const many = await Promise.allSettled(Array.from({ length: 4_100 }, (_, n) => put(n)));
    expect(many.filter(({ status }) => status === "rejected")).toHaveLength(4);
    expect(many.at(-1)).toMatchObject({ reason: { code: "RESOURCE_EXHAUSTED" } });
  });

  it("that wait are made when the store is closed", async () => {
    const last = put(9);
    reopen();
    await last;
    expect(rows()).toEqual([9]);
  });
});

describe("a full disk", () => {
  it("refuses writes, goes on reading, and takes writes again when there is space", async () => {
    await put(1);
    const pages = store.database.pragma("page_count", { simple: true });
    store.database.pragma(`max_page_count = ${pages}`);
    const refused = await Promise.allSettled([put(2, "x".repeat(100_000)), put(3)]);
    expect(refused[0]).toMatchObject({
      reason: { code: "RESOURCE_EXHAUSTED", message: expect.stringMatching(/data partition is full; free space/) },
    });
    // What fits is taken though it shared a commit with what did not.
    expect(refused[1]?.status).toBe("fulfilled");
    expect(rows()).toEqual([1, 3]);
    expect(store.state().state).toBe("full");
    store.database.pragma("max_page_count = 1000000");
    await put(4, "x".repeat(100_000));
    expect(store.state().state).toBe("new");
  });

  it.runIf(process.getuid?.() === 0)("is a full disk also when it is a real one", async () => {
    const small = join(folder, "small");
    mkdirSync(small);
    execFileSync("mount", ["-t", "tmpfs", "-o", "size=1m", "none", small]);
    try {
      const filler = join(small, "filler");
      const restart = (reason: string) => void restarts.push(reason);
      const tight = openStore({
        name: "tight",
        path: join(small, "t.db"),
        migrations,
        backups: join(small, "b"),
        clock,
        log,
        restart,
      });
      const add = (n: number, bytes: number) =>
        tight.write(
          `row ${n}`,
          () => void tight.database.prepare("INSERT INTO t VALUES (?, ?)").run(n, "x".repeat(bytes)),
        );
      await add(1, 10);
      const free = 1_048_576 - statSync(join(small, "t.db")).size - statSync(join(small, "t.db-wal")).size;
      writeFileSync(filler, Buffer.alloc(free - 20_480));
      await expect(add(2, 300_000)).rejects.toMatchObject({ code: "RESOURCE_EXHAUSTED" });
      expect(tight.database.prepare("SELECT n FROM t").pluck().all()).toEqual([1]);
      expect(tight.state().state).toBe("full");
      rmSync(filler);
      await add(3, 100_000);
      expect(tight.state().state).toBe("new");
      expect(tight.database.pragma("integrity_check", { simple: true })).toBe("ok");
      expect(restarts).toEqual([]);
      tight.close();
    } finally {
      execFileSync("umount", [small]);
    }
  });
});

describe("a damaged file", () => {
  it.each<[string, () => void]>([
    ["that is no database", () => writeFileSync(path(), "this is not a database".repeat(1_000))],
    ["that is empty of sense in the middle", () => overwrite(path(), 4_096, 8_192)],
    ["that was cut off", () => truncateSync(path(), 5_000)],
    ["that was emptied", () => truncateSync(path(), 0)],
    ["that is gone", () => rmSync(path())],
  ])("%s gives way to the last good backup, and is kept aside under a name in the log", async (_, damage) => {
    for (let n = 0; n < 200; n++) await put(n, "text".repeat(20));
    await backups().make();
    await put(1_000, "after the backup");
    store.close();
    damage();
    open();
    expect(rows()).toHaveLength(200);
    expect(store.state()).toMatchObject({ state: "restored", detail: expect.stringContaining("2026-11-21") });
    const gone = !said.some((line) => line.includes("moved aside"));
    if (!gone) expect(said.join()).toContain(asides()[0]);
    expect(gone ? asides() : asides().length > 0).toEqual(gone ? [] : true);
    await put(2_000);
    reopen();
    expect(store.state().state).toBe("ok");
    expect(rows()).toHaveLength(201);
  });

  it.each(["nonsense".repeat(1_000), ""])(
    "without a backup is kept aside and the store begins empty, and says so",
    async (content) => {
      await put(1);
      store.close();
      writeFileSync(path(), content);
      open();
      expect(rows()).toEqual([]);
      expect(store.state()).toMatchObject({ state: "new", detail: expect.stringContaining(asides()[0] ?? "?") });
      expect(readFileSync(join(folder, "memory", asides()[0] ?? ""), "utf8")).toBe(content);
      expect(said.join()).toContain("a store begins empty");
    },
  );

  it("that shows while it is in use is marked, and checked at the next start though it is large", async () => {
    for (let n = 0; n < 400; n++) await put(n, "x".repeat(10_000));
    await backups().make();
    store.close();
    expect(statSync(path()).size).toBeGreaterThan(2_097_152);
    overwrite(path(), 100 * 4_096, 200 * 4_096);
    open();
    // A large file is not read whole at the start: that is what a start within 300 ms costs.
    expect(store.state().state).toBe("ok");
    expect(() => store.database.prepare("SELECT sum(length(text)) FROM t").get()).toThrow(/malformed/);
    store.suspect(new Error("malformed"));
    store.suspect(new Error("malformed"));
    expect(restarts).toEqual(["store x: malformed"]);
    expect(store.state().state).toBe("corrupt");
    reopen();
    expect(rows()).toHaveLength(400);
    expect(store.state().state).toBe("restored");
  });

  it("that is only suspected stays", async () => {
    await put(1);
    store.suspect(new Error("perhaps"));
    reopen();
    expect(rows()).toEqual([1]);
    expect(store.state().state).toBe("ok");
    expect(existsSync(`${path()}.suspect`)).toBe(false);
  });

  it("is moved aside three times at most", async () => {
    for (let at = 0; at < 5; at++) {
      store.close();
      writeFileSync(path(), `nonsense ${at}`.repeat(1_000));
      await clock.advance(1_000);
      open();
    }
    expect(asides().filter((name) => !/-(wal|shm)$/.test(name))).toHaveLength(3);
  });

  it("is kept aside, whatever the names of earlier ones say: the clock may have been set back", async () => {
    clock.setTo(start + 400 * day);
    const damaged: string[] = [];
    for (let at = 0; at < 4; at++) {
      if (at === 3) clock.setTo(start);
      store.close();
      writeFileSync(path(), `nonsense ${at}`.repeat(1_000));
      await clock.advance(1_000);
      open();
      damaged.push(...asides().filter((name) => !/-(wal|shm)$/.test(name) && !damaged.includes(name)));
    }
    expect(damaged).toHaveLength(4);
    expect(asides()).toEqual(expect.arrayContaining(damaged.slice(1)));
    expect(asides()).not.toContain(damaged[0]);
  });

  it("written by a newer version is refused and left alone", () => {
    store.close();
    const newer = new Database(path());
    newer.pragma("user_version = 9");
    newer.close();
    expect(open).toThrow(/newer version/);
    expect(asides()).toEqual([]);
    const older = new Database(path());
    older.pragma("user_version = 1");
    older.close();
    open();
  });
});

describe("backups", () => {
  it("are copied while the store is in use, are in order, and the two newest are kept", async () => {
    for (let n = 0; n < 2_000; n++) void put(n, "x".repeat(500)).catch(() => {});
    await put(5_000);
    let more = 10_000;
    const making = backups().make();
    for (; more < 10_200; more++) await put(more, "during");
    const made = await making;
    expect(runCheck(join(made.folder, "x.db"), () => {})).toBe(0);
    const copy = new Database(join(made.folder, "x.db"), { readonly: true });
    expect(copy.prepare("SELECT count(*) FROM t WHERE n <= 5000").pluck().get()).toBe(2_001);
    copy.close();
    for (let at = 0; at < 3; at++) {
      await clock.advance(1_000);
      await backups().make();
    }
    expect(
      backups()
        .list()
        .map(({ createdAt }) => createdAt - start),
    ).toEqual([3_000, 2_000]);
  });

  it("are made and kept after a clock was set back, and the newest is the one made last", async () => {
    clock.setTo(start + 400 * day);
    for (let at = 0; at < 2; at++) {
      await backups().make();
      await clock.advance(1_000);
    }
    clock.setTo(start);
    await put(1);
    const files = { vacuumFile: join(folder, "vacuum"), pruneFile: join(folder, "pruned") };
    const upkeep = keepUp({ ...files, stores: [store], backups: backups(), prune: async () => 0, clock, log });
    await clock.advance(3_600_000);
    await expect.poll(() => backups().find("").createdAt).toBeLessThan(start + day);
    await upkeep.stop();
    expect(backups().list()).toHaveLength(2);
    store.close();
    rmSync(path());
    open();
    expect(rows()).toEqual([1]);
  });

  it("take the store's place at the next start when that is asked for, and what was there is kept", async () => {
    await put(1);
    await backups().make();
    await put(2);
    expect(backups().stage("").stores).toEqual(["x"]);
    expect(rows()).toEqual([1, 2]);
    reopen();
    expect(rows()).toEqual([1]);
    expect(store.state()).toMatchObject({ state: "restored", detail: expect.stringContaining(asides()[0] ?? "?") });
    expect(() => backups().stage("2020")).toThrow(/there are 2026-11-21T00-00-00-000Z/);
  });

  it("of a damaged store are not kept, and the store is suspected", async () => {
    for (let n = 0; n < 400; n++) await put(n, "x".repeat(10_000));
    store.close();
    overwrite(path(), 100 * 4_096, 200 * 4_096);
    open();
    await expect(backups().make()).rejects.toMatchObject({ code: "DATA_LOSS" });
    expect(backups().list()).toEqual([]);
    expect(restarts).toHaveLength(1);
  });

  it("are checked by a process of its own", async () => {
    const program = join(folder, "check.ts");
    writeFileSync(
      program,
      `import { runCheck } from ${JSON.stringify(join(import.meta.dirname, "check.ts"))};
       process.exit(runCheck(process.argv[3] ?? "", console.log));`,
    );
    await put(1);
    store.close();
    const check = checkApart([process.execPath, program]);
    expect(await check(path())).toBeUndefined();
    writeFileSync(path(), "nonsense".repeat(1_000));
    expect(await check(path())).toMatch(/not a database/);
    expect(await checkApart(["/nowhere/node"])(path())).toMatch(/does not start/);
    rmSync(path());
    open();
  });
});

it("gives pages that were freed back to the file system, some at a time", async () => {
  for (let n = 0; n < 300; n++) await put(n, "x".repeat(10_000));
  await store.write("all", () => void store.database.exec("DELETE FROM t"));
  const { free } = store.sizes();
  expect(free).toBeGreaterThan(2_000_000);
  const left = await store.shrink(100);
  expect(left).toBe(free / 4_096 - 100);
  while ((await store.shrink(500)) > 0);
  expect(store.sizes().free).toBe(0);
  reopen();
  expect(store.sizes().file).toBeLessThan(100_000);
});

function overwrite(file: string, from: number, to: number): void {
  const bytes = readFileSync(file);
  bytes.fill(0xa5, from, to);
  writeFileSync(file, bytes);
}
