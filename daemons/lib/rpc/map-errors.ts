import type { Service, ServiceDefinition } from "./service.ts";

/** The service with `map` applied to its errors before its callers see them. */
export function mapErrors<S extends ServiceDefinition>(
  service: Service<S>,
  map: (error: unknown) => unknown,
): Service<S> {
  // biome-ignore lint/suspicious/noExplicitAny: the four shapes of a handler differ in their types alone
  type Any = (...args: any[]) => any;
  const wrapped = Object.entries(service.handlers as Record<string, Any>).map(([name, handler]) => {
    const streams = service.definition[name]?.responseStream === true;
    const stream: Any = async function* (...args) {
      try {
        yield* handler(...args);
      } catch (error) {
        throw map(error);
      }
    };
    const unary: Any = async (...args) => {
      try {
        return await handler(...args);
      } catch (error) {
        throw map(error);
      }
    };
    return [name, streams ? stream : unary];
  });
  return { ...service, handlers: Object.fromEntries(wrapped) };
}
