import { AiosError } from "#lib/errors";
import { type Call, type Service, service } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import { SecretsService } from "#proto/aios/api_gateway";
import type { Secrets } from "./secrets.ts";

/** aios.api_gateway.Secrets over a store. No call gives a value back. */
export function secretsService(secrets: Secrets): Service<typeof SecretsService> {
  return service(SecretsService, {
    setSecret: ({ name, value }, call) => {
      secrets.set(name, value, adminOf(call));
      return {};
    },
    listSecrets: (_, call) => {
      adminOf(call);
      return { secrets: secrets.list() };
    },
    removeSecret: ({ name }, call) => {
      adminOf(call);
      const removed = secrets.remove(name);
      return { success: removed, message: removed ? "" : `there is no secret ${beginning(name, 64)}` };
    },
  });
}

/**
 * The person who asks, of the role admin, root at the machine itself among them. The console lets nobody else through;
 * this is the second look. No daemon has business with secrets.
 */
function adminOf({ identity }: Call): string {
  if (identity.kind === "operator" && identity.role === "admin") return `operator:${identity.name}`;
  throw new AiosError("PERMISSION_DENIED", {
    act: "use",
    object: "the secrets",
    reason: "only an admin may",
    next: "ask one",
  });
}
