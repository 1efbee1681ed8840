import { printable } from "./out.ts";

/** A terminal on which a picture is drawn over the one before. */
export interface Screen {
  draw(lines: readonly string[]): void;
}

/** A terminal, as far as it is used here. */
interface Terminal {
  readonly columns: number;
  readonly rows: number;
  write(text: string): unknown;
}

/** A picture is cut to the terminal's size: what has scrolled away cannot be drawn over. */
export function openScreen(terminal: Terminal): Screen {
  let height = 0;
  return {
    draw(lines) {
      const shown = lines
        .flatMap((line) => line.split("\n"))
        .slice(0, Math.max(1, terminal.rows - 1))
        .map((line) => [...printable(line)].slice(0, Math.max(1, terminal.columns - 1)).join(""));
      const back = height > 0 ? `\u001b[${height}A` : "";
      terminal.write(`${back}\r\u001b[0J${shown.join("\n")}\n`);
      height = shown.length;
    },
  };
}
