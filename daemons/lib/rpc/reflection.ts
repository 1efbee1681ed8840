/**
 * Health and reflection are our own sixty lines each. The libraries (`grpc-health-check`, `@grpc/reflection`) parse
 * .proto files with protobufjs at start-up, in every daemon; under emulation that is the largest single part of a
 * daemon's start. Ours use the generated types and read the descriptors only when somebody asks.
 */
import {
  type ServerReflectionRequest,
  type ServerReflectionResponse,
  ServerReflectionService,
} from "#proto/grpc/reflection/v1/reflection";
import { codes } from "../errors.ts";
import { type Service, service } from "./service.ts";

/** Every proto file of the product, written by ci/proto.ts: its descriptor, what it imports and what it defines. */
export interface Descriptors {
  readonly [file: string]: {
    readonly descriptor: string;
    readonly imports: readonly string[];
    readonly symbols: readonly string[];
  };
}

type Answer = ServerReflectionResponse["messageResponse"];

/** grpc.reflection.v1 for `serviceNames`. `load` is called at the first question, not at start-up. */
export function reflection(serviceNames: readonly string[], load: () => Descriptors): Service {
  let loaded: Descriptors | undefined;
  const descriptors = () => {
    loaded ??= load();
    return loaded;
  };
  return service(ServerReflectionService, {
    async *serverReflectionInfo(requests) {
      for await (const request of requests) {
        yield {
          validHost: request.host,
          originalRequest: request,
          messageResponse: answer(request, serviceNames, descriptors()),
        };
      }
    },
  });
}

function answer(request: ServerReflectionRequest, serviceNames: readonly string[], all: Descriptors): Answer {
  const question = request.messageRequest;
  switch (question?.$case) {
    case "listServices":
      return { $case: "listServicesResponse", value: { service: serviceNames.map((name) => ({ name })) } };
    case "fileByFilename":
      return question.value in all ? files(question.value, all) : notFound(`file ${question.value}`);
    case "fileContainingSymbol": {
      const file = Object.keys(all).find((name) => all[name]?.symbols.includes(question.value));
      return file === undefined ? notFound(`symbol ${question.value}`) : files(file, all);
    }
    case "allExtensionNumbersOfType":
    case "fileContainingExtension":
      return notFound("extensions: these protos have none");
    default:
      return {
        $case: "errorResponse",
        value: { errorCode: codes.INVALID_ARGUMENT, errorMessage: "empty reflection request" },
      };
  }
}

function notFound(what: string): Answer {
  return { $case: "errorResponse", value: { errorCode: codes.NOT_FOUND, errorMessage: `no ${what}` } };
}

/** A file and, once each, all it imports. */
function files(name: string, all: Descriptors): Answer {
  const names = new Set<string>();
  const add = (file: string) => {
    if (names.has(file)) return;
    names.add(file);
    for (const needed of all[file]?.imports ?? []) add(needed);
  };
  add(name);
  const fileDescriptorProto = [...names].flatMap((file) =>
    all[file] ? [Buffer.from(all[file].descriptor, "base64")] : [],
  );
  return { $case: "fileDescriptorResponse", value: { fileDescriptorProto } };
}
