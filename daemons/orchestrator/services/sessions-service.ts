import { AiosError } from "#lib/errors";
import { type Identity, type Service, service } from "#lib/rpc/service";
import { type SessionEvent, type Session as SessionMessage, SessionsService } from "#proto/aios/sessions";
import type { Happening, SessionsDoor, SessionView } from "../sessions/index.ts";
import { nameOf, refuseAgents, roleOf } from "./callers.ts";

const listLimitDefault = 20;
const listLimitMax = 100;

/** aios.orchestrator.Sessions: for people. */
export function sessionsService({ load, autonomy }: SessionsDoor): Service<typeof SessionsService> {
  return service(SessionsService, {
    openSession: async ({ agent, level, name }, { identity }) => {
      const owner = personOf(identity, "open a session");
      autonomy.permit("person");
      return sessionMessage(await (await load()).open({ agent, level, name, owner, role: roleOf(identity) }));
    },
    listSessions: async ({ limit, cursor }, { identity }) => {
      personOf(identity, "list sessions");
      if (limit < 0 || limit > listLimitMax)
        throw new AiosError("INVALID_ARGUMENT", `list sessions: limit: ${limit}, expected 0 to ${listLimitMax}`);
      const page = await (await load()).list(limit || listLimitDefault, cursor);
      return { sessions: page.sessions.map(sessionMessage), nextCursor: page.nextCursor };
    },
    getSession: async ({ id }, { identity }) => {
      personOf(identity, "see a session");
      return sessionMessage(await (await load()).view(named(id)));
    },
    say: async function* ({ sessionId, text, runId }, { identity, signal }) {
      const by = { name: personOf(identity, "speak in a session"), role: roleOf(identity) };
      autonomy.permit("person");
      const sessions = await load();
      for await (const one of sessions.say(named(sessionId), text, runId, by, signal)) yield eventMessage(one);
    },
    followSession: async function* ({ sessionId, afterSequence }, { identity, signal }) {
      personOf(identity, "follow a session");
      if (afterSequence < 0)
        throw new AiosError(
          "INVALID_ARGUMENT",
          `follow a session: after_sequence: ${afterSequence}, expected 0 or more`,
        );
      const sessions = await load();
      for await (const one of sessions.follow(named(sessionId), afterSequence, signal)) yield eventMessage(one);
    },
    interruptSession: async ({ id }, { identity }) => {
      await (await load()).interrupt(named(id), personOf(identity, "interrupt a session"));
      return { success: true, message: "it is interrupted" };
    },
    closeSession: async ({ id }, { identity }) => {
      await (await load()).close(named(id), personOf(identity, "close a session"));
      return { success: true, message: "it is closed" };
    },
  });
}

/** An agent speaks with nobody but by its tasks. */
function personOf(identity: Identity, act: string): string {
  refuseAgents(identity, act);
  return nameOf(identity);
}

function named(id: string): string {
  if (id !== "") return id;
  throw new AiosError("INVALID_ARGUMENT", "find session: id: it is empty");
}

type Listed = Omit<SessionView, "turns" | "budget" | "head"> & Partial<SessionView>;

function sessionMessage({ id, name, agent, owner, level, createdAt, state, ...more }: Listed): SessionMessage {
  const { head = 0, turns = [], budget } = more;
  return {
    ...{ id, name, agent, owner, level, createdAt, state, head },
    turns: turns.map(({ role, content }) => ({ role, content })),
    tokensLeft: budget?.tokens_remaining ?? 0,
    costLeftUsd: budget?.cost_remaining_usd ?? 0,
    callsLeft: budget?.tool_calls_remaining ?? 0,
  };
}

function eventMessage(happening: Happening): SessionEvent {
  const { sequence, at } = happening;
  return { sequence, at, happening: whatOf(happening) };
}

function whatOf(happening: Happening): SessionEvent["happening"] {
  switch (happening.what) {
    case "said":
      return { $case: "said", value: { role: happening.role, content: happening.text } };
    case "asked": {
      const { callId, tool, input } = happening;
      return { $case: "asked", value: { callId, tool, inputJson: json(input) } };
    }
    case "ended": {
      const { callId, tool, status, output, error } = happening;
      return { $case: "ended", value: { callId, tool, status, outputJson: json(output), error } };
    }
    case "waits":
      return { $case: "waits", value: { callId: happening.callId, approvalId: happening.approval } };
    case "trouble":
      return { $case: "trouble", value: happening.reason };
    case "over": {
      const { runId, status, reason, answer } = happening;
      return { $case: "over", value: { runId, status, reason, answer } };
    }
  }
}

const json = (value: unknown) => (value === null ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value)));
