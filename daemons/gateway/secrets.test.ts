import {
  chmodSync,
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  writeFileSync,
} from "node:fs";
import { join } from "node:path";
import grpc from "@grpc/grpc-js";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { keysOutOfReach } from "#lib/data/machine-state";
import { silentLog } from "#lib/log";
import { operatorHeader, roleHeader } from "#lib/rpc/service";
import { openClaudeServer } from "#lib/testing/claude-server";
import { openOpenaiServer } from "#lib/testing/openai-server";
import { SecretsService } from "#proto/aios/api_gateway";
import { openGatewayDatabase } from "./database.ts";
import { openSecrets } from "./secrets.ts";
import { drain, HastyClock, openTwin, provider, request, settings, theKey } from "./testing/twins.ts";
import { openUsage } from "./usage.ts";

const clock = new HastyClock();
let folder: string;
const closing: (() => unknown)[] = [];

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-secrets-");
});
afterEach(async () => {
  for (const close of closing.splice(0)) await close();
  rmSync(folder, { recursive: true, force: true });
});

const keyFile = () => join(folder, "secrets.key");
function open() {
  const database = openGatewayDatabase(join(folder, "usage.db"), clock);
  return { database, secrets: openSecrets(database, keyFile(), clock), usage: openUsage(database, clock, silentLog) };
}
/** Every byte of every file under a folder. */
const bytesOf = (path: string) =>
  readdirSync(path)
    .filter((name) => statSync(join(path, name)).isFile())
    .map((name) => readFileSync(join(path, name), "latin1"))
    .join("\n");

