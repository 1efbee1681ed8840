import type { Message } from "./messages.ts";

/** Part of a prompt. Control tokens are made only from the template's parts, never from what a caller wrote. */
interface Piece {
  readonly text: string;
  /** Which message it is the content of; undefined for the template's own parts. */
  readonly message: number | undefined;
}

export type Render = (items: Record<string, unknown>) => string;

/** The texts of the tokens that begin and end. */
export interface Tokens {
  readonly bos: string;
  readonly eos: string;
}

/** Messages of one conversation at most: each has a mark of its own in the rendered template. */
export const messagesMax = 512;

/** The first of the marks that stand in the rendered template where the messages go. From Unicode's private use area. */
const markFrom = 0xe000;
const marks = new RegExp(
  `[${String.fromCodePoint(markFrom)}-${String.fromCodePoint(markFrom + messagesMax - 1)}]`,
  "g",
);

/**
 * The variables that Transformers gives every template: to one that asks whether tools are "not none" what is missing
 * would be some.
 */
const nothing = { tools: null, documents: null } as const;

/**
 * A conversation in the model's own format, ending where its answer begins.
 * A template that refuses or drops the system role gets the system text at the head of the first question; a model without
 * a template (`render` undefined) gets plain text. Throws when the template refuses the conversation.
 */
export function chatPieces(
  render: Render | undefined,
  tokens: Tokens,
  messages: readonly Message[],
  contentOf: (text: string) => unknown = (text) => text,
): Piece[] {
  if (render === undefined) return plainPieces(messages);
  const marked = messages.map(({ role }, at) => ({ role, content: String.fromCodePoint(markFrom + at) }));
  const rendered = (list: readonly { role: string; content: string }[]) =>
    render({
      messages: list.map(({ role, content }) => ({ role, content: contentOf(content) })),
      ...{ add_generation_prompt: true, bos_token: tokens.bos, eos_token: tokens.eos, ...nothing },
    });
  const [system, first, ...rest] = marked;
  if (system?.role !== "system" || first === undefined) return split(rendered(marked), messages);
  try {
    return split(rendered(marked), messages);
  } catch {
    // The template refuses the role (Gemma's does, by raise_exception) or leaves it out: the other form follows.
    const content = `${system.content}\n\n${first.content}`;
    return split(rendered([{ role: first.role, content }, ...rest]), messages);
  }
}

function plainPieces(messages: readonly Message[]): Piece[] {
  return messages.flatMap(({ content }, message) => [
    { text: content, message },
    { text: "\n", message: undefined },
  ]);
}

/** The rendered template's parts, each mark replaced by the message it stands for. Throws when one is missing. */
function split(rendered: string, messages: readonly Message[]): Piece[] {
  const pieces: Piece[] = [];
  const add = (text: string, message?: number) => {
    if (text !== "") pieces.push({ text, message });
  };
  let from = 0;
  let next = 0;
  for (const { 0: mark, index } of rendered.matchAll(marks)) {
    const at = (mark.codePointAt(0) ?? 0) - markFrom;
    if (at !== next) throw new Error(`the model's chat template has no place for message ${next + 1}`);
    next++;
    add(rendered.slice(from, index));
    add(messages[at]?.content ?? "", at);
    from = index + mark.length;
  }
  if (next !== messages.length) throw new Error(`the model's chat template has no place for message ${next + 1}`);
  add(rendered.slice(from));
  return pieces;
}
