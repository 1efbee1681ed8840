import { spawn } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { type AddressInfo, createServer } from "node:net";
import { join } from "node:path";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { ownFolder } from "#lib/rpc/sockets";
import { provisioned } from "./testing/twins.ts";

let run: string;
beforeEach(() => {
  run = mkdtempSync("/tmp/aios-console-start-");
  mkdirSync(ownFolder(run, "console"), { recursive: true });
});
afterEach(() => rmSync(run, { recursive: true }));

/** Only what makes certificates needs this addition to Reflect: whether it is there tells whether that was evaluated. */
const report = 'process.on("exit",()=>process._rawDebug("certify:","getMetadata" in Reflect))';

/** What the console, as it ships, has said from its start to its orderly end. */
async function startAndStop(): Promise<string> {
  const port = await freePort();
  writeFileSync(join(run, "config.json"), JSON.stringify({ network: { management_port: port } }));
  const main = new URL("./main.ts", import.meta.url).pathname;
  const env = { ...process.env, AIOS_RUN_DIR: run, AIOS_STATE_DIR: run, AIOS_LIB_DIR: run };
  const child = spawn(process.execPath, ["--import", `data:text/javascript,${report}`, main], {
    env,
    stdio: ["ignore", "ignore", "pipe"],
  });
  let said = "";
  child.stderr.on("data", (data) => {
    said += data;
    if (said.includes('"ready"')) child.kill("SIGTERM");
  });
  await new Promise((resolve) => child.once("close", resolve));
  expect(said).toMatch('"ready"');
  return said;
}

async function freePort(): Promise<number> {
  const probe = createServer();
  await new Promise<void>((resolve) => probe.listen(0, "127.0.0.1", resolve));
  const { port } = probe.address() as AddressInfo;
  await new Promise((resolve) => probe.close(resolve));
  return port;
}

describe("the start", () => {
  it("of a provisioned machine's console does not wait for what makes certificates", async () => {
    mkdirSync(join(run, "provision"));
    for (const [file, text] of [
      ["ca.pem", provisioned.ca],
      ["machine.pem", provisioned.certificate],
      ["machine.key", provisioned.key],
    ] as const)
      writeFileSync(join(run, "provision", file), text);
    expect(await startAndStop()).toMatch("certify: false");
  });

  it("of any other's does: it is its own authority", async () => {
    expect(await startAndStop()).toMatch("certify: true");
  });
});
