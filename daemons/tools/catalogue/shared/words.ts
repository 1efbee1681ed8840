import * as Type from "typebox";
import { isFullDisk } from "#lib/data/disk";
import { AiosError, errnoOf } from "#lib/errors";
import { makeRoom } from "../../state/index.ts";

/** Words that tools of several namespaces are described with. */

/** An object with these fields and no others. */
export const object = <Properties extends Type.TProperties>(properties: Properties) =>
  Type.Object(properties, { additionalProperties: false });

export const absolutePath = Type.String({ minLength: 1, maxLength: 4096, description: "an absolute path" });

export const agentName = Type.String({ pattern: "^[a-z][a-z0-9-]{0,31}$", description: "an agent's name" });

export const serviceName = Type.String({ pattern: "^[a-z0-9][a-z0-9_.-]{0,63}$", description: "a service's name" });

export const timestamp = Type.Integer({ minimum: 0, description: "milliseconds since the epoch" });

const causes: Readonly<Record<string, string>> = {
  EEXIST: "something was put there meanwhile",
  ENOENT: "it does not exist",
  ENOTDIR: "a part of the path is not a folder",
  EISDIR: "it is a folder",
  EACCES: "access is denied",
  EPERM: "the system does not allow it",
  EROFS: "the file system is read-only",
  ENOSPC: "the disk is full",
  EDQUOT: "the quota is used up",
  ENAMETOOLONG: "the name is too long",
  ELOOP: "it is a symbolic link now",
  EFBIG: "it would be too large",
  EBUSY: "something is mounted there, or the system uses it",
  EMFILE: "too many files are open",
};

/** Runs `work`; a system error becomes one that names the act and the object, without descriptors or stacks. */
export async function named<T>(act: string, object: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work();
  } catch (error) {
    const code = errnoOf(error);
    if (error instanceof AiosError || code === undefined) throw error;
    const reason = causes[code] === undefined ? code : `${causes[code]} (${code})`;
    if (isFullDisk(error))
      throw new AiosError("RESOURCE_EXHAUSTED", { act, object, reason, next: makeRoom }, { cause: error });
    throw new AiosError("FAILED_PRECONDITION", { act, object, reason }, { cause: error });
  }
}
