/** What somebody else has written is cut between characters, wherever the limit of its length falls. */
import { describe, expect, it } from "vitest";
import { messageOf } from "#lib/errors";
import { openLog } from "#lib/log";
import { tidy } from "../daemons/gateway/providers/fault.ts";
import { toolNames } from "../daemons/gateway/providers/names.ts";
import { printable } from "../daemons/init/early/screen.ts";
import { parseCapability } from "../daemons/lib/capability.ts";
import { indexText } from "../daemons/memory/words.ts";
import { phaseOf } from "../daemons/orchestrator/goal.ts";
import { goalOf } from "../daemons/orchestrator/goals/records.ts";
import { waitsOf } from "../daemons/orchestrator/goals/waits.ts";
import { unfit } from "../daemons/orchestrator/phrase.ts";
import { noteOf } from "../daemons/orchestrator/plans/decisions.ts";
import { whyNotCovered } from "../daemons/orchestrator/plans/procedures/not-understood.ts";
import { parseTemplate } from "../daemons/orchestrator/template.ts";
import { quote } from "../daemons/runtime/files/gguf-cursor.ts";
import { openRedaction } from "../daemons/tools/access/redaction.ts";
import { extract } from "../daemons/tools/catalogue/web/scrape.ts";
import { resolvePath } from "../daemons/tools/files/paths.ts";
import { resolveHost, resolveUrl } from "../daemons/tools/names.ts";
import { outcome } from "../daemons/tools/pipeline/record.ts";

const goal = (description: string) => ({
  ...goalOf(
    { description, priority: 2, tags: [], metadata: "", source: "operator:o", dependsOn: [], dedupeKey: "" },
    {},
    0,
  ),
  failure: description,
  questions: [{ question: description }],
});
const refusalOf = async (act: () => unknown): Promise<string> => {
  try {
    return JSON.stringify((await act()) ?? "");
  } catch (error) {
    return messageOf(error);
  }
};
const logged = (text: string): string => {
  let line = "";
  openLog(
    "tools",
    "info",
    (said) => (line = said),
    () => 0,
  ).info(text);
  return line;
};
const facts = {
  caller: { kind: "core", name: "console" },
  tool: "t.t",
  executionId: "e",
  agentId: "",
  taskId: "",
  redaction: openRedaction([]),
};
const recorded = (text: string) => {
  const result = { success: true, output: JSON.stringify({ text }), error: text, durationMs: 1 };
  return JSON.stringify(outcome({ ...facts, reason: text, input: JSON.stringify({ text }) } as never, result));
};
const page = (text: string) =>
  extract(Buffer.from(`<title>${text}</title><a href="/x">${text}</a>${text}`), "text/html", "http://a.example/", 300);

/** Where texts of others are shortened, in each daemon. */
const places: Readonly<Record<string, (text: string) => unknown>> = {
  "a capability that is none": (text) => refusalOf(() => parseCapability(text)),
  "a decision": (text) => noteOf(text, [{ source: "s", level: "tactical", verdict: text }], { reason: text }, 0),
  "a goal that is not understood": (text) => whyNotCovered(text, []),
  "a goal that waits": (text) => waitsOf({ ...goal(text), state: "awaiting_input" }),
  "a goal's phase": (text) => phaseOf(goal(text)),
  "a host that is none": (text) => refusalOf(() => resolveHost(text)),
  "a line of the log": logged,
  "a line of the screen": printable,
  "a model file's key": quote,
  "a path that is none": (text) => refusalOf(() => resolvePath(text)),
  "a provider's error": (text) => tidy(text, undefined),
  "a template that is none": (text) => refusalOf(() => parseTemplate(`{${text}`)),
  "a text of a page": page,
  "a tool's name": (text) => toolNames([{ name: text, description: "", schema: {} } as never]),
  "a URL that is none": (text) => refusalOf(() => resolveUrl(text)),
  "a value that does not fit": (text) => unfit("number", text),
  "an entry of the ledger": recorded,
  "words of an index": indexText,
};

describe("of characters outside the BMP", () => {
  it.each(Object.entries(places))("none is cut in half by %s", async (_, shorten) => {
    // One text has them at even places, the other at odd ones: each limit falls into one of the two.
    for (const before of ["", "a"]) {
      for (const length of [10, 64, 500, 20_000]) {
        const text = `${before}${"😀".repeat(length)}`;
        const shown = JSON.stringify(await shorten(text)) ?? "";
        // JSON writes half a character as an escape; U+FFFD is what becomes of one on the wire.
        expect(shown).not.toMatch(/(?:^|[^\\])(?:\\\\)*\\ud[89a-f]|\uFFFD/);
      }
    }
  });
});
