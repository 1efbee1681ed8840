import { networkInterfaces } from "node:os";
import { openClaudeServer } from "#lib/testing/claude-server";
import type { ModelServer, Reply, Seen } from "#lib/testing/model-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import { SecretsService } from "#proto/aios/api_gateway";
import type { Lane, Machine } from "../machine.ts";

/** A step as a strategic model writes it. */
export interface SaidStep {
  readonly name: string;
  readonly tool: string;
  readonly input: object;
  readonly agent?: string;
  readonly needs?: readonly string[];
  readonly expect?: object;
}

/** A plan in the form that the planner asks providers for. */
export function said(steps: readonly SaidStep[], result: string, why = "the tools do just that"): string {
  return JSON.stringify({
    why,
    question: "",
    result,
    steps: steps.map(({ name, tool, input, agent = "", needs = [], expect = {} }) => ({
      ...{ name, tool, agent, needs, description: `${name} by ${tool}` },
      ...{ input_json: JSON.stringify(input), expect_json: JSON.stringify(expect) },
    })),
  });
}

/** The answer of a model that sees no way. */
export const noWay = said([], "", "these tools cannot do it");

export type Protocol = "claude" | "openai";

/** A model outside the machine: a server on this host that speaks a provider's protocol, and the machine's settings for it. */
export interface Strategist {
  readonly server: ModelServer;
  /** For the kernel command line. */
  readonly append: readonly string[];
  /** Gives the machine its key. */
  introduce(machine: Machine): Promise<void>;
}

const key = "the-key-of-the-test";

/** What it says is told by `otherwise`, or in advance by the server's `say`. */
export async function openStrategist(
  protocol: Protocol,
  lane: Lane,
  { otherwise, budgetUsd = 100 }: { otherwise?: (seen: Seen) => Reply; budgetUsd?: number },
): Promise<Strategist> {
  const open = protocol === "claude" ? openClaudeServer : openOpenaiServer;
  const server = await open({
    host: "0.0.0.0",
    key,
    ...(otherwise && { otherwise }),
  });
  const url = `http://${hostAddress(lane)}:${new URL(server.url).port}${protocol === "openai" ? "/v1" : ""}`;
  return {
    server,
    append: [`aios.api.${protocol}.base_url=${url}`, `aios.api.${protocol}.monthly_budget_usd=${budgetUsd.toFixed(4)}`],
    introduce: async (machine) => {
      const secrets = machine.client(SecretsService);
      await secrets.setSecret({ name: protocol, value: key });
      secrets.close();
    },
  };
}

/** The goal of a request for a plan. */
export function goalIn({ body }: Seen): string {
  return /Goal: (.*?)(?:\\n|")/.exec(JSON.stringify(body))?.[1] ?? "";
}

/** This host as a machine reaches it: QEMU's own network has a fixed one, spaces are routed through this host. */
function hostAddress(lane: Lane): string {
  if (lane !== "native") return "10.0.2.2";
  const own = Object.values(networkInterfaces()).flatMap((all) => all ?? []);
  const outer = own.find(
    ({ family, internal, address }) => family === "IPv4" && !internal && !address.startsWith("10.190."),
  );
  if (outer === undefined)
    throw new Error("this host has no address but loopback: machines cannot reach a server on it");
  return outer.address;
}
