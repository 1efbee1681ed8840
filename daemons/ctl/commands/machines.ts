import { join } from "node:path";
import { messageOf } from "#lib/errors";
import { readPair } from "#lib/identity/key-files";
import { endedMachine, type Machine, readMachines, writeMachines } from "#lib/identity/machines";
import { readCertificate } from "#lib/identity/pki";
import { type Command, exit, UsageError } from "../command.ts";
import { moment } from "../words.ts";

export const machinesList: Command = {
  name: "machines list",
  summary: "the machines known here, and who you are to them",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl machines", "aiosctl machines --json"],
  async run({ out, folder }) {
    const known = readMachines(folder);
    const list = Object.entries(known.machines).map(([name, machine]) => ({
      machine: name,
      default: name === known.default,
      address: machine.address,
      ...(machine.up && { state: endedMachine(machine) === undefined ? "runs here" : "has ended" }),
      ...whoIAm(folder, machine),
    }));
    const rows = list.map((entry) => [
      `${entry.machine}${entry.default ? " *" : ""}`,
      entry.address,
      entry.state ?? "-",
      entry.identity ?? entry.problem ?? "",
      entry.role ?? "-",
      moment(entry.notAfter ?? 0),
    ]);
    out.table(["machine", "address", "state", "you", "role", "until (utc)"], rows);
    if (list.length === 0) out.note('none yet: "npm run up" starts one, "aiosctl enroll HOST CODE" enrols one');
    out.document({ machines: list });
    return exit.ok;
  },
};

export const machinesUse: Command = {
  name: "machines use",
  summary: "make a machine the one that commands go to",
  usage: "NAME",
  args: [1, 1],
  examples: ["aiosctl machines use lab"],
  async run({ out, folder, args: [name = ""] }) {
    const known = readMachines(folder);
    mustKnow(known.machines, name);
    writeMachines(folder, { ...known, default: name });
    out.line(`${name} is the default machine`);
    out.document({ default: name });
    return exit.ok;
  },
};

export const machinesForget: Command = {
  name: "machines forget",
  summary: "forget a machine; the identity it was enrolled with stays on disk",
  usage: "NAME",
  args: [1, 1],
  examples: ["aiosctl machines forget lab"],
  async run({ out, folder, args: [name = ""] }) {
    const { default: usual, machines } = readMachines(folder);
    mustKnow(machines, name);
    const { [name]: _, ...rest } = machines;
    writeMachines(folder, { machines: rest, ...(usual !== undefined && usual !== name && { default: usual }) });
    out.line(`${name} is forgotten`);
    out.document({ forgotten: name });
    return exit.ok;
  },
};

function mustKnow(machines: Readonly<Record<string, Machine>>, name: string): void {
  if (machines[name] !== undefined) return;
  throw new UsageError(`no machine is called ${name} here; known: ${Object.keys(machines).join(", ") || "none"}`);
}

function whoIAm(
  folder: string,
  { identity }: Machine,
): { identity?: string; role?: string; notAfter?: number; problem?: string } {
  try {
    const { name, role, notAfter } = readCertificate(readPair(join(folder, identity), "operator").certificate);
    return { identity: name, ...(role && { role }), notAfter };
  } catch (error) {
    return { problem: messageOf(error) };
  }
}
