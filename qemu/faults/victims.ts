import { daemons, users } from "#manifest";
import { InitService } from "#proto/aios/init";
import { allAgents } from "../agents.ts";
import type { Machine } from "../machine.ts";
import type { MachineProcess } from "../native-processes.ts";

/** Something that can be killed: its name, and which of the machine's processes it is at present. */
export interface Victim {
  readonly name: string;
  pick(processes: readonly MachineProcess[]): MachineProcess | undefined;
}

const wordsOf = ({ argv }: MachineProcess) => argv.join(" ");

/** Every daemon of a native machine, by the program that it runs, and each of the agents. */
export async function victimsOf(machine: Machine): Promise<Victim[]> {
  const init = machine.client(InitService);
  const { units } = await init.listUnits({});
  init.close();
  const programs = new Map(machine.processes().map((one) => [one.pid, wordsOf(one)]));
  const own = units.filter(({ name }) => daemons.some((daemon) => daemon.name === name));
  return [
    ...own.map(({ name, pid }): Victim => {
      const program = programs.get(pid);
      return { name, pick: (all) => all.find((one) => wordsOf(one) === program) };
    }),
    ...allAgents.map((name): Victim => {
      const { uid } = accountOf(`aios-agent-${name}`);
      return { name, pick: (all) => all.find((one) => one.uid === uid && wordsOf(one).includes("agents.cjs")) };
    }),
  ];
}

function accountOf(user: string): { readonly uid: number } {
  const found = Object.entries(users).find(([name]) => name === user);
  if (found === undefined) throw new Error(`the manifest has no account ${user}`);
  return found[1];
}

/** Kills a process of a native machine; false when it had ended by itself. */
export function killNow({ hostPid }: MachineProcess): boolean {
  try {
    return process.kill(hostPid, "SIGKILL");
  } catch {
    return false;
  }
}
