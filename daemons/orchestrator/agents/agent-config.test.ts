import { describe, expect, it } from "vitest";
import { parseAgent } from "./agent-config.ts";

describe("an agent's file", () => {
  const text = (name: string, more = "") =>
    `[agent]\nname = "${name}"\ntype = "t"\nenabled = true\n${more}[agent.description]\nrole = "r"\nbrief = "b"\n[capabilities]\ntool_namespaces = ["fs"]\n` +
    "[behavior]\nmax_concurrent_tasks = 1\nheartbeat_interval_seconds = 1\n[resources]\nmemory_mb = 64\n" +
    "[restart]\nmax_restarts = 1\nrestart_window_seconds = 1\nrestart_delay_seconds = 1\n";

  it("is read", () => {
    expect(parseAgent(text("x"), "/etc/x.toml")).toMatchObject({
      name: "x",
      limits: { memoryMiB: 64, pids: 32, cpuCores: 1 },
      restart: { delayMs: 1_000 },
    });
    expect(parseAgent(text("x").replace("true", "false"), "/etc/x.toml")).toBeUndefined();
  });

  it("may say what the agent uses, in part or not at all", () => {
    const limits = (resources: string) =>
      parseAgent(text("x").replace("[resources]\nmemory_mb = 64\n", resources), "/etc/x.toml")?.limits;
    expect(limits("")).toEqual({ memoryMiB: 256, pids: 32, cpuCores: 1 });
    expect(limits("[resources]\nmax_pids = 64\ncpu_cores = 0.5\n")).toEqual({
      memoryMiB: 256,
      pids: 64,
      cpuCores: 0.5,
    });
  });

  it.each([
    ["of another name", text("y"), /"y" is not the file's name/],
    ["with an unknown key", text("x", 'nice = "very"\n'), /x\.toml:5: agent\.nice: no such key/],
    [
      "with a value out of range",
      text("x").replace("memory_mb = 64", "memory_mb = 1"),
      /resources\.memory_mb: .*64 to 65536 MB/,
    ],
    [
      "with too few threads for Node",
      text("x").replace("memory_mb = 64", "max_pids = 4"),
      /x\.toml:14: resources\.max_pids: .*16 to 4096/,
    ],
    ["with no processor", text("x").replace("memory_mb = 64", "cpu_cores = 0"), /resources\.cpu_cores: .*0\.1 to 1024/],
  ])("%s is refused", (_, content, reason) => {
    expect(() => parseAgent(content, "/etc/x.toml")).toThrow(reason);
  });
});
