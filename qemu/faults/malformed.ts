import type { MethodDefinition } from "@grpc/grpc-js";
import { AgentService } from "#proto/aios/agent";
import { ApiGatewayService, SecretsService } from "#proto/aios/api_gateway";
import { AutonomyService } from "#proto/aios/autonomy";
import { EnrollmentService } from "#proto/aios/console";
import { DutiesService } from "#proto/aios/duties";
import { GoalControlService } from "#proto/aios/goal_control";
import { InitService } from "#proto/aios/init";
import { EventJournalService } from "#proto/aios/journal";
import { MemoryServiceService } from "#proto/aios/memory";
import { MemoryAdminService } from "#proto/aios/memory_admin";
import { MemoryQueryService } from "#proto/aios/memory_query";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { AIRuntimeService } from "#proto/aios/runtime";
import { SessionsService } from "#proto/aios/sessions";
import { ToolHandlerService } from "#proto/aios/tool_handler";
import { ToolRegistryService } from "#proto/aios/tools";
import { HealthService } from "#proto/grpc/health/v1/health";
import { ServerReflectionService } from "#proto/grpc/reflection/v1/reflection";
import { between, oneOf } from "./drawing.ts";

const services: readonly object[] = [
  ...[AgentService, ApiGatewayService, SecretsService, AutonomyService, EnrollmentService, DutiesService],
  ...[GoalControlService, InitService, EventJournalService, MemoryServiceService, MemoryAdminService],
  ...[MemoryQueryService, OrchestratorService, AIRuntimeService, SessionsService, ToolHandlerService],
  ...[ToolRegistryService, HealthService, ServerReflectionService],
];

/** The path of every call of the machine: "/aios.init.Init/GetUnit". */
export const callPaths: readonly string[] = services.flatMap((definition) =>
  Object.values(definition as Record<string, MethodDefinition<unknown, unknown>>).map(({ path }) => path),
);

type Draw = () => number;

/** Texts that have broken something somewhere. The longer ones are cut at every length, within characters too. */
const texts: readonly string[] = [
  ...["", "a", "\u{1F4A1}", "\u202e", "\0", "../../etc/passwd", "/proc/self/environ", "%00%ff", "null", "-1", "1e999"],
  ...[
    "\r\n\r\nHTTP/1.1 200 OK",
    "{",
    '{"a":',
    `${"[".repeat(500)}`,
    "{{x}}",
    `${"$"}{step.field}`,
    "'; DROP TABLE goals;--",
  ],
];

function textOf(random: Draw): Buffer {
  const one = oneOf(texts, random);
  const long = random() < 0.2 ? one.repeat(between(1, 2_000, random)) : one;
  const bytes = Buffer.from(long);
  // Half a character is no UTF-8 any more.
  return bytes.subarray(0, between(0, bytes.length, random));
}

const bytesOf = (random: Draw, max: number): Buffer =>
  Buffer.from(Array.from({ length: between(0, max, random) }, () => between(0, 255, random)));

function varint(value: number): Buffer {
  const bytes = [];
  for (let rest = value; ; rest = Math.floor(rest / 128)) {
    if (rest < 128) return Buffer.from([...bytes, rest]);
    bytes.push((rest % 128) + 128);
  }
}

/** A message on the wire whose fields are drawn: a peer may read it as one of its own. */
export function fieldsOf(random: Draw): Buffer {
  const fields = Array.from({ length: between(0, 6, random) }, () => {
    const wireType = oneOf([0, 2, 2, 2, 5, 1], random);
    const tag = varint(between(1, 14, random) * 8 + wireType);
    if (wireType === 0) return Buffer.concat([tag, varint(oneOf([0, 1, 2 ** 31, 2 ** 53 - 1, 7], random))]);
    if (wireType === 2) {
      const content = random() < 0.8 ? textOf(random) : bytesOf(random, 40);
      return Buffer.concat([tag, varint(content.length), content]);
    }
    return Buffer.concat([tag, Buffer.alloc(wireType === 5 ? 4 : 8, between(0, 255, random))]);
  });
  return Buffer.concat(fields);
}

/**
 * Bytes that are no message of any type: a field whose length leads beyond the end, or is never said. (A tag of no field ends a
 * message for ts-proto 2.18, which takes what stood before it.)
 */
export function unreadable(random: Draw): Buffer {
  const broken = oneOf(
    [
      [0x0a, 0xff, 0xff, 0xff, 0x7f],
      [0x12, 0x80],
      [0x0d, 0x01],
    ],
    random,
  );
  return Buffer.concat([fieldsOf(random), Buffer.from(broken)]);
}

/** What is no HTTP/2 at all, or begins like it and goes on otherwise. */
export function noise(random: Draw): Buffer {
  const preface = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
  const begins = oneOf(["", preface, preface.slice(0, 12), "GET / HTTP/1.1\r\nHost: x\r\n\r\n"], random);
  return Buffer.concat([Buffer.from(begins), bytesOf(random, 200)]);
}
