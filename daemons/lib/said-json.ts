/** Where a model's reasoning ends that its server left in the answer. */
const reasoningEnd = /<\/(?:think|thinking|thought|reasoning)>/gi;

/** A block of Markdown; its language is whatever the model calls it. */
const fence = /```[^\n`]*\n([\s\S]*?)```/g;

/**
 * The JSON of a model's answer: without the reasoning before it, the fence around it and the words beside it. A text in which
 * there is no JSON is given back as it is. Who asked for a schema checks what comes of it.
 */
export function saidJson(text: string): string {
  const ends = [...text.matchAll(reasoningEnd)].map(({ index, 0: mark }) => text.slice(index + mark.length));
  const bodies = [text, ...ends];
  const fenced = bodies.toReversed().flatMap((body) => [...body.matchAll(fence)].map(([, inside = ""]) => inside));
  const bare = bodies.map((body) => /[[{][\s\S]*[\]}]/.exec(body)?.[0] ?? "");
  return [...bodies, ...fenced, ...bare].map((part) => part.trim()).find(isJson) ?? text;
}

function isJson(text: string): boolean {
  try {
    JSON.parse(text);
    return true;
  } catch {
    return false;
  }
}
