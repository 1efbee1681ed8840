/** Prints every tool of the image as JSON, for the knowledge that the image ships: `node daemons/tools/reference.ts`. */
import { catalogue } from "./catalogue/index.ts";

/** Stands for what the tools work on: nothing of it is used, only what the tools say of themselves. */
// biome-ignore lint/suspicious/noExplicitAny: it stands for any dependency
const anything: any = new Proxy(() => anything, {
  get: (_, name) =>
    name === Symbol.toPrimitive ? () => "" : name === Symbol.iterator ? [][Symbol.iterator] : anything,
  apply: () => anything,
});

/** A state in which nothing is kept. */
const state = {
  database: { prepare: () => ({ get: () => undefined, all: () => [], run: () => {} }) },
  commits: anything,
};
const paths = { run: "/run/aios", state: "/var/lib/aios", etc: "/etc/aios" };
const world = new Proxy(
  { state, paths, holding: anything },
  { get: (target, name) => Reflect.get(target, name) ?? anything },
);

const tools = catalogue(world as never).map((tool) => ({
  name: tool.name,
  summary: tool.summary,
  effect: tool.effect,
  risk: tool.risk,
  role: tool.role,
  rootWhen: tool.rootWhen?.what ?? "",
  confirmationWhen: tool.confirmationWhen?.what ?? "",
  undo: tool.undo !== undefined,
  irreversible: tool.irreversible ?? "",
  confirmation: tool.confirmation,
  whenFull: tool.whenFull ?? "",
  capabilities: tool.capabilities,
  callers: tool.callers,
  timeoutMs: tool.timeoutMs,
  input: tool.input,
  output: tool.output,
}));
process.stdout.write(`${JSON.stringify(tools)}\n`);
