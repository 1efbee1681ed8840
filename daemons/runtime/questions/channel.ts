/**
 * A caller's pace is the answer's. A caller that reads slowly makes its answer wait in its sequence, with 16 K
 * characters unread; one that reads nothing for half a minute is taken to be gone. A worker that does not stop when it
 * is told to hangs in native code, and is ended.
 */

/** Text from one who writes to one who reads, in order. */
interface Channel {
  readonly parts: AsyncIterable<string>;
  /** A promise when there is enough unread: the writer waits until it resolves, which is when all is read. */
  write(part: string): Promise<void> | undefined;
  close(): void;
}

/** `unreadMax`: characters that may be unread before the writer has to wait. */
export function channel(unreadMax: number): Channel {
  let held = "";
  let closed = false;
  let wake: (() => void) | undefined;
  let room: PromiseWithResolvers<void> | undefined;
  const wakeReader = () => {
    wake?.();
    wake = undefined;
  };
  const wakeWriter = () => {
    room?.resolve();
    room = undefined;
  };

  async function* read(): AsyncIterable<string> {
    for (;;) {
      if (held !== "") {
        const part = held;
        held = "";
        wakeWriter();
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
      wakeReader();
      if (held.length <= unreadMax) return undefined;
      room ??= Promise.withResolvers<void>();
      return room.promise;
    },
    close() {
      closed = true;
      wakeWriter();
      wakeReader();
    },
  };
}
