import { describe, expect, it } from "vitest";
import { parseAgent } from "./agent-config.ts";

describe("an agent's file", () => {
  const text = (name: string, more = "") =>
    `[agent]\nname = "${name}"\ntype = "t"\nenabled = true\n${more}[agent.description]\nrole = "r"\nbrief = "b"\n[capabilities]\ntool_namespaces = ["fs"]\n` +
    "[behavior]\nmax_concurrent_tasks = 1\ntask_timeout_seconds = 1\nheartbeat_interval_seconds = 1\n[resources]\nmemory_mb = 64\n" +
    "[restart]\nmax_restarts = 1\nrestart_window_seconds = 1\nrestart_delay_seconds = 1\n";

  it("is read", () => {
    expect(parseAgent(text("x"), "/etc/x.toml")).toMatchObject({
      name: "x",
      memoryMiB: 64,
      restart: { delayMs: 1_000 },
    });
    expect(parseAgent(text("x").replace("true", "false"), "/etc/x.toml")).toBeUndefined();
  });

  it.each([
    ["of another name", text("y"), /"y" is not the file's name/],
    ["with an unknown key", text("x", 'nice = "very"\n'), /x\.toml:5: agent\.nice: no such key/],
    ["with a value out of range", text("x").replace("memory_mb = 64", "memory_mb = 1"), /32 to 65536 MB/],
  ])("%s is refused", (_, content, reason) => {
    expect(() => parseAgent(content, "/etc/x.toml")).toThrow(reason);
  });
});
