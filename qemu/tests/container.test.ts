import { execFileSync } from "node:child_process";
import { hash } from "node:crypto";
import { copyFileSync, mkdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { ToolRegistryService } from "#proto/aios/tools";
import { imageSettings } from "../../image/image.ts";
import { executeApproved } from "../approved.ts";
import type { Machine } from "../machine.ts";
import { makeArchive } from "./archive.ts";
import { laneRuns, useFleet } from "./fleet.ts";

/** Podman is not part of the image: it is installed as an operator would, and taken away again. */
describe.runIf(laneRuns("native"))("containers", () => {
  const fleet = useFleet();
  const executions: string[] = [];
  let machine: Machine;

  const ask = async (tool: string, input: object) => {
    const tools = machine.client(ToolRegistryService);
    try {
      const inputJson = Buffer.from(JSON.stringify(input));
      const request = { toolName: tool, agentId: "", taskId: "", inputJson, reason: "the test of containers" };
      return await executeApproved(tools, request, { timeoutMs: 300_000 });
    } finally {
      tools.close();
    }
  };
  const call = async (tool: string, input: object) => {
    const answer = await ask(tool, input);
    expect({ tool, error: answer.error }).toEqual({ tool, error: "" });
    if (answer.backupId !== "") executions.push(answer.executionId);
    return JSON.parse(answer.outputJson.toString());
  };

  it("need podman, which is installed from an archive on the machine", async () => {
    const data = join(fleet.folder("containers"), "data");
    await makeArchive(join(data, "home/archive"), ["podman"], fleet.images.rootTree, imageSettings(process.env));
    makeImage(join(data, "home/image.tar"), join(fleet.images.rootTree, "usr/bin/busybox"));
    machine = await fleet.boot({ lane: "native", name: "containers", data: "folder", keeps: ["mknod"] });
    expect((await ask("container.list", {})).error).toContain("install it with pkg.install");
    await call("fs.write", { path: "/etc/apt/sources.list.d/debian.sources", content: "" });
    const source = "deb [trusted=yes] file:/home/archive ./\n";
    await call("fs.write", { path: "/etc/apt/sources.list.d/local.list", content: source });
    await call("pkg.update", {});
    expect(await call("pkg.install", { name: "podman" })).toMatchObject({ installed: true });
    expect(await call("container.list", {})).toEqual({ containers: [], images: [] });
  }, 900_000);

  it("are made of an image from a local archive, run, answer, log and stop", async () => {
    const { images } = await call("container.pull_or_load", { archive: "/home/image.tar" });
    expect(images).toEqual(["localhost/tiny:latest"]);
    expect(await ask("container.create", { name: "one", image: "localhost/none" })).toMatchObject({
      success: false,
      error: expect.stringContaining("container.pull_or_load"),
    });
    const argv = [
      "/bin/busybox",
      "sh",
      "-c",
      "echo started $WHO; /bin/busybox cat /lent/file; exec /bin/busybox sleep 600",
    ];
    await call("fs.write", { path: "/srv/lent/file", content: "lent\n" });
    const volumes = [{ source: "/srv/lent", target: "/lent", read_only: true }];
    await call("container.create", { name: "one", image: images[0], argv, env: { WHO: "me" }, volumes });
    expect(await call("container.start", { name: "one" })).toEqual({ name: "one", running: true });
    await expect
      .poll(() => call("container.logs", { name: "one" }), { timeout: 10_000 })
      .toMatchObject({ stdout: "started me\nlent\n" });
    const exec = { name: "one", argv: ["/bin/busybox", "sh", "-c", "id -u; echo x > /lent/file; ls /sys/class/net"] };
    expect(await call("container.exec", exec)).toMatchObject({
      exit_code: 0,
      stdout: "0\nlo\n",
      stderr: expect.stringContaining("Read-only"),
    });
    expect(await call("container.list", {})).toMatchObject({ containers: [{ name: "one", state: "running" }] });
    expect(await ask("container.remove", { name: "one" })).toMatchObject({ error: expect.stringContaining("it runs") });
    expect(await call("container.stop", { name: "one" })).toEqual({ name: "one", running: false });
    await call("fs.move", { source: "/srv/lent", destination: "/srv/was-lent" });
    await call("fs.symlink", { path: "/srv/lent", target: "/srv/was-lent" });
    expect(await ask("container.start", { name: "one" })).toMatchObject({
      error: expect.stringContaining("a link has taken the place of its volume"),
    });
    await call("container.create", { name: "gone", image: images[0] });
    expect(await call("container.remove", { name: "gone" })).toEqual({ removed: true });
  }, 300_000);

  it("outlive the tools daemon, and are taken back in reverse order with podman", async () => {
    const lent = { name: "two", image: "localhost/tiny:latest", argv: ["/bin/busybox", "sleep", "600"] };
    await call("container.create", lent);
    await call("container.start", { name: "two" });
    await machine.killUnit("tools");
    const state = async () => JSON.stringify((await call("container.list", {})).containers);
    await expect.poll(() => state().catch(String), { timeout: 30_000 }).toMatch(/"two".*"running"/);
    const volumes = [{ source: "/var/lib/aios/ledger", target: "/l" }];
    await expect(ask("container.create", { ...lent, name: "three", volumes })).rejects.toThrow("no grant opens it");
    const tools = machine.client(ToolRegistryService);
    for (const executionId of executions.toReversed()) {
      const undone = await tools.rollback({ executionId, reason: "the test is over" }, { timeoutMs: 130_000 });
      expect(undone).toEqual({ success: true, error: "" });
    }
    tools.close();
    expect((await ask("container.list", {})).error).toContain("it is not installed");
    const { packages } = await call("pkg.list", { pattern: "podman*" });
    expect(packages).toEqual([]);
  }, 300_000);
});

/** An image archive as docker saves one: BusyBox and nothing else. */
function makeImage(path: string, busybox: string): void {
  const folder = `${path}.build`;
  mkdirSync(join(folder, "root/bin"), { recursive: true });
  copyFileSync(busybox, join(folder, "root/bin/busybox"));
  const tar = (...argv: string[]) =>
    execFileSync("tar", ["--owner=0", "--group=0", "--sort=name", ...argv], { maxBuffer: 64 * 1024 * 1024 });
  const layer = tar("-C", join(folder, "root"), "-c", ".");
  const config = JSON.stringify({
    architecture: "amd64",
    os: "linux",
    config: { Cmd: ["/bin/busybox", "true"] },
    rootfs: { type: "layers", diff_ids: [`sha256:${hash("sha256", layer)}`] },
  });
  const manifest = [{ Config: "config.json", RepoTags: ["localhost/tiny:latest"], Layers: ["layer.tar"] }];
  writeFileSync(join(folder, "layer.tar"), layer);
  writeFileSync(join(folder, "config.json"), config);
  writeFileSync(join(folder, "manifest.json"), JSON.stringify(manifest));
  tar("-C", folder, "-cf", path, "manifest.json", "config.json", "layer.tar");
}
