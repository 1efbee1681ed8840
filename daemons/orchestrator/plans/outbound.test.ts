// biome-ignore-all lint/suspicious/noTemplateCurlyInString: these are templates of plans, not of TypeScript

import { expect, it } from "vitest";
import type { Goal } from "../goal.ts";
import type { JsonObject } from "../json.ts";
import { openBench, planOf, step } from "../testing/goals-bench.ts";
import { sendsOut } from "./outbound.ts";

const goalOf = (round: number, model: string, done: boolean): Pick<Goal, "plan" | "tasks"> =>
  ({ plan: { round, model }, tasks: done ? [{ state: "completed" }] : [] }) as unknown as Goal;
const [first, later, laterUnread] = [goalOf(0, "m", true), goalOf(1, "m", true), goalOf(1, "m", false)];
const url = "https://said.example/in";

it.each([
  ["a body of a file", first, "web.http_request", { url, body: "x: ${read.content}" }, true],
  ["a header of a file", first, "web.http_request", { url, headers: { "x-a": "${read.content}" } }, true],
  ["a body that was planned before anything was read", first, "web.http_request", { url, body: "hello" }, false],
  ["a body that was written after something was read", later, "web.http_request", { url, body: "aGVsbG8=" }, true],
  ["a body of a plan after a failure, with nothing read", laterUnread, "web.http_request", { url, body: "x" }, false],
  ["no body", later, "web.http_request", { url }, false],
  ["a push of a later plan", later, "git.push", { path: "/srv/r" }, true],
  ["a push of a first plan", first, "git.push", { path: "/srv/r" }, false],
  ["a body to the machine itself", first, "web.http_request", { url: "http://127.0.0.1:80/", body: "${a.b}" }, false],
  ["what is written to a file", later, "fs.write", { path: "/a", content: "${a.b}" }, false],
] satisfies [string, typeof first, string, JsonObject, boolean][])(
  "%s: whether a person is asked",
  (_, goal, tool, template, asked) => {
    expect(sendsOut(goal, { tool, template })).toBe(asked);
  },
);

it("a task that sends what another has read is lent its grants on condition that a person is asked", async () => {
  const bench = await openBench();
  const asked: unknown[] = [];
  const { grant } = bench.ports.tools;
  bench.ports.tools.grant = async (wanted) => {
    asked.push([wanted.capabilities[0], wanted.ask]);
    await grant(wanted);
  };
  const sending = { tool: "web.http_request", needs: ["one"], input: { url, body: "${one.said}" } };
  bench.draft = () => planOf(step("one"), step("two", sending));
  const id = await bench.submit("send one there");
  await bench.report((await bench.next()).taskId);
  await bench.report((await bench.next()).taskId);
  await bench.until(id, "completed");
  await bench.close();
  expect(asked).toEqual([
    ["fs:say:one", "nothing"],
    [`web:request:${url}`, "changes"],
  ]);
});
