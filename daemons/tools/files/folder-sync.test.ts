import { closeSync, mkdirSync, mkdtempSync, openSync, rmSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { FolderSyncs } from "./folder-sync.ts";

let folder: string;
let fds: number[];
let asked: PromiseWithResolvers<void>[];
let syncs: FolderSyncs;

const open = (name: string) => {
  const fd = openSync(`${folder}/${name}`, "r");
  fds.push(fd);
  return fd;
};
const turn = () => new Promise((resolve) => setImmediate(resolve));

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-sync-");
  for (const name of ["a", "b"]) mkdirSync(`${folder}/${name}`);
  fds = [];
  asked = [];
  syncs = new FolderSyncs(() => {
    const one = Promise.withResolvers<void>();
    asked.push(one);
    return one.promise;
  });
});
afterEach(() => {
  for (const fd of fds) closeSync(fd);
  rmSync(folder, { recursive: true });
});

it("those that come while one is on its way share the next, which begins after them", async () => {
  const done: string[] = [];
  const sync = (name: string) => void syncs.sync(open("a")).then(() => done.push(name));
  sync("first");
  for (const name of ["second", "third"]) sync(name);
  await turn();
  expect(asked).toHaveLength(1);
  asked[0]?.resolve();
  await turn();
  expect(done).toEqual(["first"]);
  expect(asked).toHaveLength(2);
  sync("fourth");
  asked[1]?.resolve();
  await turn();
  expect(done).toEqual(["first", "second", "third"]);
  expect(asked).toHaveLength(3);
  asked[2]?.resolve();
  await turn();
  expect(done).toContain("fourth");
  sync("fifth");
  expect(asked).toHaveLength(4);
});

it("another folder waits for nobody, and a fault is told to those who shared that sync alone", async () => {
  const first = syncs.sync(open("a"));
  const second = syncs.sync(open("a"));
  void syncs.sync(open("b"));
  expect(asked).toHaveLength(2);
  asked[0]?.reject(new Error("EIO"));
  await expect(first).rejects.toThrow("EIO");
  await turn();
  asked[2]?.resolve();
  await second;
});
