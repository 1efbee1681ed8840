import { AiosError } from "#lib/errors";

export function refused(path: string, reason: string, next?: string): AiosError {
  const fault = { act: "use", object: `repository ${path}`, reason };
  return new AiosError("FAILED_PRECONDITION", next === undefined ? fault : { ...fault, next });
}
