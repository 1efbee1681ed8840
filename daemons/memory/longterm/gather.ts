import { cut } from "#lib/text";
import type { Operational } from "../operational.ts";
import { finalStatuses } from "../records.ts";
import type { Snapshot } from "../snapshot.ts";
import type { Working } from "../working/index.ts";
import type { Piece, Tier } from "./context.ts";
import { cosine } from "./embedding.ts";
import { lexicalVector } from "./lexical.ts";
import type { Collection } from "./records.ts";
import type { Search } from "./search.ts";

/** How many of each kind are looked at, the newest. */
const eventsMax = 200;
const goalsMax = 50;
const tasksMax = 100;
const decisionsMax = 50;
const failuresMax = 50;
const searchedMax = 40;

/** The least relevance of what goes on now, whatever the task is called. */
const currentLeast = 0.2;

/** Below this a piece has nothing to do with the task. */
const relevanceMin = 0.08;

/** Characters of one piece of the operational and working memory. */
const pieceLengthMax = 1_200;

const collectionsOf = {
  longterm: ["decisions", "incidents", "procedures", "config_changes"],
  knowledge: ["knowledge"],
} as const satisfies Partial<Record<Tier, readonly Collection[]>>;

export interface Sources {
  readonly operational: Operational;
  readonly working: Working;
  readonly load: () => Snapshot;
  readonly loadedModels: () => Promise<string[]>;
  readonly clock: { now(): number };
  readonly search: Search;
}

interface Gathered {
  readonly snapshot: Piece | undefined;
  readonly pieces: Piece[];
  /** Why something may be lacking; "" when nothing is. */
  readonly note: string;
}

/**
 * Collects what the asked tiers have on a task. Relevance: of what is searched see relevanceOf; of the rest the cosine of the
 * lexical vectors, and at least 0.2 for goals and tasks that are not over and for critical events.
 */
export async function gather(sources: Sources, task: string, asked: readonly Tier[]): Promise<Gathered> {
  const has = (tier: Tier) => asked.includes(tier);
  const near = nearnessTo(task);
  const found = await Promise.all(
    (["longterm", "knowledge"] as const).filter(has).map(async (tier) => {
      const query = { text: task, among: collectionsOf[tier], count: searchedMax, relevanceMin, pieces: true };
      return { tier, ...(await sources.search(query)) };
    }),
  );
  const searched = found.flatMap(({ tier, hits }) =>
    hits.map(({ collection, id, title, body, relevance }): Piece => {
      const content = title === "" || body.startsWith(title) ? body : `${title}\n${body}`;
      return { tier, collection, id, content, relevance };
    }),
  );
  const pieces = [
    ...(has("operational") ? events(sources.operational, near) : []),
    ...(has("working") ? workingPieces(sources.working, near) : []),
    ...searched,
  ];
  return {
    snapshot: has("operational") ? await snapshotOf(sources) : undefined,
    pieces: pieces.filter(({ relevance }) => relevance >= relevanceMin),
    note: found.find(({ note }) => note !== "")?.note ?? "",
  };
}

type Nearness = (text: string, least?: number) => number;

function nearnessTo(task: string): Nearness {
  const vector = lexicalVector(task);
  return (text, least = 0) => Math.min(1, Math.max(least, cosine(vector, lexicalVector(text))));
}

async function snapshotOf({ load, working, loadedModels, clock }: Sources): Promise<Piece> {
  const now = load();
  const { tasks, agents } = working.activity();
  const models = await loadedModels();
  const gb = (megabytes: number) => (megabytes / 1024).toFixed(1);
  const gpus = now.gpuUtilization > 0 ? `, graphics processors ${Math.round(now.gpuUtilization)} % busy` : "";
  const content = [
    `The machine at ${new Date(clock.now()).toISOString().slice(0, 19)}Z: processors ${Math.round(now.cpuPercent)} % busy${gpus},`,
    `memory ${gb(now.memoryUsedMb)} of ${gb(now.memoryTotalMb)} GiB used,`,
    `disk ${now.diskUsedGb.toFixed(1)} of ${now.diskTotalGb.toFixed(1)} GiB used,`,
    `${tasks} tasks in work by ${agents} agents, models loaded: ${models.join(", ") || "none"}.`,
  ].join(" ");
  return { tier: "operational", collection: "snapshot", id: "", content, relevance: 1 };
}

function events(operational: Operational, near: Nearness): Piece[] {
  return operational.recent(eventsMax, "", "").map(({ id, timestamp, category, source, dataJson, critical }) => {
    const content = cut(
      `${moment(timestamp)} ${category} from ${source}: ${dataJson.toString("utf8")}`,
      pieceLengthMax,
    );
    return {
      tier: "operational",
      collection: "events",
      id,
      content,
      relevance: near(content, critical ? currentLeast : 0),
    };
  });
}

function workingPieces(working: Working, near: Nearness): Piece[] {
  const piece = (collection: string, id: string, text: string, current = false): Piece => {
    const content = cut(text, pieceLengthMax);
    return { tier: "working", collection, id, content, relevance: near(content, current ? currentLeast : 0) };
  };
  const over = (status: string) => finalStatuses.includes(status);
  const goals = working.goals("", goalsMax, "").rows.map(({ id, description, status, result, createdAt }) => {
    const outcome = result === "" ? "" : `: ${result}`;
    return piece("goals", id, `Goal of ${moment(createdAt)}, ${status}: ${description}${outcome}`, !over(status));
  });
  const tasks = working
    .listTasks({ goalId: "", status: "", agent: "" }, tasksMax, "")
    .rows.map(({ id, description, status, agent, error, outputJson }) => {
      const outcome = error || outputJson.toString("utf8");
      return piece(
        "tasks",
        id,
        `Task of ${agent || "nobody yet"}, ${status}: ${description}\n${outcome}`,
        !over(status),
      );
    });
  const always = { since: 0, until: 0 };
  const decisions = working
    .decisions({ intelligenceLevel: "", outcome: "", ...always }, decisionsMax, "")
    .rows.map(({ id, context, chosen, reasoning, outcome }) =>
      piece(
        "decisions",
        id,
        `Decision on ${context}: ${chosen}, because ${reasoning}${outcome && `. Outcome: ${outcome}`}`,
      ),
    );
  const failures = working
    .toolCalls({ taskId: "", agent: "", toolName: "", success: false, ...always }, failuresMax, "")
    .rows.map(({ id, toolName, agent, reason, timestamp, outputJson }) =>
      piece(
        "tool_calls",
        id,
        `${moment(timestamp)} ${toolName} by ${agent} failed: ${reason} ${outputJson.toString("utf8")}`,
      ),
    );
  return [...goals, ...tasks, ...decisions, ...failures];
}

const moment = (timestamp: number) => new Date(timestamp).toISOString().slice(0, 19).replace("T", " ");
