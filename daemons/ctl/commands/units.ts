import { InitService, type Unit, UnitState } from "#proto/aios/init";
import { type Command, exit } from "../command.ts";
import { duration, size } from "../words.ts";

export const unitsList: Command = {
  name: "units list",
  summary: "the machine's units (daemons) and their states",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl units", "aiosctl units --json | jq '.units[] | {name, state, memoryBytes}'"],
  async run({ target, out, clock }) {
    const { units } = await target().client(InitService, "init").listUnits({});
    out.table(
      ["unit", "state", "pid", "up", "ready after", "restarts", "memory", "reason"],
      units.map((unit) => row(unit, clock.now())),
    );
    out.document({ units: units.map(viewOf) });
    return exit.ok;
  },
};

export const unitsStart = act("start", "start a unit that was stopped");
export const unitsStop = act("stop", "stop a unit, and those that need it");
export const unitsRestart = act("restart", "stop a unit and start it again");

function act(verb: "start" | "stop" | "restart", summary: string): Command {
  const call = `${verb}Unit` as const;
  return {
    name: `units ${verb}`,
    summary,
    usage: "NAME",
    args: [1, 1],
    examples: [`aiosctl units ${verb} gateway`],
    async run({ target, out, args: [name = ""] }) {
      // Stopping waits up to 10 s for the unit and for each of those that need it.
      const unit = await target().client(InitService, "init")[call]({ name }, { timeoutMs: 60_000 });
      out.line(`${unit.name} is ${stateOf(unit)}${unit.reason ? `: ${unit.reason}` : ""}`);
      out.document(viewOf(unit));
      return exit.ok;
    },
  };
}

/** A unit's state as a word: "ready", "crash loop". */
export function stateOf({ state }: Pick<Unit, "state">): string {
  const name = Object.entries(UnitState).find(([, value]) => value === state)?.[0] ?? "unknown";
  return name.replace("UNIT_", "").toLowerCase().replaceAll("_", " ");
}

const viewOf = (unit: Unit) => ({ ...unit, state: stateOf(unit) });

function row(unit: Unit, nowMs: number): string[] {
  const running = unit.pid > 0;
  return [
    unit.name,
    stateOf(unit),
    running ? String(unit.pid) : "-",
    running && unit.startedAt > 0 ? duration(Math.max(0, nowMs - unit.startedAt)) : "-",
    unit.readyAfterMs > 0 ? duration(unit.readyAfterMs) : "-",
    String(unit.restarts),
    unit.memoryBytes > 0 ? size(unit.memoryBytes) : "-",
    unit.reason,
  ];
}
