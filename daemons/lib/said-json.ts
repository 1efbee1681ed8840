/** Where a model's reasoning ends that its server left in the answer. */
const reasoningEnd = /<\/(?:think|thinking|thought|reasoning)>/gi;

/** At most this many of them are looked behind, from the last: a text may consist of nothing else. */
const endsMax = 3;

/** A block of Markdown; its language is whatever the model calls it. */
const fence = /```[^\n`]*\n([\s\S]*?)```/g;

/**
 * The JSON of a model's answer: without the reasoning before it, the fence around it and the words beside it. A text in which
 * there is no JSON is given back as it is. Who asked for a schema checks what comes of it.
 */
export function saidJson(text: string): string {
  const marks = [...text.matchAll(reasoningEnd)].slice(-endsMax);
  const ends = marks.map(({ index, 0: mark }) => text.slice(index + mark.length));
  const bodies = [text, ...ends];
  const fenced = bodies.toReversed().flatMap((body) => [...body.matchAll(fence)].map(([, inside = ""]) => inside));
  const bare = bodies.map(betweenBrackets);
  return [...bodies, ...fenced, ...bare].map((part) => part.trim()).find(isJson) ?? text;
}

/** From the first bracket to the last; empty where there are none. A pattern would look from each bracket to the end. */
function betweenBrackets(text: string): string {
  const last = Math.max(text.lastIndexOf("]"), text.lastIndexOf("}"));
  const first = text.search(/[[{]/);
  return first < 0 ? "" : text.slice(first, last + 1);
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
