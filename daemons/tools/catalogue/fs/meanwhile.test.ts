import { execFileSync } from "node:child_process";
import { existsSync, mkdirSync, readdirSync, readFileSync, rmSync, statSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { systemClock } from "#lib/clock";
import { type Answer, type Machine, startMachine } from "../../testing/harness.ts";
import { withEntry } from "../shared/entry.ts";
import { exchange, settleAside } from "../shared/put-aside.ts";
import { measure } from "../shared/tree.ts";
import { move } from "./move-copy.ts";

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(work);
});

afterEach(() => machine.close());

const call = (tool: string, input: object): Promise<Answer> => machine.core.call(tool, input);
const back = ({ executionId }: Answer) => machine.core.raw.rollback({ executionId, reason: "" });
const signal = new AbortController().signal;
const refusedFor = (text: string) => ({ success: false, error: expect.stringContaining(text) });

/** Waits until `found` says so, then writes a file, as another program does. */
async function writeOnce(found: () => boolean, path: string): Promise<void> {
  while (!found()) await systemClock.sleep(1);
  writeFileSync(path, "another's");
}

describe("what is mounted in a folder", () => {
  it.each(["a folder", "a file"])("%s of the same file system too, is not taken for its content", async (kind) => {
    const disk = `${work}/disk`;
    mkdirSync(disk);
    execFileSync("mount", ["-t", "tmpfs", "tmpfs", disk]);
    try {
      mkdirSync(`${disk}/other`);
      writeFileSync(`${disk}/other/precious`, "gold", { mode: 0o600 });
      mkdirSync(`${disk}/app/in`, { recursive: true });
      for (const name of ["a", "in.conf", "z"]) writeFileSync(`${disk}/app/${name}`, name);
      const [from, to] = kind === "a folder" ? ["other", "app/in"] : ["other/precious", "app/in.conf"];
      execFileSync("mount", ["--bind", `${disk}/${from}`, `${disk}/${to}`]);
      const all = { path: `${disk}/app`, recursive: true };
      const mounted = refusedFor(`is mounted at ${disk}/${to}; unmount it first`);
      expect(await call("fs.delete", all)).toMatchObject(mounted);
      expect(await call("fs.delete", { ...all, permanent: true })).toMatchObject(mounted);
      expect(await call("backup.create", { path: all.path })).toMatchObject(mounted);
      expect(await call("fs.chmod", { ...all, mode: "0755" })).toMatchObject({ success: true });
      expect(statSync(`${disk}/other/precious`).mode & 0o777).toBe(0o600);
      expect(readFileSync(`${disk}/other/precious`, "utf8")).toBe("gold");
      expect(readdirSync(all.path)).toEqual(["a", "in", "in.conf", "z"]);
      const itself = await call("fs.delete", { path: `${disk}/${to}`, recursive: true });
      expect(itself).toMatchObject(refusedFor("a file system is mounted there"));
    } finally {
      execFileSync("umount", ["--recursive", disk]);
    }
  });
});

describe("what another writes while a backup is restored", () => {
  const live = () => `${work}/live`;
  let id: string;

  beforeEach(async () => {
    mkdirSync(live());
    for (let at = 0; at < 20; at += 1) writeFileSync(`${live()}/${at}`, Buffer.alloc(1_000_000, String(at)));
    id = (await call("backup.create", { path: live() })).output.id;
  });

  it("is not lost, and the restore is refused", async () => {
    const archives = `${machine.folder}/state/backups`;
    const isPacked = () => readdirSync(archives).some((name) => /^before-.*\.gz$/.test(name));
    const [restored] = await Promise.all([
      call("backup.restore", { id, destination: live() }),
      writeOnce(isPacked, `${live()}/new`),
    ]);
    expect(restored).toMatchObject(refusedFor("it was changed meanwhile; end what writes there, then try again"));
    expect(readFileSync(`${live()}/new`, "utf8")).toBe("another's");
    expect(readdirSync(work)).toEqual(["live"]);
    expect(await call("backup.restore", { id, destination: live() })).toMatchObject({ success: true });
    expect(existsSync(`${live()}/new`)).toBe(false);
  });

  it("or taken back is not lost either", async () => {
    const restored = await call("backup.restore", { id, destination: live() });
    const isUnpacking = () => readdirSync(work).some((name) => name.startsWith(".aios-"));
    const [undone] = await Promise.all([back(restored), writeOnce(isUnpacking, `${live()}/new`)]);
    expect(undone).toMatchObject(refusedFor("it was changed meanwhile"));
    expect(readFileSync(`${live()}/new`, "utf8")).toBe("another's");
    expect(readdirSync(work)).toEqual(["live"]);
  });
});

