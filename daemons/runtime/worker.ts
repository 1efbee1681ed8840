import { messageOf } from "#lib/errors";
import { loadBinding } from "./binding.ts";
import { type Engine, openEngine } from "./engine.ts";
import type { Reply, Request, WorkerSetup } from "./messages.ts";

/*
 * The process of one loaded model. Its end is the unloading, and a crash in native code costs one model.
 * Requests and replies go over the IPC channel; when that closes, the runtime is gone and so is the worker.
 */
const setup = JSON.parse(process.argv[2] ?? "") as WorkerSetup;
const say = (reply: Reply) => void process.send?.(reply);
process.on("disconnect", () => process.exit(0));

const aborts = new Map<number, AbortController>();

async function answer(engine: Engine, { id, generation }: Extract<Request, { type: "generate" }>): Promise<void> {
  const abort = new AbortController();
  aborts.set(id, abort);
  try {
    const generated = await engine.generate(generation, (text) => say({ type: "text", id, text }), abort.signal);
    say({ type: "generated", id, generated });
  } catch (error) {
    say({ type: "refused", id, reason: messageOf(error) });
  } finally {
    aborts.delete(id);
  }
}

try {
  let firstError = "";
  const binding = await loadBinding(setup.bindingFolder, (message) => {
    firstError ||= message;
    say({ type: "log", message });
  });
  const engine = await openEngine(binding, setup).catch(async (error) => {
    // llama.cpp's reason comes over libuv's queue, after the promise that it explains.
    await new Promise((resolve) => setTimeout(resolve, 20));
    throw new Error([messageOf(error), firstError].filter((part) => part !== "").join(": "));
  });
  process.on("message", (request: Request) => {
    if (request.type === "generate") answer(engine, request);
    else aborts.get(request.id)?.abort();
  });
  say({ type: "loaded", loaded: engine.loaded });
} catch (error) {
  say({ type: "failed", reason: messageOf(error) });
  process.disconnect?.();
}
