import { expect, test } from "vitest";
import { addToIndex, driftBetween, formatLock, type LockedPackage, parseLock, pins, requireLocked } from "./lock.ts";

const hash = (digit: string) => digit.repeat(64);
const bash: LockedPackage = { name: "bash", version: "5.2-1", sha256: hash("a") };
const curl: LockedPackage = { name: "curl", version: "8.14-2", sha256: hash("b") };

test("a lock is read back as it was written, sorted", () => {
  const text = formatLock([curl, bash]);
  expect(parseLock("packages.lock", text)).toEqual([bash, curl]);
  expect(formatLock([bash, curl])).toBe(text);
});

test("a broken line is named with its number", () => {
  expect(() => parseLock("packages.lock", "# head\nbash 5.2-1\n")).toThrow("read packages.lock:2");
});

test("the index holds every version of a package", () => {
  const index = new Map<string, LockedPackage[]>();
  addToIndex(index, `Package: bash\nVersion: 5.2-1\nSHA256: ${hash("a")}\n\nPackage: curl\nSHA256: x\n`);
  addToIndex(index, `Package: bash\nVersion: 5.2-2\nArchitecture: amd64\nSHA256: ${hash("c")}`);
  expect(index.get("bash")).toEqual([bash, { name: "bash", version: "5.2-2", sha256: hash("c") }]);
  expect(index.has("curl")).toBe(false);
});

test("a locked package that the mirror no longer has is named with what there is, and what to do", () => {
  const index = new Map([
    ["bash", [bash]],
    ["curl", [{ ...curl, version: "8.15-1" }]],
  ]);
  expect(() => requireLocked("packages.lock", [bash], index)).not.toThrow();
  expect(() => requireLocked("packages.lock", [bash, curl], index)).toThrow(
    /packages\.lock: the mirror no longer has curl 8\.14-2 \(the mirror has 8\.15-1\).*--relock.*--allow-drift/s,
  );
  expect(() => requireLocked("packages.lock", [{ ...curl, name: "gone" }], index)).toThrow("(the mirror has none)");
});

test("the same version with other bytes is refused", () => {
  const index = new Map([["bash", [{ ...bash, sha256: hash("f") }]]]);
  expect(() => requireLocked("packages.lock", [bash], index)).toThrow("bash 5.2-1 with other content than locked");
});

test("drift names what is new, gone and changed", () => {
  const newer = { ...bash, version: "5.2-2" };
  expect(driftBetween([bash], [bash])).toEqual([]);
  expect(driftBetween([bash, curl], [newer])).toEqual(["bash 5.2-1 → 5.2-2", "curl 8.14-2 is gone"]);
  expect(driftBetween([], [curl])).toEqual(["curl 8.14-2 is new"]);
});

test("pins name each package and its version", () => {
  expect(pins([bash, curl])).toContain("Package: curl\nPin: version 8.14-2\nPin-Priority: 1001\n");
});
