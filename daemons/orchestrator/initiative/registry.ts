import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Durable, fieldsOf, listOf } from "../durable.ts";

/** A service on this machine that others may use and the monitor looks at. */
export interface RegisteredService {
  readonly name: string;
  readonly address: string;
  readonly port: number;
  readonly protocol: string;
  /** Path of an HTTP request that is answered below 400 when it is well; empty = the port answers. */
  readonly healthCheckPath: string;
  /** The unit that is restarted for it; empty = none. */
  readonly managedBy: string;
  readonly registeredBy: string;
  readonly registeredAt: number;
}

/** Whether a value read from a file is a list of them. */
export const isServiceList = listOf(
  fieldsOf({
    ...{ name: "string", address: "string", port: "number", protocol: "string", healthCheckPath: "string" },
    ...{ managedBy: "string", registeredBy: "string", registeredAt: "number" },
  }),
);

type ServiceStatus = "unknown" | "healthy" | "unhealthy";

export interface ServiceRegistry {
  /** Registers a service, or one of the same name anew. Throws PERMISSION_DENIED when it is another's. */
  register(service: Omit<RegisteredService, "registeredAt">): void;
  /** Throws NOT_FOUND. */
  find(name: string): RegisteredService & { readonly status: ServiceStatus };
  list(): readonly RegisteredService[];
  /** Notes the health that the monitor found. */
  note(name: string, healthy: boolean): void;
}

const servicesMax = 200;

/** Time after which a health that the monitor has not confirmed is not known any more. */
export const healthKeptMs = 180_000;

/** Looking at it is a connection that the monitor makes: only this machine's own services are registered. */
const loopback = /^(127\.\d{1,3}\.\d{1,3}\.\d{1,3}|localhost|::1)$/;

export function openRegistry(record: Durable<readonly RegisteredService[]>, clock: Clock): ServiceRegistry {
  const health = new Map<string, { readonly healthy: boolean; readonly at: number }>();
  const statusOf = (name: string): ServiceStatus => {
    const known = health.get(name);
    if (known === undefined || clock.monotonic() - known.at > healthKeptMs) return "unknown";
    return known.healthy ? "healthy" : "unhealthy";
  };
  return {
    register(service) {
      check(service);
      const before = record.value.find(({ name }) => name === service.name);
      if (before !== undefined && before.registeredBy !== service.registeredBy && isAgent(service.registeredBy)) {
        throw new AiosError(
          "PERMISSION_DENIED",
          `register service ${service.name}: it was registered by ${before.registeredBy}`,
        );
      }
      const others = record.value.filter(({ name }) => name !== service.name);
      if (others.length >= servicesMax) {
        throw new AiosError("RESOURCE_EXHAUSTED", `register service ${service.name}: ${servicesMax} are registered`);
      }
      record.set([...others, { ...service, registeredAt: clock.now() }]);
      health.delete(service.name);
    },
    find(name) {
      const found = record.value.find((one) => one.name === name);
      if (found === undefined) throw new AiosError("NOT_FOUND", `find service ${name}: none is registered`);
      return { ...found, status: statusOf(name) };
    },
    list: () => record.value,
    note(name, healthy) {
      if (record.value.some((one) => one.name === name)) health.set(name, { healthy, at: clock.monotonic() });
    },
  };
}

const isAgent = (identity: string) => identity.startsWith("agent:");

function check({ name, address, port, protocol, healthCheckPath, managedBy }: Omit<RegisteredService, "registeredAt">) {
  const unit = /^[a-z0-9][a-z0-9_.-]{0,63}$/;
  if (!unit.test(name)) throw bad("name", "expected lower-case letters, digits, dots and dashes");
  if (managedBy !== "" && !unit.test(managedBy)) throw bad("managed_by", "expected a unit's name");
  if (!loopback.test(address)) throw bad("address", "expected one of this machine's own, such as 127.0.0.1");
  if (!Number.isInteger(port) || port < 1 || port > 65_535) throw bad("port", "expected 1 to 65535");
  if (!/^[a-z0-9.+-]{0,16}$/.test(protocol)) throw bad("protocol", 'expected a word such as "http"');
  if (!/^(\/[^\s?#]{0,255})?$/.test(healthCheckPath)) throw bad("health_check_path", "expected a path such as /health");
}

function bad(field: string, reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "register service:", object: field, reason });
}