describe("an entry that is taken away", () => {
  const prints = (path: string) => withEntry(path, async (entry) => (await measure(entry, signal)).fingerprint);
  const take = (path: string, stood: string | undefined, next?: string) =>
    withEntry(path, (entry) =>
      exchange(entry, { act: "replace", stood, executionId: "e", signal, ...(next !== undefined && { next }) }),
    );

  it("goes only as it was, and another's is never written over", async () => {
    for (const name of ["f", "g"]) writeFileSync(`${work}/${name}`, name);
    mkdirSync(`${work}/d`);
    const [file, folder] = [await prints(`${work}/f`), await prints(`${work}/d`)];
    writeFileSync(`${work}/f`, "changed");
    writeFileSync(`${work}/d/new`, "");
    for (const [name, stood] of [
      ["f", file],
      ["f", undefined],
      ["d", folder],
      ["d", undefined],
    ] as const)
      await expect(take(`${work}/${name}`, stood, `${work}/g`), name).rejects.toThrow("it was changed meanwhile");
    expect(readdirSync(work)).toEqual(["d", "f", "g"]);
    await take(`${work}/f`, await prints(`${work}/f`), `${work}/g`);
    expect(readFileSync(`${work}/f`, "utf8")).toBe("g");
    await take(`${work}/f`, await prints(`${work}/f`), `${work}/d`);
    await take(`${work}/f`, await prints(`${work}/f`));
    expect(readdirSync(work)).toEqual([]);
  });

  it("comes back after a crash, or is gone where something has its place", async () => {
    const settle = () => withEntry(`${work}/d`, (entry) => settleAside(entry, "e", signal));
    for (const left of ["old", "new"]) {
      mkdirSync(`${work}/.aios-e-old`);
      writeFileSync(`${work}/.aios-e-old/old`, "");
      await settle();
      expect(readdirSync(work)).toEqual(["d"]);
      expect(readdirSync(`${work}/d`)).toEqual([left]);
      rmSync(`${work}/d`, { recursive: true });
      mkdirSync(`${work}/d`);
      writeFileSync(`${work}/d/new`, "");
    }
  });
});

describe("a deletion that fails in its middle", () => {
  it("leaves all that was there", async () => {
    mkdirSync(`${work}/t/in`, { recursive: true });
    for (const name of ["a", "fixed", "in/b"]) writeFileSync(`${work}/t/${name}`, name);
    execFileSync("chattr", ["+i", `${work}/t/fixed`]);
    try {
      const failed = await call("fs.delete", { path: `${work}/t`, recursive: true });
      expect(failed).toMatchObject(refusedFor("Operation not permitted"));
      expect(readdirSync(work)).toEqual(["t"]);
      expect(readdirSync(`${work}/t`, { recursive: true }).sort()).toEqual(["a", "fixed", "in", "in/b"]);
      expect(await back(failed)).toEqual({ success: true, error: "" });
    } finally {
      execFileSync("chattr", ["-i", `${work}/t/fixed`]);
    }
  });
});

describe("a move that was interrupted", () => {
  it.each([
    ["before it began, and another has the destination", "another's", "mine"],
    ["when the copy was whole", "mine", undefined],
  ])("%s", async (_, arrived, left) => {
    const [source, destination] = [`${work}/source`, `${work}/destination`];
    writeFileSync(source, "mine");
    const fingerprint = await withEntry(source, async (entry) => (await measure(entry, signal)).fingerprint);
    if (arrived === "mine") execFileSync("cp", ["-a", source, destination]);
    else writeFileSync(destination, arrived);
    const backups = { save: () => Promise.reject(new Error()), load: () => Promise.reject(new Error()) };
    await move.undo?.settle?.({ source, destination, fingerprint }, { executionId: "e", backups });
    expect(readFileSync(destination, "utf8")).toBe(arrived);
    expect(existsSync(source) ? readFileSync(source, "utf8") : undefined).toBe(left);
  });
});
