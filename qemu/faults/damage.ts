import { closeSync, openSync, readFileSync, rmSync, statSync, truncateSync, writeFileSync, writeSync } from "node:fs";
import { join, relative } from "node:path";
import { entriesBelow } from "#lib/data/files";
import { between } from "./drawing.ts";

/** A way in which a file comes to harm. */
export interface Damage {
  readonly kind: "emptied" | "torn" | "random" | "missing" | "page";
  /** Path below the folder that is damaged. */
  readonly file: string;
  /** Of a database: which page, from 0. */
  readonly page: number;
}

const pageBytes = 4_096;

/** What is a person's own, and what no program reads again: logs, code that V8 has compiled, what was moved aside. */
const unread = /^overlay\/|(^|\/)(cache|log|lost\+found|reports)(\/|$)|\.aside-/;

/** Every kind of damage to every file below `folder`, databases page by page (sampled). */
export function damagesTo(folder: string, pagesOfEach: number, random: () => number): Damage[] {
  const files = entriesBelow(folder)
    .filter((entry) => entry.isFile())
    .map((entry) => relative(folder, join(entry.parentPath, entry.name)))
    .filter((file) => !unread.test(file) && statSync(join(folder, file)).size > 0);
  return files.flatMap((file) => {
    const whole = (["emptied", "torn", "random", "missing"] as const).map((kind): Damage => ({ kind, file, page: 0 }));
    if (!file.endsWith(".db")) return whole;
    const pages = Math.floor(statSync(join(folder, file)).size / pageBytes);
    const sampled = Array.from({ length: Math.min(pages, pagesOfEach) }, () => between(0, pages - 1, random));
    return [...whole, ...sampled.map((page): Damage => ({ kind: "page", file, page }))];
  });
}

/** Does it. */
export function harm(folder: string, { kind, file, page }: Damage, random: () => number): void {
  const path = join(folder, file);
  const noise = (length: number) => Buffer.from(Array.from({ length }, () => between(0, 255, random)));
  if (kind === "missing") rmSync(path);
  else if (kind === "emptied") truncateSync(path);
  else if (kind === "torn") truncateSync(path, Math.floor(readFileSync(path).length / 2));
  else if (kind === "random") writeFileSync(path, noise(Math.min(statSync(path).size, 65_536)));
  else {
    const descriptor = openSync(path, "r+");
    writeSync(descriptor, noise(pageBytes), 0, pageBytes, page * pageBytes);
    closeSync(descriptor);
  }
}

/** "ledger.db, page 3", for people. */
export const named = ({ kind, file, page }: Damage): string => `${file} ${kind === "page" ? `page ${page}` : kind}`;
