import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { openDatabase, type Sqlite } from "#lib/data/sqlite";
import { type Archive, openArchive } from "./longterm/archive.ts";
import { lexicalVector } from "./longterm/lexical.ts";
import { openTextRank } from "./longterm/text-rank.ts";
import { functions, longtermMigrations } from "./store/migrations/migrations.ts";
import { indexText, wordsOf } from "./words.ts";
import { similarity } from "./working/similarity.ts";

describe("words", () => {
  it.each([
    ["Restart NGINX, now!", ["restart", "nginx", "now"]],
    ["café Ａ１", ["cafe", "a1"]],
    ["磁盘满了", ["磁盘", "盘满", "满了"]],
    ["磁", ["磁"]],
    ["nginx服务器", ["nginx", "服务", "务器"]],
    ["サーバー", ["サー", "ーバ", "バー"]],
    ["서버가 죽었다", ["서버", "버가", "죽었", "었다"]],
    ["디스크", ["디스", "스크"]],
    ["disk🔥fire 👨‍👩‍👧", ["disk", "u1f525", "fire", "u1f468", "u1f469", "u1f467"]],
    ["القُرْصُ امتلأ", ["القرص", "امتلا"]],
    ["הַדִּיסְק", ["הדיסק"]],
    ["Straße STRASSE", ["strasse", "strasse"]],
    ["ﾊﾞｯｸ", ["バッ", "ック"]],
    ["सर्वर", ["सर्वर"]],
    [`sha256:${"ab".repeat(32)}`, ["sha256", "ab".repeat(20)]],
    ["… !", []],
  ])("of %j are %j", (text, words) => {
    expect(wordsOf(text)).toEqual(words);
  });

  it("are the same when the words themselves are read", () => {
    for (const text of ["Ｆｕｌｌ width", "İstanbul ẞ", "ดิสก์เต็มแล้ว", "がぎ ｶﾞ", "Å ﬁ ½", "\u{20000}\u{20001}"])
      for (const word of wordsOf(text)) expect(wordsOf(word).join(" "), text).toContain(wordsOf(word)[0] ?? "-");
    expect(indexText("İstanbul").isWellFormed()).toBe(true);
  });
});

describe("what is written without spaces", () => {
  let folder: string;
  let database: Sqlite;
  let archive: Archive;
  beforeEach(() => {
    folder = mkdtempSync("/tmp/aios-words-");
    database = openDatabase(join(folder, "longterm.db"), longtermMigrations, { functions });
    archive = openArchive({ database, write: async (_what, act) => act() });
    for (const [at, text] of texts.entries()) archive.add(recordOf(`${at}`, text));
  });
  afterEach(() => {
    database.close();
    rmSync(folder, { recursive: true });
  });

  const texts = [
    "服务器磁盘满了，需要清理日志",
    "サーバーのディスクがいっぱいです",
    "ดิสก์ของเซิร์ฟเวอร์เต็มแล้ว ต้องลบไฟล์บันทึก",
    "서버 디스크가 가득 찼습니다",
    "सर्वर की डिस्क भर गई है",
    "Сервер: диск заполнен",
    "the server's disk is full",
    "امتلأ القُرْصُ في الخادم",
    "2024年12月31日 Webサーバー3号機 🚀",
    "디스크를 교체했습니다",
  ];
  const recordOf = (id: string, body: string) =>
    ({ collection: "knowledge", id, title: "", body, metadata: {}, storedAt: 1 }) as const;

  it.each([
    ["磁盘满了", "0"],
    ["日志", "0"],
    ["ディスク", "1"],
    ["ดิสก์เต็ม", "2"],
    ["디스크가 가득", "3"],
    ["डिस्क", "4"],
    ["ДИСК", "5"],
    ["disks", "6"],
    ["القرص", "7"],
    ["磁", "0"],
    ["志", "0"],
    ["号", "8"],
    ["年", "8"],
    ["3号機", "8"],
    ["🚀", "8"],
    ["디스크는 교체", "9"],
    ["교", "9"],
  ])("is found by %j", (query, id) => {
    const [best] = openTextRank(database).search(query, [], 5);
    expect(archive.chunks([best?.key ?? -1])).toMatchObject([{ id }]);
  });

  it("is found no more when it was removed or reworded", async () => {
    archive.add(recordOf("0", "没有问题"));
    await archive.remove("knowledge", "1");
    const search = (query: string) => openTextRank(database).search(query, [], 5);
    expect(search("磁盘满了")).toEqual([]);
    expect(search("ディスク")).toEqual([]);
    expect(search("没有")).toHaveLength(1);
    expect(database.pragma("integrity_check", { simple: true })).toBe("ok");
  });

  it("is near what shares a piece with it, for vectors and patterns alike", () => {
    const dot = (a: string, b: string) =>
      lexicalVector(a).reduce((sum, value, at) => sum + value * (lexicalVector(b)[at] ?? 0), 0);
    expect(dot("磁盘满了", "服务器磁盘满了")).toBeGreaterThan(0.5);
    expect(dot("磁盘满了", "网络断开")).toBeLessThan(0.2);
    expect(similarity("磁盘满了", "服务器磁盘满了")).toBeGreaterThan(0.45);
  });
});
