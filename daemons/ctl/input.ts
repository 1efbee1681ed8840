import { createInterface, type Interface } from "node:readline";
import type { Readable, Writable } from "node:stream";
import { StringDecoder } from "node:string_decoder";
import { beginning } from "#lib/text";
import { UsageError } from "./command.ts";

/** Standard input, as far as it is used here: a pipe, or a terminal with its raw mode. */
type Input = Readable & { readonly isTTY?: boolean; setRawMode?(raw: boolean): unknown };

/** The longest that is read, characters. */
const lengthMax = 64 * 1024;

/** All of a pipe; of a terminal one line, which is asked for with `ask` and not shown. Throws UsageError. */
export async function readInput(input: Input, ask: () => void): Promise<string> {
  if (input.isTTY !== true) return await readAll(input);
  ask();
  input.setRawMode?.(true);
  try {
    return await line(input);
  } finally {
    input.setRawMode?.(false);
    input.pause();
  }
}

/** Lines of a person at a terminal, with their history. */
interface Prompt {
  /** Asks for a line; undefined when the person has ended the input. */
  ask(question: string): Promise<string | undefined>;
  close(): void;
}

/** `interrupt` is called when the person presses Ctrl-C, which a terminal that is asked tells nobody else. */
export function openPrompt(input: Readable, output: Writable, interrupt: () => void): Prompt {
  let lines: Interface | undefined;
  const waiting: string[] = [];
  let ended = false;
  let wake = () => {};
  const open = (): Interface => {
    const made = createInterface({ input, output, terminal: true });
    made.on("SIGINT", () => {
      interrupt();
      made.close();
    });
    made.on("line", (text) => {
      waiting.push(beginning(text, lengthMax));
      wake();
    });
    made.on("close", () => {
      ended = true;
      wake();
    });
    return made;
  };
  return {
    async ask(question) {
      lines ??= open();
      if (waiting.length === 0 && !ended) {
        lines.setPrompt(question);
        lines.prompt();
        await new Promise<void>((resolve) => (wake = resolve));
      }
      return waiting.shift();
    },
    close: () => lines?.close(),
  };
}

async function readAll(input: Input): Promise<string> {
  const decoder = new StringDecoder("utf8");
  let text = "";
  for await (const chunk of input) {
    text += typeof chunk === "string" ? chunk : decoder.write(chunk);
    if (text.length > lengthMax) throw new UsageError(`standard input: more than ${lengthMax} characters`);
  }
  return text + decoder.end();
}

async function line(input: Input): Promise<string> {
  let text = "";
  for await (const chunk of input.iterator({ destroyOnReturn: false })) {
    for (const key of String(chunk)) {
      if (key === "\r" || key === "\n" || key === "\u0004") return text;
      if (key === "\u0003") throw new UsageError("interrupted");
      text = key === "\u007f" || key === "\b" ? beginning(text, text.length - 1) : text + key;
      if (text.length > lengthMax) throw new UsageError(`more than ${lengthMax} characters`);
    }
  }
  return text;
}
