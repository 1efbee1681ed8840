import { AIRuntimeService, ModelEntry, type ModelStatus, type PullProgress } from "#proto/aios/runtime";
import { type Command, type Context, exit, type Option, text, UsageError, wholeNumber } from "../command.ts";
import { duration, moment, size } from "../words.ts";

const client = (context: Context) => context.target().client(AIRuntimeService, "runtime");

/** A model of many gigabytes on a slow disk takes this long to load at most. */
const loadTimeoutMs = 660_000;

/** How often people are told how far something is. */
const tellMs = 2_000;

export const modelsList: Command = {
  name: "models list",
  summary: "the models that the machine knows, and which are loaded",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl models", "aiosctl models --json | jq -r '.models[] | select(.status==\"ready\").modelName'"],
  async run(context) {
    const { out } = context;
    const [{ models }, health] = await Promise.all([client(context).listModels({}), client(context).healthCheck({})]);
    const gpu = health.details["gpu"] ?? "";
    const rows = models.map((model) => [
      model.modelName,
      model.level || model.entry?.role || "-",
      short(model.status),
      model.entry !== undefined && model.entry.sizeBytes > 0 ? size(model.entry.sizeBytes) : "-",
      where(model),
      model.memoryBytes > 0 ? size(model.memoryBytes) : "-",
      moment(model.lastUsed),
      String(model.requestCount),
    ]);
    out.table(["model", "level", "status", "file", "runs on", "memory", "last used (utc)", "requests"], rows);
    for (const { modelName, status } of models.filter(({ status }) => status.startsWith("error: ")))
      out.line(`\n${modelName}: ${status.slice("error: ".length)}`);
    if (gpu !== "") out.line(`\nGPU ${gpu}`);
    if (health.details["manifest"]) out.line(`\n${health.details["manifest"]}`);
    const leftOut = (health.details["left_out"] ?? "").split("\n").filter((line) => line !== "");
    if (leftOut.length > 0)
      out.line(`\nLeft out of the models' folders:\n${leftOut.map((line) => `  ${line}`).join("\n")}`);
    out.document({ models, gpu, ...(leftOut.length > 0 && { leftOut }) });
    return exit.ok;
  },
};

function short(status: string): string {
  return status.startsWith("error: ") ? "error" : status;
}

function where({ backend, device, gpuLayers, threads, sequences, contextTokens }: ModelStatus): string {
  if (backend === "") return "-";
  const on =
    gpuLayers > 0 ? `${backend} (${device}), ${gpuLayers} layers` : `${threads} thread${threads === 1 ? "" : "s"}`;
  return `${on}, ${sequences} x ${contextTokens} tokens`;
}

export const modelsPull: Command = {
  name: "models pull",
  summary: "download a model of the manifest; goes on where an earlier pull was cut off",
  usage: "NAME",
  args: [1, 1],
  examples: [
    "aiosctl models pull tinyllama-1.1b",
    "aiosctl models pull mistral-7b --json | jq -r '[.doneBytes, .totalBytes] | @tsv'",
  ],
  async run(context) {
    const { out, args, signal } = context;
    const [modelName = ""] = args;
    const tell = teller(context);
    for await (const step of client(context).pullModel({ modelName }, { signal })) {
      out.document(step);
      if (step.state === "present") out.line(`${modelName} is there already: ${step.path}`);
      else if (step.state === "done")
        out.line(`${modelName}: ${size(step.doneBytes)}, SHA-256 as expected, in ${step.path}`);
      else tell(step);
    }
    return exit.ok;
  },
};

