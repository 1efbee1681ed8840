import type { Count } from "./events.ts";

/** Reads in the lines of a step's log how far it is. */
interface Reading {
  /** Whether the line tells of progress and of nothing else: it need not be kept. */
  read(line: string): boolean;
  /** The latest count; undefined as long as no line told one. */
  readonly count: Count | undefined;
}

/** What a line means: a new count, made from the one before. */
interface Reader {
  readonly pattern: RegExp;
  /** Of such lines a log would be nothing else. */
  readonly passing?: true;
  count(found: readonly string[], before: Seen): Partial<Seen>;
}

/** All that was told: apt's totals come before what they are the totals of. */
interface Seen {
  readonly count: Count | undefined;
  /** To be fetched in this round of apt's; undefined where it says no total. */
  readonly megabytes: number | undefined;
  /** Of the files that were begun. */
  readonly begun: number;
  readonly packages: number | undefined;
}

const number = (text = "") => Number(text.replaceAll(",", ""));
const scale = { B: 1e-6, kB: 1e-3, MB: 1, GB: 1e3 } as const;
const megabytes = (amount = "", unit = "MB") => number(amount) * scale[unit as keyof typeof scale];

const next = ({ count }: Seen, unit: string, total: number | undefined, more: number): Pick<Seen, "count"> => ({
  count: { unit, done: (count?.unit === unit ? count.done : 0) + more, total },
});

/**
 * What make (the kernel's), apt, dpkg and mmdebstrap --verbose say, and the steps themselves ("3 of 20 bundles"). apt says
 * the totals of a round first, then fetches, unpacks and sets up: mmdebstrap has two rounds, what is essential and the rest.
 */
const readers: readonly Reader[] = [
  {
    pattern: /^ {2}(?:CC|AS) +(?:\[M\] +)?\S+\.o$/,
    passing: true,
    count: (_, before) => next(before, "objects", undefined, 1),
  },
  {
    pattern: /^ {2}[A-Z][A-Z0-9_-]+ +(?:\[M\] +)?\S|^make(?:\[\d+\])?: (?:Entering|Leaving) /,
    passing: true,
    count: () => ({}),
  },
  // A command begins: what another one fetched is none of its own.
  { pattern: /^(?:\+|in the build root:) /, count: () => ({ megabytes: undefined, begun: 0 }) },
  {
    pattern: /^\d+ upgraded, (\d+) newly installed, /,
    count: ([, found]) => {
      const total = number(found);
      return { packages: total, count: { unit: "packages", done: 0, total } };
    },
  },
  {
    pattern: /^Need to get ([\d.,]+) (\w?B)(?:\/[\d.,]+ \w?B)? of archives/,
    count: ([, amount, unit]) => {
      const total = megabytes(amount, unit);
      return { megabytes: total, begun: 0, count: { unit: "MB", done: 0, total } };
    },
  },
  {
    pattern: /^Get:\d+ .* \[([\d.,]+) (\w?B)\]$/,
    count: ([, amount, unit], before) => {
      const begun = before.begun + megabytes(amount, unit);
      return { begun, count: { unit: "MB", done: begun, total: before.megabytes } };
    },
  },
  {
    // With APT::Status-Fd: how much of what was begun is there. A single file is 150 MB.
    pattern: /^dlstatus:\d+:([\d.]+):/,
    passing: true,
    count: ([, percent], { begun }) => ({
      count: { unit: "MB", done: (Number(percent) / 100) * begun, total: begun },
    }),
  },
  // Fetched: what comes now goes by packages, each unpacked and then set up.
  {
    pattern: /^I: extracting archives/,
    count: (_, { packages }) => ({ count: { unit: "packages", done: 0, total: packages } }),
  },
  { pattern: /^(?:Unpacking|Setting up) \S+ /, count: (_, before) => next(before, "packages", before.packages, 0.5) },
  {
    pattern: /^([\d.,]+) of ([\d.,]+) ([a-zA-Z]+)\b/,
    count: ([, done, total, unit = ""]) => ({ count: { unit, done: number(done), total: number(total) } }),
  },
];

export function openReading(): Reading {
  let seen: Seen = { count: undefined, megabytes: undefined, begun: 0, packages: undefined };
  return {
    read(line) {
      const reader = readers.find(({ pattern }) => pattern.test(line));
      if (reader === undefined) return false;
      seen = { ...seen, ...reader.count(reader.pattern.exec(line) ?? [], seen) };
      return reader.passing === true;
    },
    get count() {
      return seen.count;
    },
  };
}
