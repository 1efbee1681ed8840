import type { ToolFacts } from "../tools.ts";
import { wordsOf } from "./procedures/index.ts";

/** People's words for what tools are called. */
const synonyms: Readonly<Record<string, readonly string[]>> = {
  install: ["pkg"],
  uninstall: ["pkg", "remove"],
  package: ["pkg"],
  software: ["pkg"],
  folder: ["fs", "directory", "mkdir"],
  directory: ["fs", "mkdir"],
  file: ["fs"],
  repo: ["git"],
  repository: ["git"],
  port: ["net", "firewall", "check_port"],
  website: ["web", "net", "http_request"],
  url: ["web", "net", "http_request"],
  proxy: ["service", "net", "fs"],
  server: ["service", "net"],
  daemon: ["service"],
  configure: ["fs", "write", "service"],
  configuration: ["config", "fs"],
  block: ["firewall", "deny"],
  open: ["firewall", "allow"],
  ram: ["memory"],
  space: ["disk", "storage"],
  watch: ["monitor"],
  snapshot: ["backup", "storage"],
  save: ["fs", "write", "backup"],
  run: ["process", "service"],
  command: ["process"],
};

/**
 * The tools that a goal is most likely done with, at most `most`, the likeliest first: those whose names and summaries
 * share the goal's words. A small model is shown no more than it can hold.
 */
export function chooseTools(description: string, tools: readonly ToolFacts[], most: number): readonly ToolFacts[] {
  if (tools.length <= most) return tools;
  const said = wordsOf(description);
  const wanted = new Set([...said, ...said.flatMap((word) => synonyms[word] ?? [])]);
  const scored = tools.map((tool, at) => ({ tool, at, score: scoreOf(tool, wanted) }));
  return scored
    .toSorted((a, b) => b.score - a.score || a.at - b.at)
    .slice(0, most)
    .map(({ tool }) => tool);
}

function scoreOf({ name, summary }: ToolFacts, wanted: ReadonlySet<string>): number {
  const count = (words: readonly string[]) => words.filter((word) => wanted.has(word)).length;
  const [namespace = "", verb = ""] = name.split(".");
  return (
    4 * count([verb]) + 3 * count([namespace]) + 2 * count(verb.split("_")) + count([...new Set(wordsOf(summary))])
  );
}
