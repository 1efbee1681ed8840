import { readdirSync, readFileSync } from "node:fs";
import { parse } from "smol-toml";
import type { LongRecord } from "../longterm/index.ts";

const knowledge = (id: string, title: string, body: string, source: string): LongRecord => ({
  collection: "knowledge",
  id,
  title,
  body,
  metadata: { title, source },
  storedAt: 0,
});

/** Each "## " section of the help's files is a passage of its own, found by its heading. */
export function helpRecords(folder: string): LongRecord[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".md"))
    .sort()
    .flatMap((file) => {
      const [, ...sections] = readFileSync(`${folder}/${file}`, "utf8").split(/^## /m);
      return sections.map((section) => {
        const [heading = "", ...lines] = section.split("\n");
        return knowledge(
          `help/${file.slice(0, -3)}#${slug(heading)}`,
          heading.trim(),
          lines.join("\n").trim(),
          "product help",
        );
      });
    });
}

interface Schema {
  readonly description?: string;
  readonly required?: readonly string[];
  readonly properties?: Readonly<Record<string, Schema>>;
}

/** As daemons/tools/reference.ts prints them. */
interface ToolReference {
  readonly name: string;
  readonly summary: string;
  readonly effect: string;
  readonly undo: boolean;
  readonly irreversible: string;
  readonly callers: readonly string[];
  readonly input: Schema;
  readonly output: Schema;
}

export function toolRecords(tools: readonly ToolReference[]): LongRecord[] {
  return tools.map((tool) => {
    // What most tools have in common is not said: of a passage that is found by all of its words they hide the others.
    const lines = [
      tool.summary,
      tool.callers.includes("agent") ? "" : "Agents may not call it.",
      fields("Input", tool.input),
      fields("Output", tool.output),
      tool.effect === "read" || tool.undo ? "" : `It cannot be taken back: ${tool.irreversible}.`,
    ];
    const body = lines.filter((line) => line !== "").join("\n");
    return knowledge(`tool/${tool.name}`, `Tool ${tool.name}`, body, "tool reference");
  });
}

/** "Input: path (an absolute path), recursive? (also a folder that is not empty)" */
function fields(what: string, { properties = {}, required = [] }: Schema): string {
  const names = Object.entries(properties).map(([name, { description }]) => {
    const mark = required.includes(name) ? "" : "?";
    return `${name}${mark}${description === undefined ? "" : ` (${description})`}`;
  });
  return names.length === 0 ? "" : `${what}: ${names.join(", ")}`;
}

/** As daemons/ctl/reference.ts prints them. */
interface CommandReference {
  readonly name: string;
  readonly summary: string;
  readonly help: string;
}

export function commandRecords(commands: readonly CommandReference[]): LongRecord[] {
  return commands.map(({ name, help }) =>
    knowledge(`command/${name.replaceAll(" ", "-")}`, `Command aiosctl ${name}`, help.trim(), "command reference"),
  );
}

/** Each table of a configuration file, with its comments. */
export function settingRecords(rootfs: string, files: readonly string[]): LongRecord[] {
  return files.flatMap((file) => {
    const tables = readFileSync(`${rootfs}/${file}`, "utf8").split(/^(?=\[)/m);
    return tables.slice(1).map((text) => {
      const name = /^\[\[?([^\]]+)\]/.exec(text)?.[1] ?? "";
      return knowledge(`setting/${file}#${slug(name)}`, `Settings [${name}] in /${file}`, text.trim(), "configuration");
    });
  });
}

interface ProcedureFile {
  readonly procedure: { readonly summary: string; readonly phrases: readonly string[] };
  readonly steps: readonly { readonly description?: string; readonly tool: string; readonly agent: string }[];
}

export function procedureRecords(folder: string): LongRecord[] {
  return readdirSync(folder)
    .filter((file) => file.endsWith(".toml"))
    .sort()
    .map((file) => {
      const { procedure, steps } = parse(readFileSync(`${folder}/${file}`, "utf8")) as unknown as ProcedureFile;
      const name = file.slice(0, -5);
      const body = [
        procedure.summary,
        `Goals that start it: ${procedure.phrases.join("; ")}.`,
        ...steps.map(({ description = "", tool, agent }, at) => `${at + 1}. ${description} (${tool}, agent ${agent})`),
      ].join("\n");
      const metadata = { name, source: `/etc/aios/procedures/${file}`, tools: steps.map(({ tool }) => tool) };
      return { collection: "procedures", id: `image/${name}`, title: `Procedure ${name}`, body, metadata, storedAt: 0 };
    });
}

/** A manual page as plain text. */
export interface Manual {
  /** "ip(8)". */
  readonly name: string;
  readonly text: string;
  /** The Debian package it is from. */
  readonly package: string;
}

export function manualRecords(manuals: readonly Manual[]): LongRecord[] {
  return manuals.map(({ name, text, package: from }) =>
    knowledge(`manual/${name}`, `Manual ${name}`, text, `manual page of Debian's package ${from}`),
  );
}

const slug = (text: string) =>
  text
    .toLowerCase()
    .replace(/[^a-z0-9]+/g, "-")
    .replace(/^-|-$/g, "");
