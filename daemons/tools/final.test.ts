import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine, whenAsked } from "./testing/harness.ts";

let machine: Machine;

beforeEach(async () => {
  machine = await startMachine();
});
afterEach(() => machine.close());

describe("what cannot be taken back", () => {
  it.each([
    ["web.http_request", { url: "http://127.0.0.1:9/", method: "POST", body: "x" }, "web:request:**"],
    ["web.http_request", { url: "http://127.0.0.1:9/", method: "DELETE" }, "web:request:**"],
    ["container.exec", { name: "one", argv: ["id"] }, "container:exec:*"],
  ])(
    "%s %j is asked about for an agent at every level, and the person reads that it is for good",
    async (tool, input, needed) => {
      const capabilities = [needed, "net:local:127.0.0.1"];
      await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
      const { ticket, answer } = await whenAsked(machine.operator, () => machine.agent("task").call(tool, input));
      answer.catch(() => {});
      expect(ticket.undo).toMatch(/^it cannot be taken back: /);
      // A person who calls it directly has decided.
      expect((await machine.operator.call(tool, input)).success).toBe(false);
    },
  );

  it("is not what only looks", async () => {
    const capabilities = ["web:request:**", "net:local:127.0.0.1"];
    await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "a test" });
    const get = { url: "http://127.0.0.1:9/" };
    expect(await machine.agent("task").call("web.http_request", get)).toMatchObject({ success: false });
  });
});
