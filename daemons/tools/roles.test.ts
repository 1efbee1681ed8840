import { copyFileSync } from "node:fs";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { Role } from "#lib/identity/role";
import { connect } from "#lib/rpc/client";
import { socketPath } from "#lib/rpc/sockets";
import { ToolRolesService } from "#proto/aios/tool_roles";
import { type Machine, startMachine, whenAsked } from "./testing/harness.ts";

let machine: Machine;

beforeEach(async () => {
  machine = await startMachine();
});
afterEach(() => machine.close());

const refusal = (least: Role, role: Role) => ({
  code: "PERMISSION_DENIED",
  message: expect.stringMatching(new RegExp(`needs the role ${least}, and \\w+ is ${role}`)),
});

describe("what a person may do", () => {
  it("a reader looks at the machine, not into files, and changes nothing", async () => {
    const reader = machine.person("reader");
    expect((await reader.call("monitor.memory")).error).toBe("");
    expect((await reader.call("sec.audit")).error).toBe("");
    for (const [tool, input] of [
      ["fs.read", { path: "/etc/hostname" }],
      ["process.output", { pid: 1 }],
      ["fs.mkdir", { path: "/srv/x" }],
      ["net.ping", { host: "127.0.0.1" }],
    ] as const)
      await expect(reader.call(tool, input), tool).rejects.toMatchObject(refusal("operator", "reader"));
  });

  it("is told of each tool, with the calls that are held otherwise", async () => {
    const client = connect(ToolRolesService, `unix:${socketPath(`${machine.folder}/run`, "tools", "orchestrator")}`);
    const { tools } = await client.listRoles({});
    client.close();
    const of = (name: string) => tools.find((one) => one.name === name);
    expect(of("monitor.memory")).toEqual({ name: "monitor.memory", role: "reader", adminWhen: "", askedWhen: "" });
    expect(of("process.spawn")).toMatchObject({
      ...{ role: "operator", adminWhen: "without a sandbox or as a user that is named" },
    });
    expect(of("git.push")).toMatchObject({ role: "operator", askedWhen: "always" });
    expect(of("web.http_request")).toMatchObject({ askedWhen: "of a method that changes something" });
    expect(of("config.set")).toMatchObject({ role: "admin" });
  });

  it("who is refused for a role stands in the ledger", async () => {
    await expect(machine.person("operator").call("sec.grant", grantOf("olga"))).rejects.toMatchObject(
      refusal("admin", "operator"),
    );
    const { output } = await machine.operator.call("sec.audit", { agent_id: "olga" });
    expect(output.entries[0]).toMatchObject({ caller: "olga", tool: "sec.grant", state: "refused" });
  });

  it("an operator starts programs in a sandbox only, an admin as they like", async () => {
    const command = { command: "/bin/true" };
    const operator = machine.person("operator");
    await expect(operator.call("process.spawn", command)).rejects.toMatchObject(refusal("admin", "operator"));
    await expect(operator.call("process.spawn", { ...command, sandbox: true, user: "root" })).rejects.toMatchObject(
      refusal("admin", "operator"),
    );
    expect((await operator.call("process.spawn", { ...command, sandbox: true })).error).toBe("");
    expect((await machine.operator.call("process.spawn", command)).error).toBe("");
  });

  it("an operator rolls back what an operator may do, and nothing more", async () => {
    const path = `${machine.folder}/file`;
    const { executionId: written } = await machine.operator.call("fs.write", { path, content: "x" });
    const { executionId: granted } = await machine.operator.call("sec.grant", grantOf("task"));
    const operator = machine.person("operator").raw;
    const reason = "a test";
    expect(await operator.rollback({ executionId: written, reason })).toMatchObject({ success: true });
    await expect(operator.rollback({ executionId: granted, reason })).rejects.toMatchObject(
      refusal("admin", "operator"),
    );
    const reader = machine.person("reader").raw;
    await expect(reader.rollback({ executionId: granted, reason })).rejects.toMatchObject(refusal("admin", "reader"));
  });

  it("an operator approves what is not critical; that an admin does", async () => {
    copyFileSync(join(import.meta.dirname, "../../rootfs/etc/aios/config.toml"), `${machine.folder}/etc/config.toml`);
    await machine.core.call("sec.grant", { ...grantOf("task"), capabilities: ["config:write:*"] });
    const set = { key: "system.log_level", value: "debug" };
    const operator = machine.person("operator");
    const { ticket, answer } = await whenAsked(operator, () => machine.agent("task").call("config.set", set));
    expect(ticket).toMatchObject({ risk: "critical", role: "admin" });
    const shown = { id: ticket.id, digest: ticket.digest };
    await expect(operator.call("sec.approve", shown)).resolves.toMatchObject({
      success: false,
      error: expect.stringContaining("needs the role admin, and olga is operator"),
    });
    expect((await machine.operator.call("sec.approve", shown)).output).toMatchObject({ success: true });
    expect((await answer).success).toBe(true);
  });
});

describe("what an agent does for a person who is no admin", () => {
  it("waits for an admin where it amounts to root alone", async () => {
    const path = `${machine.folder}/file`;
    const asked = { ...grantOf("task"), task_id: "t", ask: "root" };
    await machine.core.call("sec.grant", { ...asked, capabilities: [`fs:write:${path}`, "config:write:*"] });
    const agent = machine.agent("task");
    expect((await agent.call("fs.write", { path, content: "x" }, { taskId: "t" })).success).toBe(true);
    copyFileSync(join(import.meta.dirname, "../../rootfs/etc/aios/config.toml"), `${machine.folder}/etc/config.toml`);
    const set = { key: "system.log_level", value: "debug" };
    const { ticket } = await whenAsked(machine.operator, () => agent.call("config.set", set, { taskId: "t" }));
    expect(ticket).toMatchObject({ risk: "critical", role: "admin" });
    await machine.operator.call("sec.deny", { id: ticket.id, reason: "a test" });
  });
});

const grantOf = (agent: string) => ({
  agent_id: agent,
  capabilities: ["fs:read:/srv/**"],
  duration_seconds: 60,
  reason: "a test",
});
