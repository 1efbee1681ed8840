import { expect, it } from "vitest";
import type { ParameterType } from "../daemons/orchestrator/phrase.ts";
import { planCheck } from "../daemons/orchestrator/plans/check-plan.ts";
import { planByProcedure } from "../daemons/orchestrator/plans/procedures/procedure-source.ts";
import { readProcedures } from "../daemons/orchestrator/plans/procedures/procedures.ts";
import { fillObject, textsIn } from "../daemons/orchestrator/template.ts";
import type { ToolFacts } from "../daemons/orchestrator/tools.ts";
import { randomFrom } from "../daemons/tools/testing/random.ts";
import { catalogueTools } from "./catalogue.ts";

const { procedures } = readProcedures(new URL("../rootfs/etc/aios/procedures", import.meta.url).pathname);
const tools: ReadonlyMap<string, ToolFacts> = new Map(
  (await catalogueTools()).map((tool) => [
    tool.name,
    { ...tool, input: tool.input as unknown as ToolFacts["input"], outputs: [] } as ToolFacts,
  ]),
);
const check = planCheck({ find: async (tool) => tools.get(tool), covers: () => true });

const words =
  `a an the me now please to from with content and or then it's "b" 'c' (d) [e] {f} g. h, i! j? k; l: 名前 😀 é -x 0 now. please, NOW Please A to. to/ with; into named on for “x” ‘y’ — … now\u00a0then \u3000x x\u200by {path} (x) .. ... \\n`.split(
    " ",
  );

/** What people call things, of one seed. */
function namesOf(seed: number) {
  const random = randomFrom(seed);
  const one = <T>(all: readonly T[]): T => all[random(all.length)] as T;
  const some = (separators: readonly string[]) => {
    const parts = Array.from({ length: 1 + random(4) }, () => one(words));
    return parts.reduce((text, part) => text + one(separators) + part);
  };
  const values: Readonly<Record<ParameterType, () => string>> = {
    path: () => `/${some([" ", "  ", "/", "-", ".", ""])}`,
    text: () => some([" ", "  ", ", ", ". "]),
    name: () => one(["now", "please", "a", "the", "me", "a-team", "nginx", "now.service", "an_x", "to", "g++", "with"]),
    number: () => String(1 + random(65_535)),
    remote: () =>
      one(["git@the.example:a/now.git", "/srv/a-please/to", "https://a.example/me", "ssh://git@b.example/c"]),
    pattern: () => one(["*.log", "now", "a", "to.?", "[ab]*"]),
    url: () => one(["http://127.0.0.1:8081/a?b=c", "https://the.example/now", "https://a.example"]),
  };
  /** As it is typed: as it is, or in quotes that it does not hold itself. */
  const typed = (value: string) => {
    // A path of several words is one value only in quotes.
    const bare = /^\/.*\s/.test(value) ? [] : [""];
    const marks = [...bare, '"', "'"].filter((mark) => mark === "" || !value.includes(mark));
    const mark = one(marks);
    return marks.length === 0 ? `"${value.replaceAll('"', "")}"` : mark + value + mark;
  };
  const polite = () => one(["", "", " now", " please", " now please"]);
  return { value: (type: ParameterType) => values[type](), typed, polite };
}

/** Quotes that enclose the whole are none of it. */
const meant = (typed: string) => /^"([^"]*)"$/.exec(typed)?.[1] ?? /^'([^']*)'$/.exec(typed)?.[1] ?? typed;

it("what is said reaches the tools as it was said, or the goal is not planned: every phrase, names of every kind", async () => {
  let planned = 0;
  for (let seed = 1; seed <= 25; seed += 1) {
    const { value, typed, polite } = namesOf(seed);
    for (const { name, phrases, parameters } of procedures) {
      for (const phrase of phrases) {
        const said = Object.fromEntries(phrase.parameters.map((key) => [key, typed(value(parameters[key] ?? "text"))]));
        const ends = /\{(\w+)\}$/.exec(phrase.text)?.[1];
        const tail = ends !== undefined && parameters[ends] === "text" ? "" : polite();
        const goal = phrase.text.replaceAll(/\{(\w+)\}/g, (_, key: string) => said[key] ?? "") + tail;
        const draft = planByProcedure(goal, procedures);
        if (!("steps" in draft)) continue;
        const objective = { goalId: "g", description: goal, answers: [], done: [], failure: "" };
        if ((await check(draft, objective)).length > 0) continue;
        planned += 1;
        expect(draft.procedure, goal).toBe(name);
        for (const [key, raw] of Object.entries(said)) {
          const reached = draft.unsure?.[key] ?? String(draft.parameters[key]);
          const beside = reached.endsWith(`/${meant(raw)}`);
          expect(beside ? meant(raw) : reached, `${key} of: ${goal}`).toBe(meant(raw));
        }
        // Nothing but what was said, declared or given by a step is in what tools are called with.
        for (const { input } of draft.steps.filter(
          (step) => !textsIn(step.input).some((text) => text.includes("${")),
        )) {
          expect(() => fillObject(input, { parameters: draft.parameters, steps: {} })).not.toThrow();
        }
      }
    }
  }
  // Refusing everything would keep the rule too.
  expect(planned).toBeGreaterThan(2_000);
});
