import { indexText } from "../../words.ts";
import { journal001 } from "./journal-001-first.ts";
import { longterm001 } from "./longterm-001-first.ts";
import { longterm002 } from "./longterm-002-search.ts";
import { longterm003 } from "./longterm-003-words.ts";
import { longterm004 } from "./longterm-004-words.ts";
import { working001 } from "./working-001-first.ts";
import { working002 } from "./working-002-patterns.ts";
import { working003 } from "./working-003-words.ts";
import { working004 } from "./working-004-words.ts";

/** The schemas, step by step. A step that has been released is never changed. */
export const workingMigrations: readonly string[] = [working001, working002, working003, working004];
export const journalMigrations: readonly string[] = [journal001];
export const longtermMigrations: readonly string[] = [longterm001, longterm002, longterm003, longterm004];

/** SQL functions that the schemas call: their databases are opened with them. */
export const functions = { words: indexText } as const;
