import type { BuildEvent, Count, Forecast, StepProgress } from "./events.ts";

/** Where a build's events are told: standard error. */
interface Place {
  write(text: string): unknown;
  /** True at a terminal, which has a line that moves. */
  readonly isTTY?: boolean;
  readonly columns?: number;
}

/** How often a step that runs is told of where there is no terminal, to people and to programs. */
const pauseMs = { text: 30_000, json: 5_000 } as const;

/** Tells what happens in a build: a line each for people, or one JSON document each for programs. */
export function tellBuild(place: Place, json = false): (event: BuildEvent) => void {
  const told = new Map<string, number>();
  const running = new Map<string, StepProgress>();
  const everyMs = json ? pauseMs.json : pauseMs.text;
  const due = ({ step, elapsedMs }: StepProgress) => {
    const turn = Math.floor(elapsedMs / everyMs);
    if (turn <= (told.get(step) ?? 0)) return false;
    told.set(step, turn);
    return true;
  };
  let moving = false;
  const clear = () => {
    if (moving) place.write("\r\u001b[K");
    moving = false;
  };
  const say = (line: string) => {
    clear();
    place.write(`${line}\n`);
  };
  const move = () => {
    if (running.size === 0) return;
    const line = `image: ${[...running.values()].map(whereIs).join(" | ")}`;
    place.write(`\r${line.slice(0, Math.max(1, (place.columns ?? 80) - 1))}\u001b[K`);
    moving = true;
  };
  return (event) => {
    if (event.kind === "progress") running.set(event.step, event);
    else if (event.kind === "built") running.delete(event.step);
    if (json) {
      if (event.kind !== "progress" || due(event)) say(JSON.stringify(event));
      return;
    }
    if (event.kind === "progress") {
      if (place.isTTY) move();
      else if (due(event)) say(`image: ${whereIs(event)}`);
      return;
    }
    if (event.kind === "over") {
      running.clear();
      clear();
    }
    const line = lineOf(event);
    if (line !== undefined) say(line);
    if (place.isTTY) move();
  };
}

/** What happened, in a line; steps taken from the cache are not worth one. */
function lineOf(event: Exclude<BuildEvent, StepProgress>): string | undefined {
  switch (event.kind) {
    case "waiting":
      return "image: another build is running, waiting for it";
    case "planned":
      return event.stale === 0 ? undefined : `image: ${planned(event)}`;
    case "cached":
    case "over":
      return undefined;
    case "started":
      return `image: ${event.step} … (${event.why})`;
    case "remark":
      return `image: ${event.step}: ${event.text}`;
    case "built":
      return `image: ${event.step} built, ${(event.ms / 1_000).toFixed(1)} s`;
  }
}

const sources = {
  "this machine": "by this machine's last builds",
  "the table": "by the times of another machine: nothing was built here yet",
  both: "by this machine's last builds, and the times of another machine for what it has not built yet",
} as const;

function planned({ stale, steps, ms, cores, by }: Forecast): string {
  return `${stale} of ${steps} steps to build, about ${roughly(ms)} on ${cores} core${cores === 1 ? "" : "s"} (${sources[by]})`;
}

/** "kernel-qemu 812 of 1,900 objects, 5 min left", "packages 12 s of about 30 s". */
function whereIs({ step, elapsedMs, expectedMs, count, leftMs }: StepProgress): string {
  const usual = expectedMs === undefined ? "" : ` of about ${roughly(expectedMs)}`;
  const time =
    leftMs !== undefined
      ? `${roughly(leftMs)} left`
      : `${elapsed(elapsedMs)}${elapsedMs > (expectedMs ?? elapsedMs) ? ", longer than expected" : usual}`;
  return `${step} ${count === undefined ? "" : `${counted(count)}, `}${time}`;
}

function counted({ unit, done, total }: Count): string {
  const digits = unit === "MB" && (total ?? done) < 10 ? 1 : 0;
  const figure = (value: number) =>
    value.toLocaleString("en", { minimumFractionDigits: digits, maximumFractionDigits: digits });
  return `${figure(done)}${total === undefined || done > total ? "" : ` of ${figure(total)}`} ${unit}`;
}

/** "40 s", "2 min 30 s". */
function elapsed(ms: number): string {
  const seconds = Math.round(ms / 1_000);
  return seconds < 60 ? `${seconds} s` : `${Math.floor(seconds / 60)} min ${seconds % 60} s`;
}

/** "40 s", "12 min", "1 h 5 min". */
function roughly(ms: number): string {
  if (ms < 90_000) return `${Math.max(1, Math.round(ms / 1_000))} s`;
  const minutes = Math.round(ms / 60_000);
  return minutes < 60 ? `${minutes} min` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}
