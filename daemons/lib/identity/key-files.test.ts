import { randomBytes } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, expect, it } from "vitest";
import { createCa } from "./certify.ts";
import { readPair, writePair } from "./key-files.ts";

let folder: string;
beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-keys-");
});
afterEach(() => rmSync(folder, { recursive: true }));

it("a certificate and its key are read as they were written, and what they are not is said with the file's name", async () => {
  const pair = await createCa("machine-ca", Date.UTC(2026, 0, 1));
  writePair(folder, "ca", pair);
  expect(readPair(folder, "ca")).toEqual(pair);
  for (const name of ["ca.pem", "ca.key"]) {
    const file = `${folder}/${name}`;
    const text = readFileSync(file);
    const damages: readonly (() => void)[] = [
      () => writeFileSync(file, ""),
      () => writeFileSync(file, text.subarray(0, text.length / 2)),
      () => writeFileSync(file, randomBytes(text.length)),
      () => mkdirSync(file),
      () => {},
    ];
    for (const damage of damages) {
      rmSync(file, { recursive: true });
      damage();
      expect(() => readPair(folder, "ca")).toThrow(new RegExp(`^read ${file}: .*; restore it from a copy`));
      rmSync(file, { recursive: true, force: true });
      writeFileSync(file, text);
    }
  }
  writePair(folder, "ca", { ...pair, key: (await createCa("another", Date.UTC(2026, 0, 1))).key });
  expect(() => readPair(folder, "ca")).toThrow(/ca\.key: it is not the key of .*ca\.pem/);
});
