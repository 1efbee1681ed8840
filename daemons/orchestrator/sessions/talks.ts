import { messageOf } from "#lib/errors";
import { listOf, openDurable } from "../durable.ts";
import type { Autonomy } from "../initiative/index.ts";
import type { Sessions } from "./sessions.ts";
import type { SessionWorld } from "./start.ts";

interface TalksParts extends Omit<SessionWorld, "working" | "permit"> {
  /** The orchestrator's own folder. */
  readonly folder: string;
  readonly autonomy: Autonomy;
}

/** Means of the calls of conversations. */
export interface SessionsMeans {
  /** Conversations, loaded when the first is asked for. */
  load(): Promise<Sessions>;
  readonly autonomy: Pick<Autonomy, "permit">;
}

interface Talks extends SessionsMeans {
  /** Goes on with what an earlier run left open; called once goals are taken. */
  begin(): void;
}

/** Conversations with agents. The kernel is in a bundle of its own, which is loaded with the first of them. */
export function openTalks(parts: TalksParts): Talks {
  const { folder, autonomy, log } = parts;
  const working = openDurable<readonly string[]>({
    path: `${folder}/sessions.json`,
    initial: [],
    fits: listOf((id) => typeof id === "string"),
    clock: parts.clock,
    lost: (text) => log.error(text),
  });
  let loading: Promise<Sessions> | undefined;
  const load = () => {
    loading ??= import("./start.ts").then(({ startSessions }) =>
      startSessions({
        ...parts,
        working,
        permit: () => autonomy.permit("person"),
      }),
    );
    return loading;
  };
  const whileWorking = (act: (sessions: Sessions) => Promise<void>) => {
    if (working.value.length === 0) return;
    return load()
      .then(act)
      .catch((error) => log.error("sessions are not looked after", { reason: messageOf(error) }));
  };
  autonomy.onChange(() =>
    autonomy.stop === undefined ? undefined : whileWorking((sessions) => sessions.halt("the machine was stopped")),
  );
  return {
    load,
    autonomy,
    begin: () => void whileWorking((sessions) => sessions.resume()),
  };
}
