import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Machine, startMachine } from "../../testing/harness.ts";
import { indexArchive, makeRoot } from "../../testing/packages.ts";

let machine: Machine;
let folder: string;
let root: string;
let server: Server;
let port: number;

beforeAll(async () => {
  folder = mkdtempSync("/tmp/aios-outbound-");
  root = `${folder}/root`;
  mkdirSync(`${folder}/archive`);
  indexArchive(`${folder}/archive`, "Debian");
  machine = await startMachine({ outbound: false, packages: makeRoot(root, [`${folder}/archive`]) });
  server = createServer((request, answer) => {
    if (request.url === "/away") answer.writeHead(302, { location: "http://192.0.2.1/" }).end();
    else answer.end("here");
  }).listen(0, "127.0.0.1");
  await new Promise((resolve) => server.once("listening", resolve));
  port = (server.address() as { port: number }).port;
});

afterAll(() => {
  server.close();
  machine.close();
  rmSync(folder, { recursive: true, force: true });
});

const said = "network.allow_outbound is false, and that is not this machine";

it.each([
  ["web.http_request", { url: "http://192.0.2.1/" }],
  ["web.download", { url: "https://example.invalid/x", path: "/tmp/aios-x" }],
  ["web.scrape", { url: "http://[2001:db8::1]/" }],
  ["net.http_request", { url: "http://10.0.0.1/" }],
  ["net.check_port", { host: "192.0.2.1", port: 80 }],
  ["net.ping", { host: "example.invalid" }],
  ["net.dns_lookup", { hostname: "example.invalid", server: "192.0.2.53" }],
  ["net.port_scan", { host: "192.0.2.1" }],
  ["git.clone", { url: "https://example.invalid/x.git", path: "/tmp/aios-clone" }],
  ["git.clone", { url: "ssh://git@192.0.2.1/x.git", path: "/tmp/aios-clone" }],
  ["process.spawn", { command: "/usr/bin/true", sandbox: true, network: true }],
])("%s %j is refused while nothing may leave the machine", async (tool, input) => {
  expect(await machine.operator.call(tool, input)).toMatchObject({
    success: false,
    error: expect.stringContaining(said),
  });
});

it("what is on the machine is reached, and a redirect does not lead away from it", async () => {
  const at = `http://localhost:${port}`;
  expect((await machine.operator.call("web.http_request", { url: `${at}/` })).output).toMatchObject({ body: "here" });
  expect((await machine.operator.call("web.http_request", { url: `${at}/away` })).error).toContain(
    `192.0.2.1: ${said}`,
  );
  expect(await machine.operator.call("net.check_port", { host: "127.0.0.1", port })).toMatchObject({ success: true });
});

it("packages come from the machine's own disk, and from no other host", async () => {
  expect(await machine.operator.call("pkg.update")).toMatchObject({ success: true });
  writeFileSync(`${root}/etc/apt/sources.list`, "deb [trusted=yes] http://archive.example.invalid/ ./\n");
  expect((await machine.operator.call("pkg.update")).error).toContain(`archive.example.invalid: ${said}`);
});

it("a local repository is cloned", async () => {
  const git = (...argv: string[]) => execFileSync("git", ["-C", `${folder}/repository`, ...argv]);
  mkdirSync(`${folder}/repository`);
  git("init", "--quiet");
  const cloned = await machine.operator.call("git.clone", { url: `${folder}/repository`, path: `${folder}/clone` });
  expect(cloned).toMatchObject({ success: true });
});