describe("secrets", () => {
  it("are sealed at rest by a key that only the gateway reads, and outlive a restart", () => {
    const first = open();
    first.secrets.set("claude", theKey, "operator:alice");
    first.secrets.set("openai", theKey, "operator:alice");
    expect(first.secrets.remove("openai")).toBe(true);
    expect(first.secrets.remove("openai")).toBe(false);
    first.database.close();
    expect(statSync(keyFile()).mode & 0o777).toBe(0o400);
    expect(bytesOf(folder)).not.toContain(theKey);
    const again = open();
    expect(again.secrets.get("claude")).toBe(theKey);
    expect(again.secrets.get("openai")).toBeUndefined();
    expect(again.secrets.list()).toEqual([{ name: "claude", setAt: clock.now(), setBy: "operator:alice" }]);
    again.database.close();
  });

  it("do not open with another machine's key, under another name, or when they were changed", () => {
    const { database, secrets } = open();
    secrets.set("claude", theKey, "x");
    database.exec("INSERT INTO secret SELECT 'openai', nonce, sealed, tag, set_at, set_by FROM secret");
    expect(() => secrets.get("openai")).toThrow(/was changed; set it again/);
    database.exec("UPDATE secret SET sealed = zeroblob(length(sealed)) WHERE name = 'claude'");
    expect(() => secrets.get("claude")).toThrow(/aiosctl secrets set claude/);
    secrets.set("claude", theKey, "x");
    database.close();
    rmSync(keyFile());
    const moved = open();
    expect(() => moved.secrets.get("claude")).toThrow(/another key than this machine's/);
    moved.secrets.set("claude", theKey, "x");
    expect(moved.secrets.get("claude")).toBe(theKey);
    moved.database.close();
    chmodSync(keyFile(), 0o600);
    writeFileSync(keyFile(), "short");
    const database2 = openGatewayDatabase(join(folder, "usage.db"), clock);
    expect(() => openSecrets(database2, keyFile(), clock)).toThrow(/5 bytes, not 32/);
    database2.close();
  });

  it("are not sealed where the machine's key is out of reach, and none is made", () => {
    const database = openGatewayDatabase(join(folder, "usage.db"), clock);
    const secrets = openSecrets(database, keyFile(), clock, keysOutOfReach("seal", "a provider's key"));
    expect(() => secrets.set("claude", theKey, "x")).toThrow(/seal a provider's key.*cannot be read.*boot menu/);
    expect([secrets.has("claude"), secrets.get("claude"), existsSync(keyFile())]).toEqual([false, undefined, false]);
    database.close();
  });

  it.each([
    ["Claude", theKey],
    ["../x", theKey],
    ["claude", ""],
    ["claude", "with blank"],
    ["claude", "x\ny"],
    ["claude", "x".repeat(4_097)],
  ])("refuse the name %s or the value, which is not repeated", (name, value) => {
    const { database, secrets } = open();
    expect(() => secrets.set(name, value, "x")).toThrow(/set secret/);
    expect(() => secrets.set(name, value, "x")).not.toThrow(theKey);
    database.close();
  });

  it("a database of the first version keeps its usage", () => {
    const { database, usage } = open();
    const one = { model: "m", inputTokens: 1, outputTokens: 2, costUsd: 4 };
    const asked = usage.reserve({ ...one, costUsd: 9, provider: "claude", agent: "a", taskId: "t" });
    asked.settle({ ...one, outcome: "answered" });
    database.close();
    const again = open();
    expect(again.usage.spentThisMonth("claude")).toBe(4);
    again.usage.give("claude", 80);
    expect([again.usage.alerted("claude", 80), again.usage.alerted("claude", 100)]).toEqual([true, false]);
    again.database.close();
  });
});

const admin = { headers: { [operatorHeader]: "mallory", [roleHeader]: "admin" } };

describe("the secrets service", () => {
  const asking = (path: string, role?: string) => {
    const headers = new grpc.Metadata();
    if (role !== undefined) {
      headers.set(operatorHeader, "mallory");
      headers.set(roleHeader, role);
    }
    const client = new grpc.Client(`unix:${path}`, grpc.credentials.createInsecure());
    closing.push(() => client.close());
    const { path: method, requestSerialize, responseDeserialize } = SecretsService.setSecret;
    return () =>
      new Promise((resolve, reject) => {
        const done = (error: unknown, answer: unknown) => (error ? reject(error) : resolve(answer));
        client.makeUnaryRequest(
          method,
          requestSerialize,
          responseDeserialize,
          { name: "claude", value: theKey },
          headers,
          done,
        );
      });
  };

  it("takes a key from an admin, tells names only, and lets nobody else near", async () => {
    const twin = await openTwin(settings([provider("claude", "http://127.0.0.1:1")]), clock, false);
    closing.push(twin.close);
    // Without a role: a daemon itself.
    for (const role of [undefined, "reader", "operator"])
      await expect(asking(twin.path, role)()).rejects.toMatchObject({
        details: expect.stringContaining("only an admin"),
      });
    await asking(twin.path, "admin")();
    const { secrets } = await twin.keys.listSecrets({}, admin);
    expect(secrets).toEqual([{ name: "claude", setAt: clock.now(), setBy: "operator:mallory" }]);
    expect(await twin.keys.removeSecret({ name: "claude" }, admin)).toMatchObject({ success: true });
    expect(await twin.keys.removeSecret({ name: "claude" }, admin)).toMatchObject({ success: false });
  });
});

it("no key is in any log, error, answer, alert or file, whatever a provider says of it", async () => {
  const quoting = `Incorrect API key provided: ${theKey}. Bearer ${theKey} x-api-key=${theKey}`;
  const servers = [await openClaudeServer(), await openOpenaiServer()];
  const [claude, openai] = servers.map(({ url }) => url) as [string, string];
  const twin = await openTwin(
    settings([provider("claude", claude), provider("openai", openai)], { attemptsMax: 1 }),
    clock,
  );
  closing.push(twin.close, ...servers.map((server) => server.close));
  const outputs: string[] = [];
  const collect = async (act: () => Promise<unknown>) => {
    try {
      outputs.push(JSON.stringify(await act()));
    } catch (error) {
      for (let cause: unknown = error; cause instanceof Error; cause = cause.cause)
        outputs.push(String(cause.stack), JSON.stringify(cause));
    }
  };
  const wrongs = [
    ...[400, 401, 403, 404, 429, 500].map((status) => ({ status, message: quoting })),
    { raw: { type: "text/html", body: quoting } },
    { raw: { type: "application/json", body: `{"x": ${quoting}` } },
    { raw: { type: "text/event-stream", body: `data: ${quoting}\n\n` } },
    {
      raw: {
        type: "text/event-stream",
        body: `event: error\ndata: ${JSON.stringify({ type: "error", error: { type: "api_error", message: quoting } })}\n\n`,
      },
    },
    { cutAfter: 1 },
  ];
  for (const wrong of wrongs) {
    for (const server of servers) server.say(wrong, wrong);
    const prompt = String(outputs.length);
    await collect(() => twin.gateway.infer(request({ prompt })));
    await collect(() => drain(twin.gateway.streamInfer(request({ prompt }))));
  }
  await collect(() => twin.keys.setSecret({ name: "Not a name", value: theKey }, admin));
  await collect(() => twin.keys.setSecret({ name: "claude", value: `${theKey} with a blank` }, admin));
  await collect(() => twin.keys.listSecrets({}, admin));
  await collect(() => twin.gateway.getBudget({}));
  await collect(() => twin.gateway.getUsage({ provider: "", model: "", requestingAgent: "", taskId: "", days: 0 }));
  // The requests did carry it, so there was something to leak.
  expect(
    servers.every(({ requests }) => requests.every(({ headers }) => JSON.stringify(headers).includes(theKey))),
  ).toBe(true);
  expect(outputs.length).toBeGreaterThan(wrongs.length * 2);
  expect(outputs.join("\n")).toContain("[key]");
  for (const text of [...outputs, ...twin.logged, bytesOf(twin.folder).replaceAll("\u0000", "")])
    expect(text).not.toContain(theKey.slice(0, 16));
});
