/**
 * A pattern is as good as Wilson's lower bound says (one-sided 90 %): one success of one counts 0.38, ten of ten 0.86.
 * `min_success_rate` is compared with that, not with the rate.
 */
import type { Pattern } from "../records.ts";
import { type Page, pager, type Store, select, type Table, unknownError, upsert } from "../store/index.ts";
import { queryOf } from "../words.ts";
import { fullWordsOf, similarity } from "./similarity.ts";

/** Acts by situation, and how often each was right. */
export interface Patterns {
  /** Adds a pattern, or replaces the one with its id. */
  putPattern(pattern: Pattern): Promise<void>;
  /**
   * The pattern whose trigger is most like `trigger` among those that succeed, with the certainty that their uses give, at
   * least at `minSuccessRate`: by the lower bound of {@link wilsonLowerBound}. Of equally similar ones the surer.
   */
  findPattern(trigger: string, minSuccessRate: number): Pattern | undefined;
  /** Counts one more use; nothing is lost when many do at once. NOT_FOUND when there is no such pattern. */
  countUse(id: string, success: boolean, nowMs: number): Promise<void>;
  /** The last used first; those that came from one goal or task, or (empty) all. */
  patterns(createdFrom: string, limit: number, cursor: string): Page<Pattern>;
}

const patternTable: Table = {
  name: "patterns",
  columns: ["id", "trigger", "action", "success_rate", "uses", "last_used", "created_from"],
};

/** Triggers less alike than this are different situations. */
const similarityMin = 0.45;

/** Patterns that share a word with the trigger and are compared with it, the best by text rank. */
const comparedMax = 100;

/** Words of a trigger that are looked for; a longer one is a document. */
const wordsMax = 64;

export function openPatterns({ database, write }: Store): Patterns {
  const put = upsert<Pattern>(database, patternTable);
  const count = database.prepare(
    `UPDATE patterns SET success_rate = (success_rate * uses + @success) / (uses + 1.0), uses = uses + 1,
       last_used = max(last_used, @now) WHERE id = @id`,
  );
  const candidates = database.prepare<[string], Pattern>(
    `${select(patternTable)} JOIN pattern_words ON pattern_words.rowid = patterns.rowid
     WHERE pattern_words MATCH ? ORDER BY bm25(pattern_words) LIMIT ${comparedMax}`,
  );
  const page = pager<Pattern>(database, { select: select(patternTable), order: ["last_used", "id"], descending: true });
  return {
    putPattern: (pattern) => write(`pattern ${pattern.id}`, () => put(pattern)),
    findPattern(trigger, minSuccessRate) {
      const words = fullWordsOf(trigger).slice(0, wordsMax);
      if (words.length === 0) return undefined;
      const any = words.map(queryOf).join(" OR ");
      const [best] = candidates
        .all(any)
        .map((pattern) => ({
          pattern,
          likeness: similarity(trigger, pattern.trigger),
          sure: wilsonLowerBound(pattern.successRate, pattern.uses),
        }))
        .filter(({ likeness, sure }) => likeness >= similarityMin && sure >= minSuccessRate)
        .sort((a, b) => b.likeness - a.likeness || b.sure - a.sure || b.pattern.lastUsed - a.pattern.lastUsed);
      return best?.pattern;
    },
    countUse: (id, success, now) =>
      write(`pattern ${id}`, () => {
        if (count.run({ id, success: Number(success), now }).changes === 0) throw unknownError("pattern", id);
      }),
    patterns: (createdFrom, limit, cursor) => page([["created_from = ?", createdFrom]], limit, cursor),
  };
}

/** One-sided 90 %: nine of ten patterns are in truth at least as good as their bound says. */
const z = 1.2816;

/**
 * The reliability of a pattern that succeeded at `rate` in `uses` uses: Wilson's lower bound. 0 without a use; 0.38 for
 * one of one, 0.75 for five of five, 0.86 for ten of ten, 0.98 for a hundred of a hundred.
 */
export function wilsonLowerBound(rate: number, uses: number): number {
  if (uses <= 0) return 0;
  const square = z * z;
  const middle = rate + square / (2 * uses);
  const spread = z * Math.sqrt((rate * (1 - rate)) / uses + square / (4 * uses * uses));
  return Math.max(0, (middle - spread) / (1 + square / uses));
}
