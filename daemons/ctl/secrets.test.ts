import { PassThrough } from "node:stream";
import { afterEach, beforeEach, expect, it } from "vitest";
import { service } from "#lib/rpc/service";
import { ApiGatewayService, BudgetStatus, SecretsService, type SetSecretRequest } from "#proto/aios/api_gateway";
import { readInput } from "./input.ts";
import { openTwin, type Twin } from "./testing/twins.ts";

let twin: Twin;
let set: SetSecretRequest[];

beforeEach(async () => {
  twin = openTwin();
  set = [];
  await twin.daemon("init");
  await twin.daemon(
    "gateway",
    service(ApiGatewayService, {
      getBudget: () =>
        BudgetStatus.fromPartial({
          providers: [
            {
              name: "claude",
              model: "m",
              hasKey: true,
              usedUsd: 1.5,
              monthlyBudgetUsd: 100,
              rateLimitRpm: 50,
              state: "ready",
            },
          ],
        }),
    }),
    service(SecretsService, {
      setSecret: (request) => {
        set.push(request);
        return {};
      },
      listSecrets: () => ({ secrets: [{ name: "claude", setAt: Date.UTC(2026, 10, 21), setBy: "operator:alice" }] }),
      removeSecret: ({ name }) => ({ success: name === "claude", message: `there is no secret ${name}` }),
    }),
  );
});
afterEach(() => twin.close());

it("a key goes in by standard input, and comes out nowhere", async () => {
  const { code, out, error } = await twin.aiosctlWith({ input: "sk-0123456789\n" }, "secrets", "set", "claude");
  expect([code, out, error]).toEqual([0, "claude is set\n", ""]);
  expect(set).toEqual([{ name: "claude", value: "sk-0123456789" }]);
});

it("a key among the arguments, or none at all, is refused", async () => {
  const given = await twin.aiosctlWith({ input: "sk-0123456789" }, "secrets", "set", "claude", "sk-0123456789");
  expect(given).toMatchObject({ code: 2, error: expect.not.stringContaining("sk-0123") });
  const empty = await twin.aiosctlWith({ input: "\n" }, "secrets", "set", "claude");
  expect(empty).toMatchObject({ code: 2, error: expect.stringContaining("standard input") });
  expect(set).toEqual([]);
});

it("lists names, and removes", async () => {
  expect((await twin.aiosctl("secrets")).out).toMatch(/claude +2026-11-21 00:00:00 +operator:alice/);
  expect(await twin.aiosctl("secrets", "remove", "claude")).toMatchObject({ code: 0, out: "claude is removed\n" });
  expect(await twin.aiosctl("secrets", "remove", "x")).toMatchObject({ code: 1, out: "there is no secret x\n" });
});

it("a key that is typed is not shown, and a pipe is read to its end", async () => {
  const raw: boolean[] = [];
  const terminal = Object.assign(new PassThrough(), { isTTY: true, setRawMode: (on: boolean) => void raw.push(on) });
  const asked: string[] = [];
  const typed = readInput(terminal, () => asked.push("asked"));
  for (const keys of ["sk-1", "x\u007f2", "3\r"]) terminal.write(keys);
  expect(await typed).toBe("sk-123");
  expect([raw, asked]).toEqual([[true, false], ["asked"]]);
  const interrupted = readInput(terminal, () => {});
  terminal.write("sk\u0003");
  await expect(interrupted).rejects.toThrow("interrupted");
  const pipe = new PassThrough();
  pipe.end("sk-456\n");
  expect(await readInput(pipe, () => asked.push("asked"))).toBe("sk-456\n");
  expect(asked).toHaveLength(1);
});

it("shows the providers, what they cost, and why one is not asked", async () => {
  expect((await twin.aiosctl("providers")).out).toMatch(/claude +m +yes +\$1\.50 of \$100\.00 +0\/50 +ready/);
});
