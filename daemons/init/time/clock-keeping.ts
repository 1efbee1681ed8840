import type { Clock } from "#lib/clock";
import type { Config } from "#lib/config/config";
import { type ClockState, type MachineState, writeMachineState } from "#lib/data/machine-state";
import { layout } from "#manifest";
import type { Faults, Syscalls } from "../base/index.ts";
import type { Screen } from "../early/index.ts";
import type { Network } from "../network/index.ts";
import { rememberTime, type StartTime, type TimeStatus } from "./timekeeping.ts";

interface ClockKeeping {
  readonly config: Config;
  readonly data: MachineState["data"];
  readonly time: StartTime;
  readonly network: Network;
  /** Where it is said how far the clock can be believed. */
  readonly boot: { keepTime(status: Omit<TimeStatus, "checkedAt">): void };
  readonly clock: Clock;
  readonly syscalls: Syscalls;
  readonly faults: Faults;
  readonly screen: Screen;
}

/** Keeps the machine's own clock by time servers from now on, and says to daemons and people how far it can be believed. */
export async function keepClock(keeping: ClockKeeping): Promise<void> {
  const { config, data, time, network, boot, clock, syscalls, faults, screen } = keeping;
  const { allow_outbound: allowed, ntp_servers: configured = [] } = config.network;
  const unsure = (why: string) => boot.keepTime({ sure: false, detail: `${time.detail}; ${why}` });
  if (time.state.sure) return boot.keepTime({ sure: true, detail: time.detail });
  unsure("no time server was asked yet");
  if (!allowed) return unsure("network.allow_outbound is false, so no time server is asked");
  let told: ClockState = time.state;
  const hear = (sure: boolean, detail: string) => {
    if (!sure) return unsure(detail);
    boot.keepTime({ sure, detail });
    rememberTime(clock, faults);
    if (told.sure) return;
    told = { sure: true };
    writeMachineState(layout.run, { data, clock: told });
  };
  const { followTimeServers } = await import("./follow.ts");
  const names = () => [...new Set([...configured, ...network.timeServers()])];
  const { earliestMs: floorMs } = time.state;
  const needs = { clock, syscalls, faults, say: screen.say, names, floorMs, hear };
  const { wake } = followTimeServers(needs, new AbortController().signal);
  network.onChange(wake);
}
