import { cpSync, existsSync, mkdirSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { parseCmdline } from "../early/cmdline.ts";
import { type ConfigFiles, effectiveConfig } from "./config.ts";

const shipped = join(import.meta.dirname, "../../../rootfs/etc/aios/config.toml");
let folder: string;
let files: ConfigFiles;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-config-");
  files = {
    image: join(folder, "image.toml"),
    machine: join(folder, "config.toml"),
    lastGood: join(folder, "config.last-good.toml"),
  };
  cpSync(shipped, files.image);
  cpSync(shipped, files.machine);
});
afterEach(() => rmSync(folder, { recursive: true }));

const settings = (text: string) => parseCmdline(text).settings;
const none = new Map<string, string>();
const edit = (from: RegExp, to: string) =>
  writeFileSync(files.machine, readFileSync(shipped, "utf8").replace(from, to));

describe("the effective configuration", () => {
  it("is the image's when nothing was changed", async () => {
    const { config, problems } = await effectiveConfig(files, none);
    expect(config).toMatchObject({ system: { log_level: "info" }, network: { management_port: 9090 } });
    expect(problems).toEqual([]);
    expect(existsSync(files.lastGood)).toBe(false);
  });

  it("is the machine's over the image's, key by key, and remembered as good", async () => {
    const text = '[system]\nhostname = "mine"\n';
    writeFileSync(files.machine, text);
    const { config, problems } = await effectiveConfig(files, none);
    expect(config.system).toMatchObject({ hostname: "mine", log_level: "info" });
    expect(problems).toEqual([]);
    expect(readFileSync(files.lastGood, "utf8")).toBe(text);
  });

  it("is the kernel command line's over both", async () => {
    edit(/log_level = "info"/, 'log_level = "warn"');
    const { config } = await effectiveConfig(
      files,
      settings('aios.system.log_level=debug aios.network.management_port=9191 aios.network.dns_servers=["9.9.9.9"]'),
    );
    expect(config.system.log_level).toBe("debug");
    expect(config.network).toMatchObject({ management_port: 9191, dns_servers: ["9.9.9.9"] });
  });

  it("leaves out a command line that does not fit, and says which key", async () => {
    const { config, problems } = await effectiveConfig(files, settings("aios.system.log_level=loud"));
    expect(config.system.log_level).toBe("info");
    expect(problems.join()).toMatch(/kernel command line: system\.log_level: "loud".*its settings are left out/);
  });

  it.each([
    ["does not parse", /\[network\]/, "[network", /config\.toml:\d+/],
    ["has a wrong value", /log_level = "info"/, 'log_level = "loud"', /config\.toml:\d+: system\.log_level: "loud"/],
    [
      "has an unknown key",
      /log_level = "info"/,
      'log_level = "info"\ncolour = 1',
      /config\.toml:\d+: system\.colour: no such key/,
    ],
  ])("is the last good one when the machine's file %s", async (_, from, to, problem) => {
    edit(/hostname = ".*"/, 'hostname = "good"');
    await effectiveConfig(files, none);
    edit(from, to);
    const { config, problems } = await effectiveConfig(files, none);
    expect(config.system.hostname).toBe("good");
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(problem);
    expect(problems[0]).toContain("in effect is the last good one");
  });

  it("is the image's when there is no last good one, or it is broken too", async () => {
    for (const lastGood of [undefined, "[[["]) {
      if (lastGood !== undefined) writeFileSync(files.lastGood, lastGood);
      edit(/\[network\]/, "[network");
      const { config, problems } = await effectiveConfig(files, none);
      expect(config.network.management_port).toBe(9090);
      expect(problems[0]).toContain("in effect is the image's own");
    }
  });

  it("forgets the last good one when the machine's file is the image's again", async () => {
    edit(/hostname = ".*"/, 'hostname = "old"');
    await effectiveConfig(files, none);
    cpSync(shipped, files.machine);
    await effectiveConfig(files, none);
    expect(existsSync(files.lastGood)).toBe(false);
  });

  it("reads a file that is missing or a folder as a fault, not as an exception", async () => {
    rmSync(files.machine);
    expect((await effectiveConfig(files, none)).problems[0]).toMatch(/ENOENT; write it anew/);
    mkdirSync(files.machine);
    expect((await effectiveConfig(files, none)).problems[0]).toMatch(/EISDIR/);
  });

  it("takes good settings when the last good copy cannot be written", async () => {
    mkdirSync(files.lastGood);
    edit(/hostname = ".*"/, 'hostname = "mine"');
    const { config, problems } = await effectiveConfig(files, none);
    expect(config.system.hostname).toBe("mine");
    expect(problems).toEqual([]);
  });
});

describe("the kernel command line", () => {
  it("is read as the lanes give it", () => {
    expect(
      parseCmdline(
        "aios.lane=native aios.data=dir:/mnt/data aios.provision=dir:/mnt/p aios.kernel_start_monotonic_ms=12",
      ),
    ).toEqual({
      lane: "native",
      overlay: true,
      dataFolder: "/mnt/data",
      provisionFolder: "/mnt/p",
      kernelStartMs: 12,
      settings: new Map(),
      problems: [],
    });
    const machine = parseCmdline(
      'root=/dev/vda ro aios.overlay=off aios.system.hostname="a b" panic=10 -- aios.lane=native',
    );
    expect(machine).toMatchObject({ lane: "machine", overlay: false, kernelStartMs: 0, problems: [] });
    expect([machine.askRepair, parseCmdline("aios.repair=ask").askRepair]).toEqual([undefined, true]);
    expect([...machine.settings]).toEqual([["system.hostname", "a b"]]);
  });

  it("names what it does not understand, and goes on", () => {
    const { problems, overlay } = parseCmdline("aios.overlay=of aios.colour=red aios.data=/mnt aios.__proto__.x=1");
    expect(overlay).toBe(true);
    expect(problems.join("\n")).toMatch(/aios\.colour: no such option/);
    expect(problems.join("\n")).toMatch(/aios\.overlay=of: expected on or off/);
    expect(problems.join("\n")).toMatch(/aios\.data=\/mnt: expected dir:/);
    expect(problems).toHaveLength(4);
  });
});
