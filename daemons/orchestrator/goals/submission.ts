import { AiosError, messageOf } from "#lib/errors";
import type { Role } from "#lib/identity/role";
import { checkExecutionId } from "#lib/rpc/service";
import type { JsonObject } from "../json.ts";

/** A client's wish for a goal. */
export interface Submission {
  /** A UUID, chosen by who asks, so that it is there once however often it is asked for; undefined = a new one. */
  readonly id?: string | undefined;
  readonly description: string;
  readonly priority: number;
  readonly tags: readonly string[];
  /** JSON text; empty = none. */
  readonly metadata: string;
  /** The identity that asks. */
  readonly source: string;
  /** The role of the person who asks; absent = it is no person's wish. */
  readonly role?: Role | "";
  /** Goals that must be completed first. */
  readonly dependsOn: readonly string[];
  /** At most one open goal may have this key; empty = none. */
  readonly dedupeKey: string;
}

/** Most characters of a description and of a tag, tags, goals to wait for, characters of a key, bytes of metadata. */
const descriptionLengthMax = 4_096;
const tagLengthMax = 64;
const tagsMax = 32;
const dependenciesMax = 32;
const dedupeKeyLengthMax = 200;
const metadataSizeMaxBytes = 64 * 1024;

/** The metadata of a submission. Throws INVALID_ARGUMENT naming the field that is not as it must be. */
export function checkSubmission(submission: Submission): JsonObject {
  const { id, description, priority, tags, metadata, dependsOn, dedupeKey } = submission;
  checkExecutionId("submit a goal", id);
  if (description.trim() === "") throw bad("description", "it is empty");
  if (description.length > descriptionLengthMax) {
    throw bad("description", `${description.length} characters, at most ${descriptionLengthMax}`);
  }
  if (description.includes("\0")) throw bad("description", "it has a NUL character");
  if (!Number.isInteger(priority) || priority < 0 || priority > 3) {
    throw bad("priority", `${priority} is none of 0 (critical), 1 (high), 2 (normal), 3 (low)`);
  }
  if (tags.length > tagsMax) throw bad("tags", `${tags.length} tags, at most ${tagsMax}`);
  const tag = tags.find((one) => one === "" || one.length > tagLengthMax);
  if (tag !== undefined) throw bad("tags", `a tag of ${tag.length} characters, expected 1 to ${tagLengthMax}`);
  if (dependsOn.length > dependenciesMax) {
    throw bad("depends_on", `${dependsOn.length} goals, at most ${dependenciesMax}`);
  }
  if (dedupeKey.length > dedupeKeyLengthMax) {
    throw bad("dedupe_key", `${dedupeKey.length} characters, at most ${dedupeKeyLengthMax}`);
  }
  return metadata === "" ? {} : readMetadata(metadata);
}

function readMetadata(text: string): JsonObject {
  const size = Buffer.byteLength(text);
  if (size > metadataSizeMaxBytes) throw bad("metadata_json", `${size} bytes, at most ${metadataSizeMaxBytes}`);
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch (error) {
    throw bad("metadata_json", messageOf(error));
  }
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw bad("metadata_json", "it is not a JSON object");
  }
  return value as JsonObject;
}

function bad(field: string, reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "submit a goal:", object: field, reason });
}
