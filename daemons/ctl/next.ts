import { AiosError, messageOf } from "#lib/errors";
import { endedMachine, othersThan, readMachines } from "#lib/identity/machines";
import { AutonomyService } from "#proto/aios/autonomy";
import { InitService } from "#proto/aios/init";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { type Command, type Context, exit, UsageError } from "./command.ts";
import { ticketsOf } from "./commands/approvals.ts";
import { stateNow } from "./commands/status.ts";
import { count, duration } from "./words.ts";

/** What a person may want to type, and what it does. */
type Suggestion = readonly [command: string, does: string];

/** How things stand with the machine that commands go to. */
interface Standing {
  readonly machine: string;
  /** "autonomous", "degraded" and their like; "ended", "unreachable", "unknown" (no machine is known). */
  readonly state: string;
  /** For people, a line each. */
  readonly said: readonly string[];
  readonly approvals?: number | undefined;
  readonly suggestions: readonly Suggestion[];
}

/** A machine must not keep a person waiting who only asks what to type. */
const patience = { timeoutMs: 5_000 } as const;
const suggestionsMax = 3;

/** `aiosctl` alone: how the machine is, what waits for a person, and what to type next. */
export const whatNext: Command = {
  name: "",
  summary: "how the machine is, what waits for you, and what to type next",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl"],
  async run(context) {
    const { out, folder, called } = context;
    const known = readMachines(folder);
    const standing = await standingOf(context);
    const { machine, state, said, approvals } = standing;
    const others = othersThan(machine, known);
    const next = standing.suggestions
      .slice(0, suggestionsMax)
      .map(([command, does]): Suggestion => [command.replace(/^aiosctl\b/, called), does]);
    for (const line of said) out.line(line);
    if (others.length > 0) out.line(`  others   ${others.join(", ")}: ${called} machines use NAME`);
    out.line();
    const width = Math.max(...next.map(([command]) => command.length));
    for (const [command, does] of next) out.line(`  ${command.padEnd(width)}  ${does}`);
    out.line();
    out.line(`${called} --help lists all commands.`);
    out.document({ machine, state, approvals, others, next: next.map(([command]) => command) });
    return exit.ok;
  },
};

async function standingOf(context: Context): Promise<Standing> {
  try {
    return await running(context);
  } catch (error) {
    if (error instanceof UsageError) return nowhere(messageOf(error));
    if (!(error instanceof AiosError)) throw error;
    return away(context, error);
  }
}

const start: readonly Suggestion[] = [
  ["npm run up", "builds an image where it must, boots a machine in QEMU and stays attached"],
  ["npm run up -- --lane native", "the same in name spaces of this computer, within seconds; needs root"],
];

function nowhere(why: string): Standing {
  return {
    ...{ machine: "", state: "unknown", said: [why] },
    suggestions: [...start, ["aiosctl enroll HOST CODE", "takes over a machine that shows a code on its screen"]],
  };
}

/** A machine that is known and does not answer. */
function away({ folder, machine: wanted }: Context, error: AiosError): Standing {
  const known = readMachines(folder);
  const name = wanted ?? known.default ?? Object.keys(known.machines)[0] ?? "";
  const machine = known.machines[name];
  const again = machine && endedMachine(machine);
  const [other] = othersThan(name, known);
  const toOther: readonly Suggestion[] = other === undefined ? [] : [[`aiosctl machines use ${other}`, "goes there"]];
  const list: Suggestion = ["aiosctl machines", "the machines known here, and where they are"];
  if (again !== undefined) {
    const said = [`${name} ran on this computer and has ended.`];
    return {
      machine: name,
      state: "ended",
      said,
      suggestions: [[again, "starts it again"], ...toOther, list, ...start],
    };
  }
  const here =
    machine?.up === undefined ? "" : ` Process ${machine.up.process} of this computer runs it: it may be booting.`;
  return {
    ...{ machine: name, state: "unreachable", said: [`${name} does not answer.${here}`, `  ${messageOf(error)}`] },
    suggestions: [["aiosctl status", "tries again, and says what is wrong"], ...toOther, list, ...start],
  };
}

/** A machine that answers. What its orchestrator and its tools cannot say is left out: `status` says why. */
async function running(context: Context): Promise<Standing> {
  const machine = context.target();
  const orchestrator = machine.client(OrchestratorService, "orchestrator");
  const init = machine.client(InitService, "init");
  const [boot, { units }] = await Promise.all([init.getBoot({}, patience), init.listUnits({}, patience)]);
  const [work, autonomy, tickets] = await Promise.all([
    orchestrator.getSystemStatus({}, patience).catch(unknown),
    machine.client(AutonomyService, "orchestrator").getAutonomy({}, patience).catch(unknown),
    ticketsOf(context, patience.timeoutMs).catch(unknown),
  ]);
  const waiting = autonomy?.waiting ?? [];
  const able = work !== undefined && autonomy?.stopped === false;
  const state = stateNow(boot.state, units, able);
  const up = work === undefined ? "" : `, up ${duration(work.uptimeSeconds * 1_000)}`;
  const said = [
    `${machine.name}: ${state}${up}`,
    ...(tickets?.length ? [`  waits    ${count(tickets.length, "call")} of agents for your approval`] : []),
    ...waiting.map((one) => `  waits    ${one}`),
    ...(work === undefined ? [] : [`  goals    ${count(work.activeGoals, "goal")} under way`]),
  ];
  const suggestions: readonly (Suggestion | false | undefined)[] = [
    autonomy?.stopped && ["aiosctl emergency resume", "lets the machine go on, which somebody stopped"],
    tickets !== undefined &&
      tickets.length > 0 && ["aiosctl approvals", "shows the calls that wait, to approve or deny"],
    state === "booting" && ["aiosctl boot", "shows how far it is"],
    state !== "autonomous" && ["aiosctl status", "says what is wrong, each with the next step"],
    (work?.activeGoals ?? 0) > 0 && ["aiosctl goal list", "shows what the machine works on"],
    ['aiosctl goal submit "report disk usage to /srv/disk.txt"', "gives it something to do"],
    ["aiosctl chat", "talks with it: it asks before it changes anything"],
    ["aiosctl status", "how it is: its boot, units, agents and goals"],
  ];
  return {
    ...{ machine: machine.name, state, said, approvals: tickets?.length },
    suggestions: suggestions.filter((one) => one !== false && one !== undefined),
  };
}

const unknown = () => undefined;
