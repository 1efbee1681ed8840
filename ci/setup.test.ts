import { spawnSync } from "node:child_process";
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";

/** A clone with ci/setup and a lock file, and a PATH that holds only what a test puts there. */
let clone: string;
let bin: string;

beforeEach(() => {
  clone = mkdtempSync(join(tmpdir(), "aios-setup-"));
  bin = join(clone, "bin");
  mkdirSync(join(clone, "ci"));
  mkdirSync(bin);
  copyFileSync(join(import.meta.dirname, "setup"), join(clone, "ci/setup"));
  writeFileSync(join(clone, "package-lock.json"), "{}");
  for (const tool of ["dirname", "find", "touch", "mkdir"]) command(tool, `exec /usr/bin/${tool} "$@"`);
});

afterEach(() => rmSync(clone, { recursive: true }));

function command(name: string, body = "exit 0"): void {
  writeFileSync(join(bin, name), `#!/bin/sh\n${body}\n`, { mode: 0o755 });
}

/** Records its arguments in `<clone>/<name>.calls`. */
function recorder(name: string, then = ":"): void {
  command(name, `echo "$*" >> "${clone}/${name}.calls"\n${then}`);
}

function calls(name: string): string {
  const file = join(clone, `${name}.calls`);
  return existsSync(file) ? readFileSync(file, "utf8") : "";
}

function setup(): { status: number | null; lines: string[] } {
  // The script adds the sbin folders for `ip`; here they must stay out of sight.
  const text = readFileSync(join(clone, "ci/setup"), "utf8").replace(/^PATH=.*$/m, "");
  writeFileSync(join(clone, "ci/setup"), text);
  const { status, stderr } = spawnSync("/bin/sh", [join(clone, "ci/setup")], {
    env: { PATH: bin },
    encoding: "utf8",
  });
  return { status, lines: stderr.trim().split("\n") };
}

describe("ci/setup", () => {
  it("says in one line what to install on a host without apt", () => {
    const { status, lines } = setup();
    expect(status).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/no apt-get.*qemu-system-x86.*mmdebstrap/)]);
  });

  it("says in one line what root has to install when there is no sudo", () => {
    command("apt-get");
    command("id", "echo 1000");
    const { status, lines } = setup();
    expect(status).toBe(1);
    expect(lines).toEqual([expect.stringMatching(/as root, run: apt-get install .*qemu-system-x86.*mmdebstrap/)]);
  });

  it("installs through sudo when not root, then the npm packages", () => {
    recorder("apt-get");
    recorder("sudo", 'shift; while [ "$1" != apt-get ]; do shift; done; exec "$@"');
    command("env");
    command("id", "echo 1000");
    recorder("npm", "mkdir -p node_modules; : > node_modules/.package-lock.json");
    expect(setup().status).toBe(0);
    expect(calls("sudo")).toMatch(/apt-get .*update\n.*apt-get .*install .*mmdebstrap/);
    expect(calls("apt-get")).toMatch(/install --no-install-recommends .*qemu-system-x86/);
    expect(calls("npm")).toMatch(/^ci /);
  });

  it("does nothing the second time, and installs again when the lock file is newer", () => {
    for (const tool of ["qemu-system-x86_64", "mmdebstrap", "ip", "unshare", "mkfs.ext4", "git"]) command(tool);
    recorder("apt-get");
    command("id", "echo 0");
    command("env", 'while [ "$1" != apt-get ]; do shift; done; exec "$@"');
    recorder("npm", "mkdir -p node_modules; : > node_modules/.package-lock.json");
    setup();
    const before = calls("npm");
    expect(setup()).toEqual({ status: 0, lines: expect.anything() });
    expect(calls("npm")).toBe(before);
    const later = new Date(Date.now() + 5_000);
    utimesSync(join(clone, "package-lock.json"), later, later);
    setup();
    expect(calls("npm")).not.toBe(before);
  });

  it("fails with the next step when npm does", () => {
    for (const tool of ["apt-get", "env"]) command(tool);
    command("id", "echo 0");
    command("npm", "exit 1");
    const { status, lines } = setup();
    expect(status).toBe(1);
    expect(lines.at(-1)).toContain("npm ci failed");
  });
});
