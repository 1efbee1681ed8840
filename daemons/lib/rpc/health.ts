import {
  type HealthCheckResponse,
  HealthService,
  HealthCheckResponse_ServingStatus as Status,
} from "#proto/grpc/health/v1/health";
import { AiosError } from "../errors.ts";
import { type Call, type Service, service } from "./service.ts";

/** Whether a daemon is ready, as grpc.health.v1 tells it. */
export interface Health {
  readonly service: Service;
  /** Ready or not, from now on; watchers hear of it. */
  set(ready: boolean): void;
}

/** The health of the daemon as a whole (service name "") and of each of its services. Not ready until told so. */
export function health(serviceNames: readonly string[]): Health {
  let ready = false;
  const changed = new Set<() => void>();
  const response = (): HealthCheckResponse => ({ status: ready ? Status.SERVING : Status.NOT_SERVING });
  const isKnown = (name: string) => name === "" || serviceNames.includes(name);

  async function* watch(name: string, call: Call): AsyncIterable<HealthCheckResponse> {
    if (!isKnown(name)) {
      yield { status: Status.SERVICE_UNKNOWN };
    }
    while (isKnown(name) && !call.signal.aborted) {
      yield response();
      await new Promise<void>((resolve) => {
        const wake = () => {
          changed.delete(wake);
          resolve();
        };
        changed.add(wake);
        call.signal.addEventListener("abort", wake, { once: true });
      });
    }
  }

  return {
    service: service(HealthService, {
      check: (request) => {
        if (isKnown(request.service)) return response();
        throw new AiosError("NOT_FOUND", `check health of ${request.service}: no such service on this socket`);
      },
      watch: (request, call) => watch(request.service, call),
    }),
    set: (now) => {
      ready = now;
      for (const wake of [...changed]) wake();
    },
  };
}
