import type { Clock } from "#lib/clock";
import type { Faults, Syscalls } from "../base/index.ts";
import { leaveRoot, type Root } from "../disks/index.ts";
import type { Screen } from "../early/index.ts";
import type { Logs } from "../logs/index.ts";
import { rememberTime } from "../time/index.ts";
import type { Supervisor } from "../units/index.ts";
import { type EndAct, endMachine } from "./shutdown.ts";
import type { Watchdog } from "./watchdog.ts";

/** The parts that have come to be and have to be ended; each is known when it is there. */
interface Alive {
  readonly root?: Root;
  readonly supervisor?: Supervisor;
  readonly closeGroups?: () => void;
  readonly closeServices?: () => void;
  readonly watchdog?: Watchdog;
}

export interface Power {
  /** From now on this is ended with the machine. */
  onEnd(more: Alive): void;
  /** Ends the machine, once: a second call changes nothing. */
  end(act: EndAct, reason: string): void;
}

interface PowerNeeds {
  readonly screen: Screen;
  readonly clock: Clock;
  readonly syscalls: Syscalls;
  readonly logs: Logs;
  readonly faults: Faults;
  /** A machine of its own, not a name space of a host. */
  readonly machine: boolean;
}

/** As BusyBox's commands send them. SIGINT is Ctrl-Alt-Del, SIGPWR what some hypervisors send for their power button. */
const signals: readonly (readonly [NodeJS.Signals, EndAct])[] = [
  ["SIGTERM", "restart"],
  ["SIGINT", "restart"],
  ["SIGUSR1", "halt"],
  ["SIGUSR2", "power-off"],
  ["SIGPWR", "power-off"],
];

/** Ends the machine when a signal or somebody says so. */
export function listenForPower(needs: PowerNeeds): Power {
  let alive: Alive = {};
  let ending = false;
  const end = (act: EndAct, reason: string) => {
    if (ending) return;
    ending = true;
    void endAll(act, reason, alive, needs);
  };
  for (const [signal, act] of signals) process.on(signal, () => end(act, signal));
  if (needs.machine) {
    try {
      needs.syscalls.catchCtrlAltDel();
    } catch (error) {
      needs.screen.fault("catch Ctrl-Alt-Del", error);
    }
  }
  return {
    end,
    onEnd(more) {
      alive = { ...alive, ...more };
    },
  };
}

async function endAll(act: EndAct, reason: string, alive: Alive, needs: PowerNeeds) {
  const { screen, clock, syscalls, logs, faults, machine } = needs;
  await endMachine(act, reason, {
    screen,
    clock,
    stopUnits: async () => {
      await alive.supervisor?.stopAll();
      alive.closeGroups?.();
    },
    signalAll,
    closeServices: () => alive.closeServices?.(),
    markTime: () => rememberTime(clock, faults),
    closeLogs: () => logs.close(),
    unmount: () => (alive.root === undefined ? [] : leaveRoot(alive.root, syscalls)),
    sync: () => syscalls.sync(),
    disarmWatchdog: () => alive.watchdog?.disarm(),
    // A name space ends with its first process, which has nothing to say to a kernel that is a host's.
    reboot: (to) => (machine ? syscalls.reboot(to) : process.exit(0)),
  });
}

/** kill(-1) reaches every process but the caller: on a host that would be the host's. */
function signalAll(signal: "SIGTERM" | "SIGKILL"): void {
  if (process.pid !== 1) throw new Error("refused: this process is not PID 1");
  try {
    process.kill(-1, signal);
  } catch {
    // ESRCH: there is no other process.
  }
}
