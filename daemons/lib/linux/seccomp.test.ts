import { spawnSync } from "node:child_process";
import { mkdtempSync, openSync, rmSync, writeFileSync } from "node:fs";
import { createServer, type Server } from "node:net";
import { afterAll, beforeAll, expect, it } from "vitest";
import { type Sockets, seccompFilter } from "./seccomp.ts";

let folder: string;
const servers: Server[] = [];
let port: number;

beforeAll(async () => {
  folder = mkdtempSync("/tmp/aios-seccomp-");
  for (const at of [{ host: "127.0.0.1", port: 0 }, { path: `${folder}/socket` }]) {
    const server = createServer((socket) => socket.end()).listen(at);
    await new Promise((resolve) => server.once("listening", resolve));
    servers.push(server);
  }
  port = (servers[0]?.address() as { port: number } | undefined)?.port ?? 0;
});

afterAll(() => {
  for (const server of servers) server.close();
  rmSync(folder, { recursive: true });
});

/** What a program that is held by the filter says of a connection. The kernel takes its side, so nobody need answer. */
function connecting(sockets: Sockets, to: object): string {
  const filter = `${folder}/${sockets}`;
  writeFileSync(filter, seccompFilter(sockets));
  const script = `require("node:net").connect(${JSON.stringify(to)}).on("connect", () => { console.log("connected"); process.exit(0); }).on("error", (error) => console.log(error.code))`;
  const argv = ["--dev-bind", "/", "/", "--seccomp", "3", "--", process.execPath, "-e", script];
  const { stdout, stderr } = spawnSync("bwrap", argv, {
    stdio: ["ignore", "pipe", "pipe", openSync(filter, "r")],
    encoding: "utf8",
    timeout: 10_000,
  });
  return stdout.trim() || stderr;
}

it("leaves a program that may reach the network all sockets", () => {
  expect(connecting("any", { host: "127.0.0.1", port })).toBe("connected");
  expect(connecting("any", { path: `${folder}/socket` })).toBe("connected");
});

it("leaves one that may not only sockets that are files", () => {
  expect(connecting("unix", { host: "127.0.0.1", port })).toBe("EAFNOSUPPORT");
  expect(connecting("unix", { host: "::1", port })).toBe("EAFNOSUPPORT");
  expect(connecting("unix", { path: `${folder}/socket` })).toBe("connected");
});

it("leaves one that is alone none, no signal to another and no limit of another", () => {
  expect(connecting("none", { path: `${folder}/socket` })).toBe("EAFNOSUPPORT");
  expect(connecting("none", { host: "127.0.0.1", port })).toBe("EAFNOSUPPORT");
  const filter = `${folder}/none`;
  const tries = [
    `try { process.kill(${process.pid}, 0); console.log("sent"); } catch (error) { console.log(error.code); }`,
    "process.abort();",
  ].join("");
  const argv = ["--dev-bind", "/", "/", "--seccomp", "3", "--", process.execPath, "-e", tries];
  const stdio = ["ignore", "pipe", "ignore", openSync(filter, "r")] as const;
  const { stdout, status } = spawnSync("bwrap", argv, { stdio: [...stdio], encoding: "utf8", timeout: 10_000 });
  // It still ends itself: 128 + SIGABRT, as bwrap tells it.
  expect([stdout.trim(), status]).toEqual(["EPERM", 134]);
});

it("leaves one that is to start no program its threads, and no process beside its own", () => {
  const filter = `${folder}/one`;
  writeFileSync(filter, seccompFilter("any", "one"));
  const tries = [
    `const { error } = require("node:child_process").spawnSync("true");`,
    `new (require("node:worker_threads").Worker)("console.log('thread')", { eval: true });`,
    "console.log(error?.code);",
  ].join("");
  const argv = ["--dev-bind", "/", "/", "--seccomp", "3", "--", process.execPath, "-e", tries];
  const stdio = ["ignore", "pipe", "ignore", openSync(filter, "r")] as const;
  const { stdout } = spawnSync("bwrap", argv, { stdio: [...stdio], encoding: "utf8", timeout: 10_000 });
  expect(stdout.split("\n").sort()).toEqual(["", "EPERM", "thread"]);
});
