import { mkdtempSync, rmSync } from "node:fs";
import { join } from "node:path";
import { setImmediate as turn } from "node:timers/promises";
import type { Clock } from "#lib/clock";
import { openLog } from "#lib/log";
import { connect } from "#lib/rpc/client";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, identify } from "#lib/rpc/service";
import { ApiGatewayService, ApiInferRequest, SecretsService } from "#proto/aios/api_gateway";
import type { BudgetAlert } from "../budget.ts";
import { openGatewayDatabase } from "../database.ts";
import { openGateway } from "../gateway.ts";
import { openLanes } from "../lanes.ts";
import { openSecrets } from "../secrets.ts";
import { secretsService } from "../secrets-service.ts";
import { gatewayService } from "../service.ts";
import type { GatewaySettings, ProviderSettings } from "../settings.ts";
import { openUsage } from "../usage.ts";

/** For tests: a clock whose sleepers wake at once and find that their time has passed. */
export class HastyClock implements Clock {
  readonly waited: number[] = [];
  #ms: number;

  constructor(startMs = Date.UTC(2026, 10, 21)) {
    this.#ms = startMs;
  }

  now = () => this.#ms;
  monotonic = () => this.#ms;

  async sleep(ms: number, signal?: AbortSignal): Promise<void> {
    signal?.throwIfAborted();
    this.waited.push(ms);
    this.#ms += ms;
    await turn();
    signal?.throwIfAborted();
  }

  pass(ms: number): void {
    this.#ms += ms;
  }
}

/** A provider whose tokens cost a dollar each. */
export const provider = (
  protocol: "claude" | "openai",
  url: string,
  more: Partial<ProviderSettings> = {},
): ProviderSettings => ({
  ...{ name: protocol, protocol, baseUrl: protocol === "openai" ? `${url}/v1` : url, ownServer: false },
  ...{ model: `${protocol}-model`, maxTokens: 1_000, monthlyBudgetUsd: 1_000_000, rateLimitRpm: 1_000, needsKey: true },
  ...{ inside: false, fallbackOnly: false, price: { inputUsd: 1_000_000, outputUsd: 1_000_000 } },
  ...more,
});

export const settings = (
  providers: readonly ProviderSettings[],
  more: Partial<GatewaySettings> = {},
): GatewaySettings => ({
  ...{ providers, unknown: [], allowOutbound: false, alertPercent: 80, requestTimeoutMs: 2_000, attemptsMax: 3 },
  ...{ breakerFailures: 5, breakerPauseMs: 30_000, queue: { lengthMax: 10, waitMaxMs: 600_000 } },
  cache: { ttlMs: 3_600_000, documentationTtlMs: 86_400_000, entriesMax: 100 },
  ...more,
});

export const request = (more: Partial<ApiInferRequest> = {}): ApiInferRequest =>
  ApiInferRequest.fromPartial({ prompt: "hello", taskId: "t", requestingAgent: "task", allowFallback: true, ...more });

export const theKey = "sk-test-0123456789abcdefghijklmnopqrstuv";

/** A gateway as main.ts wires it, over a real socket, with every provider's key set. */
export async function openTwin(given: GatewaySettings, clock: Clock = new HastyClock(), keyed = true) {
  // The daemon loads them at the first question: on a busy machine that takes longer than a question has.
  await Promise.all([import("../providers/sdk/claude.ts"), import("../providers/sdk/openai.ts")]);
  const folder = mkdtempSync("/tmp/aios-gateway-");
  const logged: string[] = [];
  const alerts: BudgetAlert[] = [];
  const log = openLog("gateway", "debug", (line) => logged.push(line), clock.now);
  const database = openGatewayDatabase(join(folder, "usage.db"), clock);
  const secrets = openSecrets(database, join(folder, "secrets.key"), clock);
  const usage = openUsage(database, clock, log);
  if (keyed) for (const { name } of given.providers) secrets.set(name, theKey, "test");
  const alert = async (one: BudgetAlert) => void alerts.push(one);
  const lanes = openLanes(given, { usage, secrets, clock, log, random: () => 0.5, alert });
  const services = [gatewayService(openGateway(lanes, given, usage, clock)), secretsService(secrets)];
  const server = createServer(services, ({ metadata }) => identify(coreIdentity("console"), metadata), log);
  const path = join(folder, "gateway.sock");
  await listen(server, { path, identity: coreIdentity("console"), mode: 0o600 });
  const gateway = connect(ApiGatewayService, `unix:${path}`);
  const keys = connect(SecretsService, `unix:${path}`);
  return {
    ...{ folder, path, gateway, keys, secrets, usage, database, logged, alerts },
    close() {
      gateway.close();
      keys.close();
      server.forceShutdown();
      database.close();
      rmSync(folder, { recursive: true });
    },
  };
}

export type Twin = Awaited<ReturnType<typeof openTwin>>;

/** All of a stream: the text as it came, and the last chunk. */
export async function drain(chunks: ReturnType<Twin["gateway"]["streamInfer"]>) {
  const texts: string[] = [];
  for await (const chunk of chunks) {
    if (chunk.done) return { texts, provider: chunk.provider, response: chunk.response };
    texts.push(chunk.text);
  }
  throw new Error("the stream ended without a last chunk");
}
