import { expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Client } from "#lib/rpc/service";
import { ToolDefinition, type ToolRegistryService } from "#proto/aios/tools";
import { toolsOver } from "./tools-client.ts";

/** aios-tools that answers `getTool` with what `answers` has next, and a tool when it has no more. */
function over(answers: AiosError[]) {
  const asked: string[] = [];
  const client = {
    async getTool({ name }: { name: string }) {
      asked.push(name);
      const error = answers.shift();
      if (error !== undefined) throw error;
      return ToolDefinition.fromPartial({ name });
    },
  } as unknown as Client<typeof ToolRegistryService>;
  const clock = new ManualClock();
  return { asked, clock, tools: toolsOver(client, clock) };
}

it("a tool that many want to know at once is asked for once, and anew after a minute", async () => {
  const { asked, clock, tools } = over([]);
  const found = await Promise.all(Array.from({ length: 100 }, () => tools.find("fs.read")));
  expect(found.map((facts) => facts?.name)).toEqual(Array(100).fill("fs.read"));
  expect(asked).toHaveLength(1);
  await clock.advance(60_000);
  await tools.find("fs.read");
  expect(asked).toHaveLength(2);
});

it("what could not be told is asked for again", async () => {
  const { asked, tools } = over([new AiosError("UNAVAILABLE", "away"), new AiosError("NOT_FOUND", "no such tool")]);
  await expect(tools.find("fs.read")).rejects.toThrow("away");
  expect(await tools.find("fs.read")).toBeUndefined();
  expect(await tools.find("fs.read")).toMatchObject({ name: "fs.read" });
  expect(asked).toHaveLength(3);
});
