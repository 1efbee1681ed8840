import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import type { ServiceDefinition } from "#lib/service";
import { daemons } from "#manifest";
import { AgentService } from "#proto/aios/agent";
import { ApiGatewayService } from "#proto/aios/api_gateway";
import { EnrollmentService } from "#proto/aios/console";
import { InitService } from "#proto/aios/init";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService } from "#proto/aios/runtime";
import { ToolRegistryService } from "#proto/aios/tools";
import { offered, rules, table } from "./access.ts";

const definitions: ServiceDefinition[] = [
  ...[AgentService, ApiGatewayService, EnrollmentService, InitService, MemoryServiceService, MemoryQueryService],
  ...[OrchestratorService, AIRuntimeService, ToolRegistryService],
];
const paths = definitions.flatMap((definition) => Object.values(definition).map(({ path }) => path));

describe("the table of who may call what", () => {
  it("has each call of each of our services, once, and no other", () => {
    expect(rules.map(({ path }) => path).sort()).toEqual([...paths].sort());
  });

  it("knows every service of the protos", () => {
    const descriptors: Record<string, { symbols: string[] }> = JSON.parse(
      readFileSync(new URL("../../proto/gen/descriptors.json", import.meta.url), "utf8"),
    );
    const methods = Object.entries(descriptors)
      .filter(([file]) => file.startsWith("aios/"))
      .flatMap(([, { symbols }]) => symbols);
    for (const service of Object.keys(table)) expect(methods).toContain(service);
    expect(Object.keys(table)).toHaveLength(definitions.length);
  });

  it("sends each call to a daemon of the machine", () => {
    const known = [...daemons.map(({ name }) => name), "init"];
    for (const daemon of offered.values()) expect(known).toContain(daemon);
  });

  it("lets readers change nothing", () => {
    const changing =
      /^(Submit|Cancel|Create|Delete|Execute|Rollback|Start|Stop|Restart|Shutdown|Reboot|Load|Unload|Infer|StreamInfer|Store|Update|Push|Add|Register|Enroll)/;
    const wrong = rules.filter(({ path, least }) => least === "reader" && changing.test(path.split("/")[2] ?? ""));
    expect(wrong).toEqual([]);
  });
});
