// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are templates of plans, not of TypeScript
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Bench, openBench, planOf, step } from "../testing/goals-bench.ts";

let bench: Bench;
beforeEach(async () => {
  bench = await openBench();
});
afterEach(() => bench.close());

describe("a goal", () => {
  it.each([
    ["say it to /srv/a", "/srv/a", "nothing"],
    ["say it to /srv/a/", "/srv/a", "nothing"],
    ["say it somewhere below /srv", "/srv/a/b", "nothing"],
    ["say it somewhere below /srv", "/srv/a/../b", "nothing"],
    ["say it", "/srv/allowed/a", "nothing"],
    ["say it", "a name", "nothing"],
    ["say it to /srv/app", "/srv/application", "changes"],
    ["say it to /srv/app/x", "/srv/app", "changes"],
    ["say it somewhere below /srv", "/srv/../root/.ssh/authorized_keys", "changes"],
    ["say it", "/srv/allowed/../b", "changes"],
    ["say it", "/etc/cron.d/a", "changes"],
    ["say it", "/srv/a{{b}}${c}", "changes"],
    ["say it to everybody /", "/etc/cron.d/a", "changes"],
  ])("%j by a plan that is not the image's, to %s, asks a person about %s", async (description, what, asks) => {
    const template = what.replaceAll("{", "{{");
    bench.draft = () => planOf(step("one", { input: { what: template } }));
    const id = await bench.submit(description);
    const { taskId, input } = await bench.next();
    expect(bench.ports.asks).toEqual([asks]);
    expect(input).toEqual({ what });
    await bench.report(taskId);
    await bench.until(id, "completed");
  });

  it.each([
    ["", "nothing"],
    ["admin", "nothing"],
    ["operator", "root"],
  ] as const)("of a person whose role is %j asks about %s", async (role, asks) => {
    bench.draft = () => planOf(step("one", { input: { what: "a name" } }));
    const id = await bench.submit("say it", { role });
    const { taskId } = await bench.next();
    expect(bench.ports.asks).toEqual([asks]);
    await bench.report(taskId);
    await bench.until(id, "completed");
  });

  it("of an admin that an operator has answered is bound as the operator is, after a restart too", async () => {
    bench.draft = () => ({ question: "Where?" });
    const id = await bench.submit("say it", { role: "admin" });
    await bench.until(id, "awaiting_input");
    bench.draft = () => planOf(step("one", { input: { what: "a name" } }));
    await bench.goals.answer(id, "there", "operator");
    const { taskId } = await bench.next();
    expect(bench.ports.asks).toEqual(["root"]);
    await bench.report(taskId);
    await bench.until(id, "completed");
  });

  it("by a procedure of the image asks nobody where it acts", async () => {
    bench.draft = () => ({ ...planOf(step("one", { input: { what: "/etc/nginx/site" } })), model: "", declared: true });
    const id = await bench.submit("set the proxy up");
    const { taskId } = await bench.next();
    expect(bench.ports.asks).toEqual(["nothing"]);
    await bench.report(taskId);
    await bench.until(id, "completed");
  });

  it.each([
    ["operator:o", "anything", "nothing"],
    ["schedule:s", "anything", "nothing"],
    ["agent:system", "may", "nothing"],
    ["agent:system", "anything", "everything"],
    ["agent:unknown", "may", "everything"],
  ])("of %s that says %s asks a person about %s", async (source, what, asks) => {
    bench.draft = () => planOf(step("one", { input: { what } }));
    const id = await bench.submit("something", { source });
    const { taskId, description } = await bench.next();
    expect(bench.ports.asks).toEqual([asks]);
    expect(description.includes(source)).toBe(source.startsWith("agent:"));
    await bench.report(taskId);
    await bench.until(id, "completed");
  });
});