/** Tells how far a pull is, now and then: with the speed since it was told last. */
function teller({ out, clock }: Context): (step: PullProgress) => void {
  let told: { at: number; bytes: number } | undefined;
  return ({ state, doneBytes, totalBytes, resumedBytes }) => {
    const at = clock.monotonic();
    if (told === undefined && resumedBytes > 0) out.note(`going on after ${size(resumedBytes)}`);
    if (told !== undefined && at - told.at < tellMs) return;
    const of = totalBytes > 0 ? ` of ${size(totalBytes)} (${Math.floor((doneBytes / totalBytes) * 100)} %)` : "";
    const speed = told !== undefined && at > told.at ? ((doneBytes - told.bytes) / (at - told.at)) * 1000 : 0;
    const left = speed > 0 && totalBytes > 0 ? `, ${duration(((totalBytes - doneBytes) / speed) * 1000)} left` : "";
    out.note(`${state}: ${size(doneBytes)}${of}${speed > 0 ? `, ${size(speed)}/s${left}` : ""}`);
    told = { at, bytes: doneBytes };
  };
}

export const modelsVerify: Command = {
  name: "models verify",
  summary: "check model files: that they are whole models, and the manifest's",
  usage: "[NAME] [--again]",
  args: [0, 1],
  options: { again: { type: "boolean", about: "read files whose hash is remembered, too" } },
  examples: ["aiosctl models verify", "aiosctl models verify mistral-7b --again"],
  async run(context) {
    const { out, args, values, signal, clock } = context;
    const request = { modelName: args[0] ?? "", readAgain: values["again"] === true };
    let wrong = 0;
    let told = clock.monotonic();
    for await (const verdict of client(context).verifyModels(request, { signal })) {
      const { modelName, state, reason, doneBytes, totalBytes, sha256 } = verdict;
      out.document(verdict);
      if (state === "reading") {
        if (clock.monotonic() - told >= tellMs)
          out.note(`reading ${modelName}: ${size(doneBytes)} of ${size(totalBytes)}`);
        if (clock.monotonic() - told >= tellMs) told = clock.monotonic();
        continue;
      }
      if (state === "bad" || state === "absent") wrong++;
      out.line(`${modelName}: ${sentence(state, reason, sha256)}`);
    }
    return wrong === 0 ? exit.ok : exit.failed;
  },
};

function sentence(state: string, reason: string, sha256: string): string {
  if (state === "good") return "good, as the manifest says";
  if (state === "unpinned") return `a whole model; the manifest has no SHA-256 to hold it against (it is ${sha256})`;
  return `${state}: ${reason}`;
}

const addOptions: Readonly<Record<string, Option>> = {
  url: { type: "string", value: "ADDRESS", about: "http or https address that it is pulled from" },
  path: { type: "string", value: "FILE", about: "a file on the machine, instead of an address" },
  sha256: { type: "string", value: "HASH", about: "64 hexadecimal digits; without it nothing is pulled" },
  file: { type: "string", value: "NAME", about: "file name in the models' folder (default: the address' end)" },
  size: { type: "string", value: "BYTES", about: "the file's length" },
  role: { type: "string", value: "ROLE", about: "operational, tactical or embedding" },
  context: { type: "string", value: "TOKENS", about: "context of each call (default: the model's own, 4096 at most)" },
  "gpu-layers": { type: "string", value: "N", about: "layers on a GPU; -1 (default) as many as fit, 0 none" },
};

