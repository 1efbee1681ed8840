import type { Clock } from "#lib/clock";

const minuteMs = 60_000;

/** At most `perMinute` requests in any minute. */
interface Rate {
  /** Milliseconds until a request may be made; 0 = now. */
  waitMs(): number;
  take(): void;
  lastMinute(): number;
}

export function openRate(perMinute: number, clock: Clock): Rate {
  let taken: number[] = [];
  const recent = () => {
    const from = clock.monotonic() - minuteMs;
    taken = taken.filter((at) => at > from);
    return taken;
  };
  return {
    waitMs() {
      const times = recent();
      // The one whose minute must be over before there is room.
      const first = times[times.length - perMinute];
      return first === undefined ? 0 : Math.max(1, first + minuteMs - clock.monotonic());
    },
    take: () => void recent().push(clock.monotonic()),
    lastMinute: () => recent().length,
  };
}
