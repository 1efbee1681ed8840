import { AIRuntimeService } from "#proto/aios/runtime";
import { type Command, exit } from "../command.ts";
import { moment } from "../words.ts";

export const models: Command = {
  name: "models",
  summary: "the models and whether they are loaded",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl models", "aiosctl models --json | jq -r '.models[].modelName'"],
  async run({ target, out }) {
    const { models } = await target().client(AIRuntimeService, "runtime").listModels({});
    const rows = models.map((model) => [
      model.modelName,
      model.status,
      moment(model.loadedAt),
      moment(model.lastUsed),
      String(model.requestCount),
    ]);
    out.table(["model", "status", "loaded (utc)", "last used (utc)", "requests"], rows);
    out.document({ models });
    return exit.ok;
  },
};
