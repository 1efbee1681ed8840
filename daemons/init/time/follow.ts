import { Resolver } from "node:dns/promises";
import type { Clock } from "#lib/clock";
import type { Faults, Syscalls } from "../base/index.ts";
import { keepTime } from "./keeper.ts";
import { askTime } from "./query.ts";
import { openRounds } from "./round.ts";
import { parseTimeServer } from "./servers.ts";

export interface FollowNeeds {
  readonly clock: Clock;
  readonly syscalls: Pick<Syscalls, "setTime" | "slewTime">;
  readonly faults: Faults;
  say(line: string): void;
  /** Names of time servers: those of the configuration, and those of the leases there are now. */
  names(): readonly string[];
  readonly floorMs: number;
  /** Hears whether the time is sure, and what that rests on or why it is not. */
  hear(sure: boolean, detail: string): void;
}

/** Keeps the machine's clock by time servers. `wake` has them asked at once. */
export function followTimeServers(needs: FollowNeeds, signal: AbortSignal): { wake(): void } {
  const { clock, syscalls, floorMs } = needs;
  const ask = (address: string, port: number) => askTime(address, port, clock, floorMs);
  const servers = () => needs.names().flatMap((name) => parseTimeServer(name) ?? []);
  const keeper = { ...needs, ...syscalls, servers, ask: openRounds({ clock, ask, resolve, floorMs }) };
  return keepTime(keeper, signal);
}

/** Not by the C library: its look-ups would hold a thread each of the few that PID 1 has. Read anew: leases change them. */
async function resolve(name: string): Promise<readonly string[]> {
  const resolver = new Resolver({ timeout: 2_000, tries: 2 });
  const found = await Promise.allSettled([resolver.resolve4(name), resolver.resolve6(name)]);
  const addresses = found.flatMap((one) => (one.status === "fulfilled" ? one.value : []));
  if (addresses.length > 0) return addresses;
  throw new Error(`no address for ${name}`);
}
