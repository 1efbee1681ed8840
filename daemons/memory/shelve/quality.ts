import { readFileSync } from "node:fs";
import Database from "better-sqlite3";
import { register } from "#lib/data/sqlite";
import { silentLog } from "#lib/log";
import { type Follower, lexicalEmbedding, openArchive, openSearch, openShelf } from "../longterm/index.ts";
import { functions, longterm002, longterm003 } from "../store/migrations/index.ts";

/** Shares, 0–1. */
interface Quality {
  /** How often the first result answers the question. */
  readonly hit1: number;
  /** How often one of the first five does. */
  readonly hit5: number;
  /** Mean of 1 / place of the first answer within ten; 0 when there is none. */
  readonly mrr: number;
  readonly questions: number;
}

interface Question {
  readonly text: string;
  readonly answers: readonly string[];
}

/** "QUESTION => ID | ID" a line; `#` starts a comment. */
export function questionsIn(file: string): Question[] {
  return readFileSync(file, "utf8")
    .split("\n")
    .filter((line) => line.trim() !== "" && !line.startsWith("#"))
    .map((line) => {
      const [text = "", ids = ""] = line.split(" => ");
      return { text, answers: ids.split(" | ").map((id) => id.trim()) };
    });
}

const rankings = ["text", "vectors", "fused"] as const;
type Ranking = (typeof rankings)[number];

/** How well each ranking answers the questions over a shelf. Throws when an answer is no record of it. */
export async function qualityOf(
  shelfFile: string,
  questions: readonly Question[],
): Promise<{ readonly scores: Record<Ranking, Quality>; readonly missed: readonly string[] }> {
  const shelf = openShelf(shelfFile);
  if (shelf === undefined) throw new Error(`there is no shelf at ${shelfFile}`);
  const known = new Set(shelf.all().map(({ id }) => id));
  const unknown = questions.flatMap(({ answers }) => answers).find((id) => !known.has(id));
  if (unknown !== undefined) throw new Error(`${unknown}: no record of the shelf has this id`);
  const database = new Database(":memory:");
  register(database, functions);
  database.exec(longterm002 + longterm003);
  const archive = openArchive({ database, write: async (_what, act) => act() });
  const search = openSearch({
    archive,
    shelf,
    follower: nothingToFollow,
    clock: { monotonic: () => 0 },
    log: silentLog,
  });
  const missed: string[] = [];
  const score = async (ranking: Ranking): Promise<Quality> => {
    const places = await Promise.all(
      questions.map(async ({ text, answers }) => {
        const only = ranking === "fused" ? {} : { only: ranking };
        const { hits } = await search({ text, among: [], count: 10, relevanceMin: 0, ...only });
        const place = hits.findIndex(({ id }) => answers.includes(id)) + 1;
        if (ranking === "fused" && place !== 1) missed.push(`${place || "-"} ${text} (${hits[0]?.id})`);
        return place;
      }),
    );
    const share = (most: number) => places.filter((place) => place >= 1 && place <= most).length / places.length;
    const mrr = places.reduce((sum, place) => sum + (place === 0 ? 0 : 1 / place), 0) / places.length;
    return { hit1: share(1), hit5: share(5), mrr, questions: places.length };
  };
  const scores = { text: await score("text"), vectors: await score("vectors"), fused: await score("fused") };
  shelf.close();
  database.close();
  return { scores, missed };
}

/** The shelf alone is searched: there is no vector server and no other embedding. */
const nothingToFollow: Follower = {
  vectors: () => undefined,
  waiting: () => 0,
  use: () => {},
  embedding: () => lexicalEmbedding,
  suspect: () => {},
  stop: async () => {},
};
