import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { chmodSync, mkdtempSync, readdirSync, rmSync, statSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { socketPath } from "#lib/rpc/sockets";
import { daemons, users } from "#manifest";
import { calls } from "#reach";
import { machineFolders, makeFolders } from "./base/folders.ts";

/*
 * The folders as init makes them, with a listener in each as the daemon's own account, and whoever is not root trying them all:
 * who may call whom is kept by the file system alone.
 */

let folder: string;
let listeners: ChildProcess[];
const run = () => `${folder}/run`;

beforeEach(() => {
  folder = mkdtempSync("/tmp/aios-sockets-");
  chmodSync(folder, 0o755);
  makeFolders(machineFolders(run(), `${folder}/state`, `${folder}/log`).filter(({ path }) => path.startsWith(folder)));
  listeners = [];
});
afterEach(async () => {
  await Promise.all(
    listeners.map((listener) => {
      listener.kill("SIGKILL");
      return once(listener, "exit");
    }),
  );
  rmSync(folder, { recursive: true });
});

const accountOf = (process: string) => users[daemons.find(({ name }) => name === process)?.user ?? "root"];
const pairs = Object.entries(calls).flatMap(([peer, called]) => called.map((daemon) => ({ peer, daemon })));

/** Runs a script as an account; its arguments are the rest. */
function runAs({ uid, gid }: { uid: number; gid: number }, script: string, words: readonly string[]): ChildProcess {
  const stdio = ["ignore", "pipe", "inherit"] as const;
  return spawn(process.execPath, ["-e", script, "--", ...words], { uid, gid, stdio: [...stdio] });
}

const listenAll = `
  process.umask(0o007);
  const { createServer } = require("node:net");
  const paths = process.argv.slice(1);
  let open = 0;
  for (const path of paths) createServer().listen(path, () => ++open === paths.length && console.log("listening"));
`;

const tryAll = `
  const { connect } = require("node:net");
  const tries = process.argv.slice(1).map((path) => new Promise((resolve) => {
    const socket = connect(path, () => { socket.destroy(); resolve([path, "connected"]); });
    socket.on("error", ({ code }) => resolve([path, code]));
  }));
  Promise.all(tries).then((all) => console.log(JSON.stringify(all)));
`;

async function listenEverywhere(): Promise<void> {
  for (const daemon of ["init", ...daemons.map(({ name }) => name)]) {
    const paths = pairs.filter((pair) => pair.daemon === daemon).map(({ peer }) => socketPath(run(), daemon, peer));
    const listener = runAs(accountOf(daemon), listenAll, paths);
    listeners.push(listener);
    if (listener.stdout !== null) await once(listener.stdout, "data");
  }
}

async function reachedBy(account: { uid: number; gid: number }): Promise<Record<string, string>> {
  const paths = pairs.map(({ daemon, peer }) => socketPath(run(), daemon, peer));
  const child = runAs(account, tryAll, paths);
  let said = "";
  child.stdout?.on("data", (chunk) => {
    said += chunk;
  });
  await once(child, "close");
  const results = JSON.parse(said) as [string, string][];
  return Object.fromEntries(results.map(([path, result]) => [path.slice(run().length + 1), result]));
}

describe("the sockets of the daemons", () => {
  it("open to the one peer that each is for, and to no other account", async () => {
    await listenEverywhere();
    const accounts = Object.entries(users).filter(([name]) => name !== "root");
    for (const [name, account] of accounts) {
      const own = daemons.find(({ user }) => user === name)?.name;
      const expected = pairs.map(({ daemon, peer }) => [
        `${daemon}/${peer}/socket`,
        // A daemon may open what it listens on itself.
        peer === own || daemon === own ? "connected" : "EACCES",
      ]);
      expect([name, await reachedBy(account)]).toEqual([name, Object.fromEntries(expected)]);
    }
  });

  it("are in folders where nobody but root makes or replaces anything", () => {
    const closed = [run(), ...readdirSync(run()).map((name) => `${run()}/${name}`)];
    for (const path of closed)
      expect([path, statSync(path).uid, statSync(path).mode & 0o7777]).toEqual([path, 0, 0o755]);
  });
});
