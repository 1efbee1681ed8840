import { connect as connectSocket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";
import grpc from "@grpc/grpc-js";
import { InitService } from "#proto/aios/init";
import { ToolRegistryService } from "#proto/aios/tools";
import { executeTool } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, counted } from "./campaign.ts";
import { drawing, oneOf } from "./drawing.ts";
import { callPaths, fieldsOf, noise, unreadable } from "./malformed.ts";
import { type MachineSocket, socketsOf } from "./sockets.ts";

const inFlight = 64;
/** One of so many is bytes on a bare connection instead of a call. */
const noiseEvery = 200;
const callTimeoutMs = 200;
/** So many calls go to what the socket's daemon does not serve. */
const elsewhereShare = 0.05;

/**
 * Malformed requests to every socket of a native machine. Through core daemons' sockets come only messages that nobody can
 * read, since these may ask for anything; through agents' also such as a daemon can read, which its gate has to refuse.
 */
export const fuzz: Campaign = {
  summary: "malformed requests over every socket, natively: nothing ends, nothing passes the gate",
  countDefault: 1_000_000,
  async run({ boot, seed, count = fuzz.countDefault, say }) {
    const machine = await boot({ lane: "native", name: "fuzz" });
    const sockets = socketsOf(machine);
    const before = await look(machine);
    const random = drawing(seed);
    const answers = new Map<string, number>();
    const clients = new Map(
      sockets.map(({ name, path }) => [name, new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure())]),
    );
    const served = await servedPaths(clients);
    let made = 0;
    const work = async () => {
      while (made < count) {
        made++;
        if (made % 50_000 === 0) say(`faults: fuzz: ${made} of ${count}`);
        const socket = oneOf(sockets, random);
        const paths = random() < elsewhereShare ? callPaths : (served.get(socket.name) ?? callPaths);
        const answer =
          made % noiseEvery === 0
            ? await throwAt(socket, noise(random))
            : await ask(clients.get(socket.name), oneOf(paths, random), messageFor(socket, random));
        answers.set(answer, (answers.get(answer) ?? 0) + 1);
      }
    };
    await Promise.all(Array.from({ length: inFlight }, work));
    for (const client of clients.values()) client.close();
    // What has ended is started again at once: two seconds show it.
    await delay(2_000);
    const after = await look(machine);
    say(`faults: fuzz: answers: ${[...answers].map(([name, times]) => `${name} ${times}`).join(", ")}`);
    return [
      counted("fuzz.requests", made, count),
      counted("fuzz.sockets", sockets.length, 1),
      atMost("fuzz.restarts", after.restarts - before.restarts, 0),
      atMost("fuzz.agents_ended", before.agents.filter((pid) => !after.agents.includes(pid)).length, 0),
      atMost("fuzz.past_the_gate", after.changes - before.changes, 0),
    ];
  },
};

/** The calls that each socket's daemon serves: what it does not answer with UNIMPLEMENTED. */
async function servedPaths(clients: ReadonlyMap<string, grpc.Client>): Promise<Map<string, readonly string[]>> {
  const served = new Map<string, readonly string[]>();
  for (const [name, client] of clients) {
    const answers = await Promise.all(callPaths.map((path) => ask(client, path, cutShort)));
    served.set(
      name,
      callPaths.filter((_, index) => answers[index] !== "UNIMPLEMENTED"),
    );
  }
  return served;
}

/** A field that says it is longer than the message. */
const cutShort = Buffer.from([0x0a, 0x7f]);

const messageFor = ({ agents }: MachineSocket, random: () => number): Buffer =>
  agents && random() < 0.7 ? fieldsOf(random) : unreadable(random);

const bytes = (message: Buffer) => message;

/** Makes a call with these bytes; the name of the status that comes back. */
function ask(client: grpc.Client | undefined, path: string, message: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const options = { deadline: Date.now() + callTimeoutMs };
    client?.makeUnaryRequest(path, bytes, bytes, message, new grpc.Metadata(), options, (error) =>
      resolve(grpc.status[error?.code ?? grpc.status.OK] ?? "unknown"),
    );
  });
}

/** Writes bytes to a socket and waits until it is closed, or for a moment. */
function throwAt({ path }: MachineSocket, message: Buffer): Promise<string> {
  return new Promise((resolve) => {
    const socket = connectSocket(path);
    const over = () => {
      socket.destroy();
      resolve("noise");
    };
    socket.on("error", over).on("close", over).resume().end(message);
    socket.setTimeout(callTimeoutMs, over);
  });
}

/** How often units were started again, who the agents are, and what agents have changed outside a task of theirs. */
async function look(machine: Machine) {
  const init = machine.client(InitService);
  const { units } = await init.listUnits({});
  init.close();
  const { entries } = (await executeTool(machine, "sec.audit", { limit: 500 }, "what was done")) as {
    entries: { caller_kind: string; task_id: string; state: string; tool: string }[];
  };
  const tools = machine.client(ToolRegistryService);
  const { tools: all } = await tools.listTools({ namespace: "" });
  tools.close();
  // What agents look at on duty is no task either.
  const changing = new Set(all.filter(({ riskLevel }) => riskLevel !== "low").map(({ name }) => name));
  const passed = entries.filter(
    ({ caller_kind, task_id, state, tool }) =>
      caller_kind === "agent" && task_id === "" && state === "done" && changing.has(tool),
  );
  return {
    restarts: units.reduce((sum, unit) => sum + unit.restarts, 0),
    agents: machine
      .processes()
      .filter(({ argv }) => argv.join(" ").includes("agents.cjs"))
      .map(({ pid }) => pid),
    changes: passed.length,
  };
}
