import { statSync } from "node:fs";
import { AiosError, errnoOf } from "#lib/errors";

/** Looks for the model file `file` in `folders`, in order. Throws NOT_FOUND that says where it was looked for. */
export function findModel(file: string, folders: readonly string[]): string {
  const path = folders.map((folder) => `${folder}/${file}`).find((candidate) => fingerprint(candidate) !== "");
  if (path !== undefined) return path;
  throw new AiosError("NOT_FOUND", {
    act: "find model",
    object: file,
    reason: `it is not in ${folders.join(" or ")}`,
    next: "copy it there, or name another one in [models] of /etc/aios/config.toml",
  });
}

/** Changes when any of the places where `file` may be gets, loses or changes it. */
export function fingerprints(file: string, folders: readonly string[]): string {
  return folders.map((folder) => fingerprint(`${folder}/${file}`)).join(" ");
}

function fingerprint(path: string): string {
  try {
    const { ino, size, mtimeMs } = statSync(path);
    return `${ino}:${size}:${mtimeMs}`;
  } catch (error) {
    if (errnoOf(error) === "ENOENT" || errnoOf(error) === "ENOTDIR") return "";
    throw error;
  }
}

/** A model's name: its file's name without the ending. */
export function modelName(file: string): string {
  return file.replace(/\.gguf$/i, "");
}
