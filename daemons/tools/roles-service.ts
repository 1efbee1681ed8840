import { type Service, service } from "#lib/rpc/service";
import { ToolRolesService } from "#proto/aios/tool_roles";
import type { Registry } from "./access/index.ts";

/** aios.tools.ToolRoles over the registry: for everybody who may see the tools. */
export function rolesService(registry: Registry): Service<typeof ToolRolesService> {
  return service(ToolRolesService, {
    listRoles: () => ({
      tools: registry.list("").map(({ name, role, rootWhen, confirmation, confirmationWhen }) => ({
        ...{ name, role, adminWhen: rootWhen?.what ?? "" },
        askedWhen: confirmation ? "always" : (confirmationWhen?.what ?? ""),
      })),
    }),
  });
}