export const modelsAdd: Command = {
  name: "models add",
  summary: "add a model to the machine's manifest, or change its entry; downloads nothing",
  usage: "NAME --url ADDRESS --sha256 HASH [--role ROLE] [--context TOKENS] [--gpu-layers N]",
  args: [1, 1],
  options: addOptions,
  examples: [
    "aiosctl models add tinyllama-1.1b --url https://HOST/tinyllama-1.1b-chat-v1.0.Q4_K_M.gguf --sha256 HASH",
    "aiosctl models add minilm --url https://HOST/minilm.gguf --sha256 HASH --role embedding",
    "aiosctl models add mine --path /srv/mine.gguf --gpu-layers 0",
  ],
  async run(context) {
    const { out, args } = context;
    const [name = ""] = args;
    const old = (await client(context).listModels({})).models.find(({ modelName }) => modelName === name)?.entry;
    const given = text(context, "file") ?? "";
    const entry = await client(context).addModel(
      ModelEntry.fromPartial({
        name,
        url: text(context, "url") ?? "",
        path: text(context, "path") ?? "",
        sha256: (text(context, "sha256") ?? "").toLowerCase(),
        // An entry that is known by its file keeps that name: the configuration names it.
        file: given || (old?.file ?? ""),
        sizeBytes: wholeNumber(context, "size", 0, Number.MAX_SAFE_INTEGER) ?? 0,
        role: role(context),
        contextTokens: wholeNumber(context, "context", 0, 16_777_216) ?? 0,
        gpuLayers: wholeNumber(context, "gpu-layers", -1, 10_000) ?? -1,
      }),
    );
    const next = entry.url !== "" && entry.sha256 !== "" ? `; "aiosctl models pull ${name}" fetches it` : "";
    out.line(`${name} is in the machine's manifest as ${entry.file}${next}`);
    out.document(entry);
    return exit.ok;
  },
};

function role(context: Context): string {
  const given = text(context, "role") ?? "";
  if (["", "operational", "tactical", "embedding"].includes(given)) return given;
  throw new UsageError(`--role ${given}: expected operational, tactical or embedding`);
}

export const modelsRemove: Command = {
  name: "models remove",
  summary: "take a model out of the machine's manifest and remove its file",
  usage: "NAME [--keep-file]",
  args: [1, 1],
  options: { "keep-file": { type: "boolean", about: "leave the file where it is" } },
  examples: ["aiosctl models remove llama-13b", "aiosctl models remove mine --keep-file"],
  async run(context) {
    const { out, args, values } = context;
    const [modelName = ""] = args;
    const keepFile = values["keep-file"] === true;
    const { freedBytes } = await client(context).removeModel({ modelName, keepFile }, { timeoutMs: loadTimeoutMs });
    out.line(`${modelName} is removed${freedBytes > 0 ? `, ${size(freedBytes)} freed` : ""}`);
    out.document({ modelName, freedBytes });
    return exit.ok;
  },
};

export const modelsLoad: Command = {
  name: "models load",
  summary: "load a model now, and say how",
  usage: "NAME [--context TOKENS] [--gpu-layers N] [--threads N]",
  args: [1, 1],
  options: {
    context: { type: "string", value: "TOKENS", about: "context of each call (default: as the manifest says)" },
    "gpu-layers": { type: "string", value: "N", about: "layers on a GPU; -1 (default) as many as fit, 0 none" },
    threads: { type: "string", value: "N", about: "threads (default: measured)" },
  },
  examples: ["aiosctl models load mistral-7b", "aiosctl models load mistral-7b --gpu-layers 20 --context 8192"],
  async run(context) {
    const { out, args, signal } = context;
    const model = await client(context).loadModel(
      {
        ...{ modelName: args[0] ?? "", modelPath: "", port: 0 },
        contextLength: wholeNumber(context, "context", 0, 16_777_216) ?? 0,
        gpuLayers: wholeNumber(context, "gpu-layers", -1, 10_000) ?? -1,
        threads: wholeNumber(context, "threads", 0, 1_024) ?? 0,
      },
      { timeoutMs: loadTimeoutMs, signal },
    );
    out.line(`${model.modelName} is ${model.status} after ${duration(model.loadMs)}: ${where(model)}`);
    out.document(model);
    return exit.ok;
  },
};

export const modelsUnload: Command = {
  name: "models unload",
  summary: "unload a model once its calls are done",
  usage: "NAME",
  args: [1, 1],
  examples: ["aiosctl models unload mistral-7b"],
  async run(context) {
    const { out, args } = context;
    const [modelName = ""] = args;
    const answer = await client(context).unloadModel({ modelName }, { timeoutMs: loadTimeoutMs });
    out.line(answer.message);
    out.document(answer);
    return exit.ok;
  },
};
