import * as Type from "typebox";
import type { Place } from "../../access/index.ts";
import { reads } from "../../tool.ts";
import { object } from "../shared/index.ts";

/** sec.protected: the table of what the machine stands on, for people and for agents that were refused. */
export const placesTool = (places: readonly Place[]) =>
  reads({
    name: "sec.protected",
    summary:
      "Lists the protected places: who may change each by naming its path, what that breaks, what changes it instead.",
    input: object({}),
    output: object({
      places: Type.Array(
        object({
          paths: Type.Array(Type.String(), { description: "`*` stands for any part of a name" }),
          change: Type.Enum(["granted", "admin", "nobody"], {
            description:
              "who may, an admin being asked first; granted: an admin unasked, and agents that were granted it",
          }),
          read: Type.Enum(["granted", "admin", "nobody"], { description: "who may read what lies there" }),
          holds: Type.String(),
          breaks: Type.String({ description: "what a change breaks" }),
          way: Type.String({ description: "what changes it instead; empty when nothing does" }),
          open: Type.Array(Type.String(), { description: "what lies in it and is open all the same" }),
          itself: Type.Boolean({ description: "only the folder itself: what lies in it is open" }),
        }),
      ),
    }),
    capabilities: ["sec:read"],
    timeoutMs: 5_000,
    run: () => ({
      places: places.map(({ paths, change, read, holds, breaks, way = "", open = [], itself = false }) => ({
        ...{ change, read: read ?? ("granted" as const), holds, breaks, way, itself },
        paths: [...paths],
        open: [...open],
      })),
    }),
  });
