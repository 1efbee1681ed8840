import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { object, serviceName, timestamp } from "../shared/index.ts";

/** Services that are looked after, at most. */
const watchedMax = 200;

interface Watched {
  readonly service: string;
  readonly url: string;
  readonly reason: string;
  readonly added_by: string;
  readonly added_at: number;
}

const described = object({
  service: Type.String(),
  url: Type.String({ description: "what must answer there; empty when nothing" }),
  reason: Type.String(),
  added_by: Type.String(),
  added_at: timestamp,
});

const facts = { exclusive: "watchlist", risk: "low", timeoutMs: 5_000, idempotent: true } as const;

/** The services that the monitor looks after: kept by name, over restarts. */
export function watchlistTools({ state, clock }: { state: State; clock: Clock }): readonly Tool[] {
  const watched = openDocuments<Watched>(state, "watched");
  return [listTool(watched), addTool(watched, clock), removeTool(watched)];
}

const listTool = (watched: Documents<Watched>) =>
  reads({
    name: "monitor.watchlist",
    summary: "Lists the services that the monitor looks after, the newest first.",
    input: object({}),
    output: object({ services: Type.Array(described) }),
    capabilities: ["monitor:read"],
    timeoutMs: 5_000,
    run: () => ({ services: watched.list(watchedMax) }),
  });

const addTool = (watched: Documents<Watched>, clock: Clock) =>
  changes({
    ...facts,
    name: "monitor.watchlist_add",
    summary: "Has the monitor look after a service: that it runs, and that it answers at an address when one is given.",
    input: object({
      service: serviceName,
      url: Type.Optional(
        Type.String({
          // Where the monitor may look: with https it would not know whom to believe.
          pattern: "^http://(127\\.0\\.0\\.1|localhost)(:[0-9]{1,5})?/",
          maxLength: 2048,
          description: "an address on this machine that it answers at",
        }),
      ),
      reason: Type.Optional(Type.String({ maxLength: 500 })),
    }),
    output: object({
      service: Type.String(),
      watched: Type.Integer({ description: "services that are looked after" }),
    }),
    capabilities: ["monitor:watch:{service}"],
    undo: putBack(watched),
    run: async ({ caller, input: { service, url = "", reason = "" } }) => {
      const known = watched.get(service);
      if (known === undefined && watched.list(watchedMax).length >= watchedMax) throw full(service);
      const added = { added_by: known?.added_by ?? caller.name, added_at: known?.added_at ?? clock.now() };
      await watched.put(service, { service, url, reason, ...added });
      return { service, watched: watched.list(watchedMax).length };
    },
  });

const removeTool = (watched: Documents<Watched>) =>
  changes({
    ...facts,
    name: "monitor.watchlist_remove",
    summary: "Has the monitor no longer look after a service.",
    input: object({ service: serviceName }),
    output: object({ removed: Type.Boolean({ description: "it was looked after" }) }),
    capabilities: ["monitor:watch:{service}"],
    undo: putBack(watched),
    run: async ({ input: { service } }) => {
      const removed = watched.get(service) !== undefined;
      await watched.remove(service);
      return { removed };
    },
  });

interface Before {
  readonly service: string;
  readonly before?: Watched;
}

const putBack = (watched: Documents<Watched>) => ({
  prepare: async ({ input: { service } }: { input: { service: string } }): Promise<Before> => {
    const before = watched.get(service);
    return before === undefined ? { service } : { service, before };
  },
  restore: async ({ service, before }: Before) => {
    if (before === undefined) await watched.remove(service);
    else await watched.put(service, before);
  },
});

function full(service: string): AiosError {
  return new AiosError("RESOURCE_EXHAUSTED", {
    act: "watch",
    object: `service ${service}`,
    reason: `${watchedMax} services are looked after already`,
    next: "remove one with monitor.watchlist_remove",
  });
}
