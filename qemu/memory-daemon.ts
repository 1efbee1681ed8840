import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, symlinkSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { connect } from "#lib/rpc/client";
import type { Client } from "#lib/rpc/service";
import { openPeer } from "#lib/testing/sockets";
import { nodeOptions } from "#manifest";
import { EventJournalService } from "#proto/aios/journal";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryAdminService } from "#proto/aios/memory_admin";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { bundleDaemon } from "../image/steps/bundles.ts";

/** A memory daemon of this host: the bundle that ships, its state in a folder. */
export interface MemoryDaemon {
  readonly pid: number;
  readonly memory: Client<typeof MemoryServiceService>;
  readonly query: Client<typeof MemoryQueryService>;
  readonly admin: Client<typeof MemoryAdminService>;
  readonly journal: Client<typeof EventJournalService>;
  /** From the start of the process to its ready line, milliseconds. */
  readonly readyMs: number;
  /** Resolves when it has ended. */
  readonly ended: Promise<void>;
  kill(signal: "SIGKILL" | "SIGTERM"): Promise<void>;
}

const startTimeoutMs = 60_000;

/** Bundles the daemon into `folder` and returns the program. */
export async function memoryProgram(repository: string, folder: string): Promise<string> {
  const program = await bundleDaemon("memory", repository, folder);
  const modules = join(folder, "usr/lib/aios/node_modules");
  if (!existsSync(modules)) symlinkSync(join(repository, "node_modules"), modules);
  return program;
}

/** Where a daemon with its state in `folder` has its stores. */
export const storesIn = (folder: string) => ({
  working: join(folder, "state/memory/working.db"),
  journal: join(folder, "state/memory/journal.db"),
  longterm: join(folder, "state/memory/longterm.db"),
});

/** Starts the daemon and waits until it is ready. Without its vector server, unless `vectorUrl` names one. */
export async function startMemory(
  program: string,
  folder: string,
  vectorUrl = "http://127.0.0.1:9",
): Promise<MemoryDaemon> {
  for (const name of ["run", "state"]) mkdirSync(join(folder, name), { recursive: true });
  const socket = openPeer(join(folder, "run"), "memory", "orchestrator");
  const { working, longterm } = storesIn(folder);
  const memory = {
    operational_max_entries: 10_000,
    working_db: working,
    longterm_db: longterm,
    vector_db: join(folder, "state/vectors"),
    vector_url: vectorUrl,
  };
  writeFileSync(join(folder, "run/config.json"), JSON.stringify({ system: {}, memory }));
  const env = {
    AIOS_RUN_DIR: join(folder, "run"),
    AIOS_STATE_DIR: join(folder, "state"),
    AIOS_LIB_DIR: join(folder, "lib"),
  };
  const from = performance.now();
  const child = spawn(process.execPath, [...nodeOptions, program], { env, stdio: ["ignore", "ignore", "pipe"] });
  await ready(child);
  const readyMs = performance.now() - from;
  const target = `unix:${socket}`;
  const clients = {
    memory: connect(MemoryServiceService, target),
    query: connect(MemoryQueryService, target),
    admin: connect(MemoryAdminService, target),
    journal: connect(EventJournalService, target),
  };
  const ended = once(child, "exit").then(() => {
    for (const client of Object.values(clients)) client.close();
  });
  return {
    pid: child.pid ?? 0,
    ...clients,
    readyMs,
    ended,
    async kill(signal) {
      child.kill(signal);
      await ended;
    },
  };
}

/** Waits for the daemon's ready line. */
async function ready(child: ChildProcess): Promise<void> {
  let said = "";
  await new Promise<void>((resolve, reject) => {
    const fail = () => reject(new Error(`aios-memory is not ready: ${said.slice(-2_000)}`));
    const late = setTimeout(fail, startTimeoutMs);
    child.stderr?.on("data", (chunk: Buffer) => {
      if (said.length < 100_000) said += chunk.toString("utf8");
      if (!said.includes('"msg":"ready"')) return;
      clearTimeout(late);
      resolve();
    });
    child.once("exit", () => {
      clearTimeout(late);
      fail();
    });
  });
}
