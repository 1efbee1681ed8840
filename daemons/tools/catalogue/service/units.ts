import { AiosError } from "#lib/errors";
import type { CallOptions, Client } from "#lib/rpc/service";
import type { InitService } from "#proto/aios/init";
import { packagedService } from "./packaged.ts";

/** PID 1, as far as these tools need it. */
export type Units = Client<typeof InitService>;

/** PID 1's units, where one that it does not know is told of as what it may be: a service that a package brought. */
export function withPackaged(init: Units, folders: readonly string[]): Units {
  const told = (error: unknown, name: string) =>
    error instanceof AiosError && error.code === "NOT_FOUND" ? (broughtBy(name, folders) ?? error) : error;
  const getUnit: Units["getUnit"] = async (request: { name: string }, options?: CallOptions) => {
    try {
      return await init.getUnit(request, options);
    } catch (error) {
      throw told(error, request.name);
    }
  };
  const readLogs: Units["readLogs"] = async function* (request, options) {
    try {
      yield* init.readLogs(request, options);
    } catch (error) {
      throw told(error, request.unit ?? "");
    }
  };
  return Object.create(init, { getUnit: { value: getUnit }, readLogs: { value: readLogs } });
}

function broughtBy(name: string, folders: readonly string[]): AiosError | undefined {
  const packaged = packagedService(name, folders);
  if (packaged === undefined) return undefined;
  const found = { act: "find", object: `service ${name}` };
  if (typeof packaged === "string")
    return new AiosError("NOT_FOUND", {
      ...found,
      reason: `a package brought it, nobody has set it up, and ${packaged}`,
      next: "describe with service.define a program that stays in the foreground",
    });
  return new AiosError("NOT_FOUND", {
    ...found,
    reason: "a package brought it, and nobody has set it up",
    next: `set it up as the package describes it: service.define {"name":"${name}","packaged":true}`,
  });
}
