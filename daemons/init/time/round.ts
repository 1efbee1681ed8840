import { isIP } from "node:net";
import type { Clock } from "#lib/clock";
import { type Agreement, agreement, type Sample } from "./agreement.ts";
import type { Said } from "./query.ts";
import type { TimeServer } from "./servers.ts";
import { day, imageAgeMaxMs } from "./start.ts";

interface RoundNeeds {
  readonly clock: Clock;
  /** Asks the server at an address. */
  ask(address: string, port: number): Promise<Said>;
  /** The addresses of a name. */
  resolve(name: string): Promise<readonly string[]>;
  /** No time before this is believed, nor one of many years later. */
  readonly floorMs: number;
}

/** The result of asking all servers once. */
export interface Round {
  readonly agreement: Agreement | undefined;
  /** Why each server that told no usable time was left out. */
  readonly problems: readonly string[];
  /** Servers told times that cannot all be right, or that nobody can believe: somebody has to look. */
  readonly suspect: boolean;
}

/** Servers behind one name, and servers in all, that are asked at most. */
const addressesMax = 4;
const serversMax = 8;

/** A server that was asked too often is left alone, each time twice as long, up to a day. */
const restFirstMs = 120_000;
const restMaxMs = 86_400_000;

interface Rest {
  readonly untilMs: number;
  readonly ms: number;
  readonly code: string;
}

/** Asks time servers, and remembers which of them do not want to be asked. */
export function openRounds({
  clock,
  ask,
  resolve,
  floorMs,
}: RoundNeeds): (servers: readonly TimeServer[]) => Promise<Round> {
  const rests = new Map<string, Rest>();

  const askOne = async (label: string, address: string, port: number): Promise<Sample | string> => {
    const key = `${address} ${port}`;
    const rest = rests.get(key);
    if (rest !== undefined && clock.monotonic() < rest.untilMs)
      return `${label}: it asked to be left alone (${rest.code})`;
    const said = await ask(address, port);
    if (said.kind === "time") {
      rests.delete(key);
      return { server: label, offsetMs: said.offsetMs, distanceMs: said.distanceMs };
    }
    if (said.kind !== "refused") return `${label}: ${said.reason}`;
    const rested = restAfter(said.code, rest, clock.monotonic());
    if (rested !== undefined) rests.set(key, rested);
    return `${label}: it does not tell us the time (${said.code})`;
  };

  const askServer = async ({ name, host, port }: TimeServer): Promise<readonly (Sample | string)[]> => {
    if (isIP(host) !== 0) return [await askOne(name, host, port)];
    try {
      const addresses = (await resolve(host)).slice(0, addressesMax);
      return await Promise.all(addresses.map((address) => askOne(`${name} (${address})`, address, port)));
    } catch {
      return [`${name}: no name server knows its address`];
    }
  };

  return async (servers) => {
    const heard = (await Promise.all(servers.slice(0, serversMax).map(askServer))).flat();
    const told = heard.filter((one) => typeof one !== "string");
    const latestMs = Math.max(floorMs, clock.now()) + imageAgeMaxMs;
    const [samples, unbelievable] = partition(told, ({ offsetMs }) => {
      const saidMs = clock.now() + offsetMs;
      return saidMs >= floorMs - 86_400_000 && saidMs <= latestMs;
    });
    const agreed = agreement(samples);
    const disagree = samples.length > 0 && agreed === undefined;
    return {
      agreement: agreed,
      suspect: disagree || unbelievable.length > 0,
      problems: [
        ...heard.filter((one) => typeof one === "string"),
        ...unbelievable.map(
          ({ server, offsetMs }) => `${server}: it says ${day(clock.now() + offsetMs)}, which nobody can believe`,
        ),
        ...(disagree ? [`they disagree: ${samples.map(differs).join(", ")}`] : []),
      ],
    };
  };
}

/** DENY and RSTR are for good, RATE asks for longer pauses; other codes say that the server has no time yet. */
function restAfter(code: string, before: Rest | undefined, nowMs: number): Rest | undefined {
  if (code === "DENY" || code === "RSTR") return { untilMs: Number.POSITIVE_INFINITY, ms: 0, code };
  if (code !== "RATE") return undefined;
  const ms = Math.min(restMaxMs, before === undefined ? restFirstMs : before.ms * 2);
  return { untilMs: nowMs + ms, ms, code };
}

const differs = ({ server, offsetMs }: Sample) =>
  `${server} ${offsetMs >= 0 ? "+" : ""}${(offsetMs / 1000).toFixed(3)} s`;

function partition<T>(all: readonly T[], test: (one: T) => boolean): [T[], T[]] {
  return [all.filter(test), all.filter((one) => !test(one))];
}
