/**
 * A plan grants what its call turns out to need. Every call of a tool needs its `capabilities`; some also an address
 * that is not public, or a remote (`alsoNeeds`). Nobody is given those by himself: a step of a procedure says `also =
 * ["net:local:127.0.0.1"]`.
 */
import type { JsonObject } from "../json.ts";
import type { Objective, PlannedStep } from "../plan.ts";

/** An address of the machine itself. */
const loopback = /^(127\.0\.0\.1|localhost)$/i;
const address = /^\d{1,3}(\.\d{1,3}){3}$/;

/**
 * Capabilities of a step of a model's plan, beside those that every call of its tool needs. A declared procedure would
 * state them: the machine's own address, another that is not public, a git remote, an image to pull. But for the first
 * these are given only when the person behind the goal has named them: nothing that a tool returned can add one.
 */
export function extraGrants({ tool, input }: Pick<PlannedStep, "tool" | "input">, objective: Objective): string[] {
  const said = [objective.description, ...objective.answers.map(({ answer }) => answer)].join("\n");
  const host = hostIn(tool, input);
  if (host !== undefined && loopback.test(host)) return ["net:local:127.0.0.1"];
  if (host !== undefined && address.test(host) && isNamed(host, said)) return [`net:local:${host}`];
  const { url, image } = input;
  if (tool === "git.clone" && typeof url === "string" && isNamed(url, said)) return ["git:remote:{url}"];
  if (tool === "container.pull_or_load" && typeof image === "string" && isNamed(image, said)) {
    return ["container:pull:{image}"];
  }
  return [];
}

/** The host that a tool of the network is to speak with. */
function hostIn(tool: string, { url, host }: JsonObject): string | undefined {
  if (!/^(net|web)\./.test(tool)) return undefined;
  if (typeof host === "string") return host;
  return typeof url === "string" && URL.canParse(url) ? new URL(url).hostname : undefined;
}

/** As a whole, not as a part of a longer word. */
function isNamed(what: string, said: string): boolean {
  const at = said.indexOf(what);
  if (at < 0) return false;
  const around = `${said[at - 1] ?? ""}${said[at + what.length] ?? ""}`;
  return !/[\w-]/.test(around.replace(/[./:]$/, ""));
}
