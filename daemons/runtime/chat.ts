/** Part of a prompt. Control tokens are made only from the template's parts, never from what a caller wrote. */
export interface Piece {
  readonly text: string;
  readonly fromTemplate: boolean;
}

type Render = (items: Record<string, unknown>) => string;

/** Stand in the rendered template where the callers' texts go. From Unicode's private use area. */
const systemMark = "\uE000";
const promptMark = "\uE001";

/**
 * A chat of one question in the model's own format, ending where its answer begins.
 * A template that refuses the system role gets the system text at the head of the question; a model without a template
 * (`render` undefined) gets plain text.
 */
export function chatPieces(
  render: Render | undefined,
  tokens: { readonly bos: string; readonly eos: string },
  system: string,
  prompt: string,
): Piece[] {
  const asked = system === "" ? promptMark : `${systemMark}\n\n${promptMark}`;
  if (render === undefined) return split(`${asked}\n`, system, prompt);
  const messages = (list: readonly { role: string; content: string }[]) =>
    render({ messages: list, add_generation_prompt: true, bos_token: tokens.bos, eos_token: tokens.eos });
  const user = { role: "user", content: promptMark };
  if (system === "") return split(messages([user]), system, prompt);
  try {
    const rendered = messages([{ role: "system", content: systemMark }, user]);
    if (rendered.includes(systemMark)) return split(rendered, system, prompt);
  } catch {
    // The template refuses the role (Gemma's does, by raise_exception): the other form follows.
  }
  return split(messages([{ role: "user", content: asked }]), system, prompt);
}

function split(rendered: string, system: string, prompt: string): Piece[] {
  return rendered
    .split(new RegExp(`(${systemMark}|${promptMark})`))
    .map((text) => {
      if (text === systemMark) return { text: system, fromTemplate: false };
      if (text === promptMark) return { text: prompt, fromTemplate: false };
      return { text, fromTemplate: true };
    })
    .filter(({ text }) => text !== "");
}
