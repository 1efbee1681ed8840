import { cut } from "#lib/text";
import { type ContextPiece, MemoryQueryService, type SearchStatusResponse } from "#proto/aios/memory_query";
import { type Command, type Context, exit, text, UsageError, wholeNumber } from "../command.ts";
import { fromBytes } from "../out.ts";

const query = (context: Context) => context.target().client(MemoryQueryService, "memory");

/** The strings of an option that may be given again. */
function strings(context: Context, option: string): string[] {
  const given = context.values[option];
  return Array.isArray(given) ? given.map(String) : [];
}

export const memorySearch: Command = {
  name: "memory search",
  summary: "search what the machine knows: incidents, decisions, procedures, changes, knowledge, its own help",
  usage: "TEXT [--collection NAME]... [--limit N] [--min-relevance SHARE]",
  args: [1, 1],
  options: {
    collection: {
      type: "string",
      short: "c",
      value: "NAME",
      multiple: true,
      about: "decisions, incidents, procedures, config_changes or knowledge; may be given again (all)",
    },
    limit: { type: "string", short: "n", value: "N", about: "so many (5)" },
    "min-relevance": { type: "string", value: "SHARE", about: "nothing less relevant, 0 to 1 (0)" },
  },
  examples: [
    'aiosctl memory search "the disk is full"',
    'aiosctl memory search "who changed the dns servers" --collection config_changes',
    "aiosctl memory search \"roll back a change\" --json | jq -r '.results[0].content'",
  ],
  async run(context) {
    const { out } = context;
    const answer = await query(context).search({
      query: context.args[0] ?? "",
      collections: strings(context, "collection"),
      nResults: wholeNumber(context, "limit", 1, 100) ?? 5,
      minRelevance: share(context, "min-relevance") ?? 0,
    });
    if (answer.results.length === 0) out.line("nothing was found");
    for (const { content, metadataJson, relevance, collection, id } of answer.results) {
      const { title = "" } = (fromBytes(metadataJson) ?? {}) as { title?: string };
      out.line(`${relevance.toFixed(2)}  ${title || id}  (${collection})`);
      for (const line of shorten(content).split("\n")) out.line(`      ${line}`);
      out.line();
    }
    if (answer.note !== "") out.note(answer.note);
    out.document(answer);
    return exit.ok;
  },
};

export const memoryContext: Command = {
  name: "memory context",
  summary: "what an agent would be told before a task",
  usage: "TASK [--tokens N] [--tier NAME]...",
  args: [1, 1],
  options: {
    tokens: { type: "string", short: "t", value: "N", about: "at most so many tokens (4000)" },
    tier: {
      type: "string",
      value: "NAME",
      multiple: true,
      about: "operational, working, longterm or knowledge; may be given again (all)",
    },
  },
  examples: [
    'aiosctl memory context "clean up old log files"',
    'aiosctl memory context "why is the disk full" --tier longterm --tier knowledge --tokens 1000 --json',
  ],
  async run(context) {
    const { out } = context;
    const answer = await query(context).gatherContext({
      taskDescription: context.args[0] ?? "",
      maxTokens: wholeNumber(context, "tokens", 1, 200_000) ?? 4_000,
      memoryTiers: strings(context, "tier"),
    });
    for (const piece of answer.pieces) {
      out.line(headOf(piece));
      for (const line of (piece.chunk?.content ?? "").split("\n")) out.line(`  ${line}`);
      out.line();
    }
    out.line(
      `${answer.totalTokens} tokens${answer.estimated ? ", estimated: the runtime's tokenizer did not answer" : ""}`,
    );
    if (answer.note !== "") out.note(answer.note);
    out.document(answer);
    return exit.ok;
  },
};

export const memoryIndex: Command = {
  name: "memory index",
  summary: "how the search is: its embedding, its vector server, what waits for vectors",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl memory index", "aiosctl memory index --json | jq .vectorsReady"],
  async run(context) {
    const status = await query(context).searchStatus({});
    for (const line of statusLines(status)) context.out.line(line);
    context.out.document(status);
    return exit.ok;
  },
};

function statusLines({
  vectorsReady,
  detail,
  embedding,
  chunks,
  waiting,
  shelfChunks,
}: SearchStatusResponse): string[] {
  return [
    `vectors  ${vectorsReady ? "ready" : "not ready"}: ${detail}`,
    `made by  ${embedding}`,
    `pieces   ${chunks} of this machine, ${waiting} of them wait for a vector; ${shelfChunks} of the image`,
  ];
}

function headOf({ chunk, collection, id }: ContextPiece): string {
  const from = collection === "snapshot" ? collection : `${collection} ${id}`;
  return `${(chunk?.relevance ?? 0).toFixed(2)}  ${chunk?.source}: ${from}  (${chunk?.tokens} tokens)`;
}

/** The value of an option that is a share. Throws UsageError. */
function share(context: Context, option: string): number | undefined {
  const given = text(context, option);
  if (given === undefined) return undefined;
  const value = Number(given);
  if (given.trim() !== "" && value >= 0 && value <= 1) return value;
  throw new UsageError(`--${option} ${given}: expected a number from 0 to 1`);
}

/** Characters of a result that people are shown. */
const shownLength = 400;

function shorten(content: string): string {
  return cut(content, shownLength);
}
