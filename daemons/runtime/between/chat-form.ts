import { messageOf } from "#lib/errors";
import { chatPieces, type Render, type Tokens } from "./chat.ts";

/** How a model is given a conversation. */
interface ChatForm {
  /** Undefined: as plain text. */
  readonly render: Render | undefined;
  /** A message's content as a template is given it. */
  readonly content: (text: string) => unknown;
}

const asText = (text: string): unknown => text;
const asParts = (text: string): unknown => [{ type: "text", text }];

/** The form that most models were trained on whose vocabulary has its marks. */
const chatMl =
  "{% for message in messages %}{{ '<|im_start|>' + message['role'] + '\\n' + message['content'] + '<|im_end|>\\n' }}{% endfor %}{% if add_generation_prompt %}{{ '<|im_start|>assistant\\n' }}{% endif %}";
const chatMlMark = "<|im_start|>";

/** One question, which every template must have a place for. */
const probe = [{ role: "user", content: "?" }] as const;

/**
 * The form that works with a model: its own template with texts or, for one that takes nothing else, with lists of parts; where
 * neither has a place for a question, a built-in one. What is not the template's own way is told.
 */
export function chatForm(
  template: string,
  compile: (template: string) => Render,
  tokens: Tokens,
  isToken: (text: string) => boolean,
  tell: (message: string) => void,
): ChatForm {
  const plain: ChatForm = { render: undefined, content: asText };
  if (template === "") return plain;
  let reason = "";
  for (const content of [asText, asParts]) {
    try {
      const render = compile(template);
      chatPieces(render, tokens, probe, content);
      if (content === asParts) tell("the model's chat template takes lists of parts: messages are given so");
      return { render, content };
    } catch (error) {
      reason ||= messageOf(error);
    }
  }
  const known = isToken(chatMlMark);
  tell(`the model's chat template cannot be used, ${known ? "ChatML" : "plain text"} is used instead: ${reason}`);
  return known ? { render: compile(chatMl), content: asText } : plain;
}
