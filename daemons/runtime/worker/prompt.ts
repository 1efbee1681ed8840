import { messageOf } from "#lib/errors";
import { ending } from "#lib/text";
import { type Chat, chatForm, chatPieces, type Message } from "../between/index.ts";
import type { Binding, Model } from "./binding.ts";
import { Refusal } from "./refusal.ts";

export interface Prompt {
  readonly tokens: Uint32Array;
  /** Tokens left out to make it fit. */
  readonly droppedTokens: number;
}

/** Makes tokens of conversations. */
interface Prompter {
  /** INVALID_ARGUMENT with both counts when it does not fit the context with room for an answer and may not be cut. */
  prompt(chat: Chat, answerTokens: number): Prompt;
  /** Tokens of a conversation, however many. INVALID_ARGUMENT when it is far larger than any context. */
  count(chat: Chat): number;
}

/** No token of a vocabulary is longer, bytes: a conversation longer than context × this is not read to know that it does not fit. */
const tokenBytesMax = 256;

/** The part of a context that a cut prompt leaves for the answer at most. */
const answerShare = 0.5;

interface PromptPart {
  readonly tokens: readonly number[];
  readonly message: number | undefined;
}

/** `tell` hears of a chat template that is not used as it is. */
export function openPrompter(
  binding: Binding,
  model: Model,
  template: string,
  contextTokens: number,
  tell: (message: string) => void,
): Prompter {
  const compile = (text: string) => {
    const renderer = new binding.AddonJinjaRenderer(text);
    return (items: Record<string, unknown>) => renderer.render(items);
  };
  const name = (token: number) => (token >= 0 ? model.getTokenString(token) : "");
  const marks = { bos: name(model.tokenBos()), eos: name(model.tokenEos()) };
  const isToken = (text: string) => model.tokenize(text, true).length === 1;
  const { render, content } = chatForm(template, compile, marks, isToken, tell);
  const bytesMax = contextTokens * tokenBytesMax;

  const read = (messages: readonly Message[]): PromptPart[] => {
    const parts: PromptPart[] = pieces(messages).map(({ text, message }) => ({
      tokens: [...model.tokenize(text, message === undefined)],
      message,
    }));
    const first = parts.find(({ tokens }) => tokens.length > 0)?.tokens[0];
    if (!model.shouldPrependBosToken() || first === model.tokenBos()) return parts;
    return [{ tokens: [model.tokenBos()], message: undefined }, ...parts];
  };
  const pieces = (messages: readonly Message[]) => {
    try {
      return chatPieces(render, marks, messages, content);
    } catch (error) {
      throw new Refusal("INVALID_ARGUMENT", `messages: the model's chat template refuses them: ${messageOf(error)}`);
    }
  };
  const promptOf = (messages: readonly Message[]): Prompt => ({
    tokens: Uint32Array.from(read(messages).flatMap(({ tokens }) => tokens)),
    droppedTokens: 0,
  });

  const cut = ({ messages }: Chat, answerTokens: number): Prompt => {
    const room = contextTokens - Math.max(1, Math.min(answerTokens, Math.floor(contextTokens * answerShare)));
    let kept = messages.map((message) => shorten(message, bytesMax));
    const all = read(kept);
    let parts = all;
    while (length(parts) > room) {
      const fewer = withoutOldest(kept);
      if (fewer === undefined) break;
      kept = fewer;
      parts = read(kept);
    }
    const tokens = withoutStart(parts, kept.length - 1, length(parts) - room);
    return { tokens: Uint32Array.from(tokens), droppedTokens: length(all) - tokens.length };
  };

  return {
    prompt(chat, answerTokens) {
      const bytes = sizeBytes(chat.messages);
      if (chat.truncate && bytes > bytesMax) return cut(chat, answerTokens);
      if (bytes > bytesMax) throw tooLarge(`${bytes} bytes`, contextTokens);
      const prompt = promptOf(chat.messages);
      if (prompt.tokens.length < contextTokens) return prompt;
      if (chat.truncate) return cut(chat, answerTokens);
      throw tooLarge(`${prompt.tokens.length} tokens`, contextTokens);
    },
    count(chat) {
      const bytes = sizeBytes(chat.messages);
      if (bytes > bytesMax) throw tooLarge(`${bytes} bytes`, contextTokens);
      return promptOf(chat.messages).tokens.length;
    },
  };
}

function tooLarge(size: string, contextTokens: number): Refusal {
  return new Refusal(
    "INVALID_ARGUMENT",
    `the prompt has ${size} and the model's context ${contextTokens} tokens: shorten the prompt or set truncate`,
  );
}

/** The conversation without its oldest question and the answers to it; undefined when the last question is all there is. */
function withoutOldest(messages: readonly Message[]): Message[] | undefined {
  const start = messages[0]?.role === "system" ? 1 : 0;
  const next = messages.findIndex(({ role }, at) => at > start && role === "user");
  return next < 0 ? undefined : [...messages.slice(0, start), ...messages.slice(next)];
}

/** The tokens without the first `excess` of the last message's. */
function withoutStart(parts: readonly PromptPart[], last: number, excess: number): number[] {
  if (excess <= 0) return parts.flatMap(({ tokens }) => tokens);
  const content = parts.find(({ message }) => message === last);
  if (content === undefined || content.tokens.length <= excess) {
    throw new Refusal(
      "INVALID_ARGUMENT",
      "the system prompt alone leaves no room in the model's context for the question: shorten it",
    );
  }
  return parts.flatMap((part) => (part === content ? part.tokens.slice(excess) : part.tokens));
}

/** The end of a text that is larger than any context. */
function shorten(message: Message, bytesMax: number): Message {
  return message.content.length <= bytesMax ? message : { ...message, content: ending(message.content, bytesMax) };
}

function sizeBytes(messages: readonly Message[]): number {
  return messages.reduce((sum, { content }) => sum + Buffer.byteLength(content), 0);
}

function length(parts: readonly PromptPart[]): number {
  return parts.reduce((sum, { tokens }) => sum + tokens.length, 0);
}
