import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { type Machine, startMachine } from "../../testing/harness.ts";

/** What containers do is tested in a machine that has podman: qemu/tests/container.test.ts. Here is one that has not. */
vi.mock("../shared/program.ts", async (importOriginal) => {
  const original = await importOriginal<typeof import("../shared/program.ts")>();
  const runProgram: typeof original.runProgram = ([program, ...args], options) =>
    original.runProgram([program === "podman" ? "/nowhere/podman" : program, ...args], options);
  return { ...original, runProgram };
});

let machine: Machine;

beforeEach(async () => {
  machine = await startMachine();
});

afterEach(() => machine.close());

describe("without podman", () => {
  it.each([
    ["container.pull_or_load", { image: "docker.io/library/busybox" }],
    ["container.create", { name: "one", image: "busybox" }],
    ["container.start", { name: "one" }],
    ["container.stop", { name: "one" }],
    ["container.remove", { name: "one" }],
    ["container.exec", { name: "one", argv: ["id"] }],
    ["container.logs", { name: "one" }],
    ["container.list", {}],
  ])("%s says what is missing, and how to get it", async (tool, input) => {
    const answer = await machine.operator.call(tool, input);
    expect(answer).toMatchObject({
      success: false,
      error:
        "run podman: it is not installed: the image leaves it to machines that want it; " +
        'install it with pkg.install {"name":"podman"}',
    });
  });

  it("pulls for an agent from no registry that is close by, unless that was granted", async () => {
    const capabilities = ["container:image", "container:pull:**"];
    await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
    const pull = (image: string) => machine.agent("task").call("container.pull_or_load", { image });
    for (const host of ["127.0.0.1:5000", "localhost", "169.254.169.254", "10.0.0.1"])
      expect((await pull(`${host}/x`)).error).toMatch(/is not on the public network|podman: it is not installed/);
  });

  it("takes no name for an option", async () => {
    for (const input of [{ name: "--all" }, { name: "One" }, { name: "../x" }]) {
      await expect(machine.operator.call("container.start", input)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    }
    const image = { name: "one", image: "--privileged" };
    await expect(machine.operator.call("container.create", image)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    for (const transport of ["dir:/etc", "docker-archive:/srv/x.tar", "oci:/srv/x", "containers-storage:x"])
      await expect(machine.operator.call("container.pull_or_load", { image: transport })).rejects.toMatchObject({
        code: "INVALID_ARGUMENT",
      });
    expect(await machine.operator.call("container.pull_or_load", {})).toMatchObject({ success: false });
  });
});
