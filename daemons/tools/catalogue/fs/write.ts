import * as Type from "typebox";
import { changes } from "../../tool.ts";
import { absolutePath, contentMaxBytes, diffOfWrite, named, object, undoWrite, writeFile } from "../shared/index.ts";

export const write = changes({
  name: "fs.write",
  summary: "Writes a text file (UTF-8) of at most 1 MiB, whole or not at all; makes the folders that are missing.",
  input: object({ path: absolutePath, content: Type.String({ description: "the file's new content" }) }),
  output: object({ bytes_written: Type.Integer() }),
  resources: { path: "path" },
  capabilities: ["fs:write:{path}"],
  undo: undoWrite,
  risk: "medium",
  timeoutMs: 10_000,
  idempotent: true,
  preview: ({ input, resources: { path } }) => diffOfWrite(path, input.content, contentMaxBytes),
  run: ({ executionId, input, resources: { path } }) =>
    named("write", path.path, () => writeFile(path, Buffer.from(input.content), executionId)),
});
