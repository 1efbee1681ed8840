import { messageOf } from "#lib/errors";
import type { Reply, Request, WorkerSetup } from "../between/index.ts";
import { loadBinding } from "./binding.ts";
import { type AnswerControl, type Engine, openEngine } from "./engine.ts";
import { parcels } from "./parcels.ts";
import { Refusal } from "./refusal.ts";

/*
 * The process of one loaded model. Its end is the unloading, and a crash in native code costs one model.
 * Requests and replies go over the IPC channel; when that closes, the runtime is gone and so is the worker.
 */
const say = (reply: Reply) => void process.send?.(reply);
process.on("disconnect", () => process.exit(0));

const answers = new Map<number, AnswerControl>();

async function load(setup: WorkerSetup): Promise<Engine> {
  let firstError = "";
  const binding = await loadBinding(setup.bindingFolder, (message) => {
    firstError ||= message;
    say({ type: "log", message });
  });
  return openEngine(binding, setup, (message) => say({ type: "log", message })).catch(async (error) => {
    // llama.cpp's reason comes over libuv's queue, after the promise that it explains.
    await new Promise((resolve) => setTimeout(resolve, 20));
    throw new Error([messageOf(error), firstError].filter((part) => part !== "").join(": "));
  });
}

/** The answer to a request that has one of its own. */
function act(engine: Engine, request: Exclude<Request, { type: "load" | "abort" | "pause" | "resume" }>): unknown {
  const { id } = request;
  switch (request.type) {
    case "generate": {
      const text = parcels((part) => say({ type: "text", id, text: part }));
      const answer = engine.generate(request.generation, text.add);
      answers.set(id, answer);
      return answer.generated.finally(() => {
        answers.delete(id);
        text.end();
      });
    }
    case "embed":
      return engine.embed(request);
    case "count":
      return engine.count(request.chat);
    case "threads":
      return engine.setThreads(request.threads);
    case "measure":
      return engine.measure(request.threads);
  }
}

async function serve(engine: Engine, request: Exclude<Request, { type: "load" }>): Promise<void> {
  const { id } = request;
  if (request.type === "abort") return answers.get(id)?.abort();
  if (request.type === "pause" || request.type === "resume") return answers.get(id)?.pause(request.type === "pause");
  try {
    say({ type: "done", id, value: await act(engine, request) });
  } catch (error) {
    say({ type: "refused", id, code: error instanceof Refusal ? error.code : "INTERNAL", reason: messageOf(error) });
  }
}

process.once("message", async (first: Request) => {
  if (first.type !== "load") throw new Error(`a worker loads a model first, and was asked to ${first.type}`);
  try {
    const engine = await load(first.setup);
    process.on("message", (request: Exclude<Request, { type: "load" }>) => serve(engine, request));
    say({ type: "loaded", loaded: engine.loaded });
  } catch (error) {
    say({ type: "failed", reason: messageOf(error) });
    process.disconnect?.();
  }
});
