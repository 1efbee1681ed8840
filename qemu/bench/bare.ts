/** For the benchmark of the tools: the same acts by gRPC handlers that do nothing else. Usage: node bare.ts SOCKET */
import { open, readFile, rename, writeFile } from "node:fs/promises";
import { cpus, loadavg } from "node:os";
import { dirname } from "node:path";
import { silentLog } from "#lib/log";
import { health } from "#lib/rpc/health";
import { createServer, listen } from "#lib/rpc/server";
import { coreIdentity, service } from "#lib/rpc/service";
import { ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";

type Input = { readonly path: string; readonly content: string };

const acts: Readonly<Record<string, (input: Input, at: number) => Promise<unknown>>> = {
  "fs.read": async ({ path }) => {
    const content = await readFile(path, "utf8");
    return { content, size: content.length };
  },
  // As the tool does: whole or not at all, and durable.
  "fs.write": async ({ path, content }, at) => {
    await writeFile(`${path}.${at}`, content, { flush: true });
    await rename(`${path}.${at}`, path);
    const folder = await open(dirname(path), "r");
    await folder.sync();
    await folder.close();
    return { bytes_written: content.length };
  },
  "monitor.cpu": async () => {
    const text = await readFile("/proc/stat", "utf8");
    return { percent: 0, cores: cpus().length, load_avg: loadavg(), lines: text.length };
  },
};

let calls = 0;
const registry = service(ToolRegistryService, {
  execute: async ({ toolName, inputJson }) => {
    const output = await acts[toolName]?.(JSON.parse(inputJson.toString()) as Input, calls++);
    return ExecuteResponse.fromPartial({ success: true, outputJson: Buffer.from(JSON.stringify(output)) });
  },
});

const state = health([]);
const server = createServer([registry, state.service], () => coreIdentity("orchestrator"), silentLog);
await listen(server, { path: process.argv[2] ?? "", identity: coreIdentity("orchestrator"), mode: 0o600 });
state.set(true);
