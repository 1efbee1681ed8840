/** The machine's present faults by name, each in words that end with the next step. */
export interface Faults {
  raise(name: string, text: string): void;
  clear(name: string): void;
  list(): readonly string[];
  /** `notice` hears of every change: the text when raised, undefined when cleared. */
  onChange(notice: (name: string, text: string | undefined) => void): void;
}

export function openFaults(): Faults {
  const faults = new Map<string, string>();
  const notices: ((name: string, text: string | undefined) => void)[] = [];
  const tell = (name: string, text: string | undefined) => {
    for (const notice of notices) notice(name, text);
  };
  return {
    raise(name, text) {
      if (faults.get(name) === text) return;
      faults.set(name, text);
      tell(name, text);
    },
    clear(name) {
      if (faults.delete(name)) tell(name, undefined);
    },
    list: () => [...faults.values()],
    onChange: (notice) => notices.push(notice),
  };
}
