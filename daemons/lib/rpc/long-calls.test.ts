import { mkdtempSync, rmSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { AutonomyService, AutonomyState } from "#proto/aios/autonomy";
import { silentLog } from "../log.ts";
import { connect } from "./client.ts";
import { createServer, listen } from "./server.ts";
import { type Client, coreIdentity, service } from "./service.ts";

const folder = mkdtempSync("/tmp/aios-long-calls-");
const identity = coreIdentity("console");
const answers = service(AutonomyService, { getAutonomy: () => AutonomyState.fromPartial({ level: "full" }) });
const server = createServer([answers], () => identity, silentLog);
let client: Client<typeof AutonomyService>;

beforeAll(async () => {
  await listen(server, { path: `${folder}/s.sock`, identity, mode: 0o660 });
  client = connect(AutonomyService, `unix:${folder}/s.sock`);
});
afterAll(() => {
  client.close();
  server.forceShutdown();
  rmSync(folder, { recursive: true });
});

describe("a call", () => {
  it.each([24, 30, 50, Number.POSITIVE_INFINITY])("that may take %d days is answered", async (days) => {
    expect(await client.getAutonomy({}, { timeoutMs: days * 86_400_000 })).toMatchObject({ level: "full" });
  });

  it("that may take no time that is a number is refused", async () => {
    await expect(client.getAutonomy({}, { timeoutMs: Number.NaN })).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
  });
});
