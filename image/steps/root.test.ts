import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { dropPrivileges } from "./root.ts";

test("no program of the image runs as somebody else than its caller", () => {
  const tree = mkdtempSync("/tmp/aios-root-");
  const outside = `${tree}-outside`;
  try {
    mkdirSync(join(tree, "usr/bin"), { recursive: true });
    const modes = { su: 0o4755, write: 0o2755, both: 0o6711, plain: 0o755 };
    for (const [name, mode] of Object.entries(modes)) {
      writeFileSync(join(tree, "usr/bin", name), "");
      chmodSync(join(tree, "usr/bin", name), mode);
    }
    chmodSync(join(tree, "usr"), 0o2755);
    symlinkSync("su", join(tree, "usr/bin/link"));
    // As var/run in the image: a folder of the host, seen from outside.
    mkdirSync(outside);
    writeFileSync(join(outside, "own"), "");
    chmodSync(join(outside, "own"), 0o4755);
    symlinkSync(outside, join(tree, "run"));
    expect(
      dropPrivileges(tree)
        .map((path) => path.split("/").at(-1))
        .sort(),
    ).toEqual(["both", "su", "write"]);
    const modeOf = (path: string) => statSync(join(tree, path)).mode & 0o7777;
    expect(Object.keys(modes).map((name) => modeOf(`usr/bin/${name}`))).toEqual([0o755, 0o755, 0o711, 0o755]);
    expect(modeOf("usr")).toBe(0o2755);
    expect(statSync(join(outside, "own")).mode & 0o7777).toBe(0o4755);
  } finally {
    rmSync(outside, { recursive: true, force: true });
    rmSync(tree, { recursive: true });
  }
});
