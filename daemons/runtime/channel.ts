/** Text from one who writes to one who reads, in order. What is written and not yet read is held: the writer bounds it. */
export interface Channel {
  readonly parts: AsyncIterable<string>;
  write(part: string): void;
  close(): void;
}

export function channel(): Channel {
  let held = "";
  let closed = false;
  let wake: (() => void) | undefined;
  const changed = () => {
    wake?.();
    wake = undefined;
  };

  async function* read(): AsyncIterable<string> {
    for (;;) {
      if (held !== "") {
        const part = held;
        held = "";
        yield part;
      } else if (closed) {
        return;
      } else {
        await new Promise<void>((resolve) => {
          wake = resolve;
        });
      }
    }
  }

  return {
    parts: read(),
    write(part) {
      held += part;
      changed();
    },
    close() {
      closed = true;
      changed();
    },
  };
}
