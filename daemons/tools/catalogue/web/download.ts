import { createHash } from "node:crypto";
import { mkdir, open, readdir, rm } from "node:fs/promises";
import * as Type from "typebox";
import { callAfter } from "#lib/clock";
import { AiosError, errnoOf } from "#lib/errors";
import { backupSizeMaxBytes } from "../../state/index.ts";
import { changes } from "../../tool.ts";
import {
  absolutePath,
  alsoLocal,
  type HttpAnswer,
  named,
  type Outbound,
  object,
  placeFile,
  planWrite,
  requestOf,
  send,
  undoWrite,
  urlField,
} from "../shared/index.ts";

/** A download must be small enough to be backed up when it is replaced later. */
const downloadMaxBytes = backupSizeMaxBytes;

/** A download that arrived in the spool. */
interface Arrived {
  readonly file: string;
  readonly bytes: number;
  readonly sha256: string;
  readonly url: string;
}

const downloadTimeoutMs = 120_000;

/** `spool` is a folder of the tools' own, where downloads arrive before they are put in place. */
export const downloadTool = (spool: string, outbound: Outbound) => {
  const arrived = new Map<string, Arrived>();
  // At the first download, not at the daemon's start: what lies there belongs to calls that died with an earlier one.
  let cleared: Promise<void> | undefined;
  const clear = async () => {
    await mkdir(spool, { recursive: true, mode: 0o700 });
    for (const name of await readdir(spool)) await rm(`${spool}/${name}`, { force: true });
  };
  const discard = async (executionId: string) => {
    arrived.delete(executionId);
    await rm(`${spool}/${executionId}`, { force: true });
  };
  return changes({
    name: "web.download",
    summary:
      "Downloads a URL to a file, at most 64 MiB, whole or not at all; tells its SHA-256, and checks it when given.",
    input: object({
      url: urlField,
      path: absolutePath,
      sha256: Type.Optional(
        Type.String({ pattern: "^[0-9a-f]{64}$", description: "what the file must have, hexadecimal" }),
      ),
      bytes_max: Type.Optional(Type.Integer({ minimum: 1, maximum: downloadMaxBytes })),
    }),
    output: object({
      path: Type.String(),
      bytes: Type.Integer(),
      sha256: Type.String(),
      url: Type.String({ description: "the URL that answered, after redirects" }),
    }),
    resources: { url: "url", path: "path" },
    capabilities: ["web:request:{url}", "fs:write:{path}"],
    alsoNeeds: alsoLocal,
    risk: "medium",
    timeoutMs: downloadTimeoutMs,
    idempotent: false,
    undo: {
      // A plan says what will be written, and what comes is known only when it is here: so it is fetched before.
      prepare: async (call, backups) => {
        const { executionId, input, resources } = call;
        // Should the act not follow, nobody else clears it away.
        callAfter(downloadTimeoutMs, () => discard(executionId), "unheld");
        try {
          cleared ??= clear();
          await cleared;
          const answer = await send(requestOf(call, "web:request", outbound));
          const fetched = await fetchTo(`${spool}/${executionId}`, answer, input.bytes_max ?? downloadMaxBytes);
          if (input.sha256 !== undefined && input.sha256 !== fetched.sha256) throw otherContent(fetched);
          arrived.set(executionId, fetched);
          return await named("back up", resources.path.path, () => planWrite(resources.path, fetched, backups));
        } catch (error) {
          await discard(executionId);
          throw error;
        }
      },
      restore: undoWrite.restore,
      settle: async (plan, call) => undoWrite.settle?.(plan, call),
    },
    run: async ({ executionId, resources: { path } }) => {
      const fetched = arrived.get(executionId);
      if (fetched === undefined) throw new Error("nothing has arrived");
      try {
        await using content = await open(fetched.file, "r");
        await named("write", path.path, () => placeFile(path, content, executionId));
        return { path: path.path, bytes: fetched.bytes, sha256: fetched.sha256, url: fetched.url };
      } finally {
        await discard(executionId);
      }
    },
  });
};

/** Streams an answer's body to a new file, as it comes. Throws when the answer is no success or too long. */
async function fetchTo(file: string, { status, url, body, headers }: HttpAnswer, bytesMax: number): Promise<Arrived> {
  const refuse = (reason: string) =>
    new AiosError("FAILED_PRECONDITION", { act: "download", object: url, reason, next: "nothing was written" });
  try {
    if (status < 200 || status > 299) throw refuse(`it answers with status ${status}`);
    const length = Number(headers["content-length"] ?? 0);
    if (length > bytesMax) throw refuse(`${length} bytes, at most ${bytesMax} are taken`);
    await using target = await open(file, "wx", 0o600);
    const sum = createHash("sha256");
    let bytes = 0;
    for await (const chunk of body as AsyncIterable<Buffer>) {
      bytes += chunk.length;
      if (bytes > bytesMax) throw refuse(`more than ${bytesMax} bytes`);
      sum.update(chunk);
      await target.writeFile(chunk);
    }
    return { file, bytes, sha256: sum.digest("hex"), url };
  } catch (error) {
    throw errnoOf(error) === "ECONNRESET" ? refuse("the connection was cut before its end") : error;
  } finally {
    body.destroy();
  }
}

function otherContent({ url, sha256, bytes }: Arrived): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "download",
    object: url,
    reason: `its SHA-256 is ${sha256} (${bytes} bytes), not the one that was asked for`,
    next: "nothing was written",
  });
}
