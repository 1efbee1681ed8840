import { AiosError } from "#lib/errors";
import { type Identity, type Service, service } from "#lib/rpc/service";
import { type SessionEvent, type Session as SessionMessage, SessionsService } from "#proto/aios/sessions";
import {
  type BranchRef,
  branchOf,
  type Happening,
  type SessionPage,
  type SessionsMeans,
  type SessionView,
  type Speaker,
} from "../sessions/index.ts";
import { nameOf, refuseAgents, roleOf } from "./callers.ts";

const listLimitDefault = 20;
const listLimitMax = 100;

/** aios.orchestrator.Sessions: for people. */
export function sessionsService({ load, autonomy }: SessionsMeans): Service<typeof SessionsService> {
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
    getSession: async ({ id, branch }, { identity }) => {
      personOf(identity, "see a session");
      return sessionMessage(await (await load()).view(named(id, branch)));
    },
    say: async function* ({ sessionId, branch, text, runId }, { identity, signal }) {
      const by = speaker(identity, "speak in a session");
      autonomy.permit("person");
      const sessions = await load();
      for await (const one of sessions.say(named(sessionId, branch), text, runId, by, signal)) yield eventMessage(one);
    },
    followSession: async function* ({ sessionId, branch, afterSequence }, { identity, signal }) {
      personOf(identity, "follow a session");
      const after = sequenceIn("follow a session: after_sequence", afterSequence);
      const sessions = await load();
      for await (const one of sessions.follow(named(sessionId, branch), after, signal)) yield eventMessage(one);
    },
    interruptSession: async ({ id, branch }, { identity }) => {
      await (await load()).interrupt(named(id, branch), personOf(identity, "interrupt a session"));
      return { success: true, message: "it is interrupted" };
    },
    closeSession: async ({ id }, { identity }) => {
      await (await load()).close(named(id).session, personOf(identity, "close a session"));
      return { success: true, message: "it is closed" };
    },
    forkSession: async ({ sessionId, branch, atSequence, name }, { identity }) => {
      const by = speaker(identity, "fork a session");
      const sequence = sequenceIn("fork a session: at_sequence", atSequence);
      return sessionMessage(await (await load()).fork(named(sessionId, branch), sequence, name, by));
    },
    rewindSession: async ({ sessionId, branch, toSequence }, { identity }) => {
      const by = speaker(identity, "rewind a session");
      const sequence = sequenceIn("rewind a session: to_sequence", toSequence);
      return sessionMessage(await (await load()).rewind(named(sessionId, branch), sequence, by));
    },
    replaySession: async function* ({ sessionId, branch, toSequence }, { identity }) {
      personOf(identity, "replay a session");
      const sequence = sequenceIn("replay a session: to_sequence", toSequence);
      const sessions = await load();
      for await (const one of sessions.replay(named(sessionId, branch), sequence))
        yield one.what === "state"
          ? { part: { $case: "state", value: sessionMessage(one.view) } }
          : { part: { $case: "event", value: eventMessage(one) } };
    },
  });
}

/** An agent speaks with nobody but by its tasks. */
function personOf(identity: Identity, act: string): string {
  refuseAgents(identity, act);
  return nameOf(identity);
}

const speaker = (identity: Identity, act: string): Speaker => ({
  name: personOf(identity, act),
  role: roleOf(identity),
});

function named(session: string, branch = ""): BranchRef {
  if (session !== "") return branchOf(session, branch);
  throw new AiosError("INVALID_ARGUMENT", "find session: id: it is empty");
}

function sequenceIn(field: string, sequence: number): number {
  if (sequence >= 0) return sequence;
  throw new AiosError("INVALID_ARGUMENT", `${field}: ${sequence}, expected 0 or more`);
}

type Listed = SessionPage["sessions"][number] & Partial<SessionView>;

function sessionMessage({ id, name, agent, owner, level, createdAt, state, ...more }: Listed): SessionMessage {
  const { branch = "", branches = [], head = 0, turns = [], budget } = more;
  return {
    ...{ id, name, agent, owner, level, createdAt, state, branch, branches: [...branches], head },
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
    case "rewound":
      return { $case: "rewound", value: happening.to };
    case "forked":
      return { $case: "forked", value: happening.branch };
    case "checkpoint":
      return { $case: "checkpoint", value: happening.id };
    case "over": {
      const { runId, status, reason, answer } = happening;
      return { $case: "over", value: { runId, status, reason, answer } };
    }
  }
}

const json = (value: unknown) => (value === null ? Buffer.alloc(0) : Buffer.from(JSON.stringify(value)));
