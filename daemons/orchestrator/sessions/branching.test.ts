import { readFileSync, writeFileSync } from "node:fs";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { operatorHeader, roleHeader } from "#lib/rpc/service";
import { EventJournalService } from "#proto/aios/journal";
import type { Session, SessionEvent } from "#proto/aios/sessions";
import {
  alice,
  answerOf,
  at,
  begin,
  client,
  close,
  end,
  execute,
  giveKey,
  heard,
  model,
  open,
  say,
  saying,
  serving,
  sessions,
  start,
  until,
  type What,
} from "../testing/conversations.ts";

beforeAll(begin, 60_000);
afterAll(close);

describe("branches of a conversation", () => {
  beforeAll(giveKey);

  const fork = (sessionId: string, more: object = {}) =>
    sessions.forkSession({ ...{ sessionId, branch: "", atSequence: 0, name: "" }, ...more }, alice);
  const rewind = (sessionId: string, toSequence: number, branch = "") =>
    sessions.rewindSession({ sessionId, branch, toSequence }, alice);
  const view = (id: string, branch = "") => sessions.getSession({ id, branch }, alice);
  const contents = ({ turns }: { turns: readonly { content: string }[] }) => turns.map(({ content }) => content);

  async function replayed(sessionId: string, toSequence = 0, branch = "") {
    const events: SessionEvent[] = [];
    const states: Session[] = [];
    for await (const { part } of sessions.replaySession({ sessionId, branch, toSequence }, alice)) {
      if (part?.$case === "event") events.push(part.value);
      if (part?.$case === "state") states.push(part.value);
    }
    const checkpoints = events.flatMap(({ sequence, happening }) =>
      happening?.$case === "checkpoint" ? [sequence] : [],
    );
    return { events, checkpoints, states };
  }

  it("go on by themselves, with the agent's tools and a person who is asked", async () => {
    const path = at("forked.txt");
    const id = await open();
    model.say(saying("Half."));
    await say(id, "how full is it?");
    const made = await fork(id, { name: "try" });
    expect(made).toMatchObject({ id, branch: "try", branches: ["main", "try"], state: "idle", agent: "task" });
    expect(contents(made)).toEqual(["how full is it?", "Half."]);
    model.say(saying("", ["fs.write", { path, content: "x\n" }]), saying("Written."));
    const onEvent = async (what: What) => {
      if (what.$case !== "waits") return;
      await expect(sessions.closeSession({ id, branch: "" }, alice)).rejects.toMatchObject({
        code: "FAILED_PRECONDITION",
      });
      const { waiting } = await execute("sec.approvals", {});
      await execute("sec.approve", { id: what.value.approvalId, digest: waiting[0].digest });
    };
    expect(answerOf(await say(id, "write it down", onEvent, "try"))).toBe("Written.");
    expect(readFileSync(path, "utf8")).toBe("x\n");
    expect(contents(await view(id))).toEqual(["how full is it?", "Half."]);
    expect(await view(id, "try")).toMatchObject({ branch: "try", branches: ["main", "try"] });
    expect((await fork(id)).branch).toBe("fork-1");
    await sessions.closeSession({ id, branch: "" }, alice);
    await expect(say(id, "still there?", undefined, "try")).rejects.toMatchObject({ code: "FAILED_PRECONDITION" });
  });

  it("are rewound to a checkpoint: the agent no longer knows what came after, and the journal does", async () => {
    const id = await open();
    model.say(saying("One."), saying("Two."), saying("Three."));
    await say(id, "first");
    const [checkpoint = 0] = (await replayed(id)).checkpoints;
    await say(id, "second");
    const { head, tokensLeft } = await view(id);
    const back = await rewind(id, checkpoint);
    expect(contents(back)).toEqual(["first", "One."]);
    expect(back).toMatchObject({ head: head + 1, tokensLeft, state: "idle" });
    await say(id, "third");
    const [, ...messages] = model.requests.at(-1)?.body.messages ?? [];
    expect(messages.map(({ content }: { content: string }) => content)).toEqual(["first", "One.", "third"]);
    const { events } = await replayed(id);
    expect(events).toContainEqual(expect.objectContaining({ happening: { $case: "rewound", value: checkpoint } }));
    expect(JSON.stringify(events)).toContain("second");
  });

  it("are replayed as they were, without doing anything again", async () => {
    writeFileSync(at("replayed.txt"), "dry");
    const id = await open();
    model.say(saying("I look.", ["fs.read", { path: at("replayed.txt") }]), saying("It is dry."));
    await say(id, "what does it say?");
    const { head, turns } = await view(id);
    const { length } = model.requests;
    const all = await replayed(id);
    const cases = all.events.map(({ happening }) => happening?.$case);
    expect(cases).toEqual(["said", "said", "asked", "ended", "said", "checkpoint"]);
    expect(all.states).toMatchObject([{ id, head, turns }]);
    const asked = all.events[2]?.sequence ?? 0;
    const before = await replayed(id, asked);
    expect(before.events).toEqual(all.events.slice(0, 3));
    expect(before.states).toMatchObject([{ head: asked, state: "working" }]);
    expect(await view(id)).toMatchObject({ head });
    expect(model.requests).toHaveLength(length);
  });

  it("go on after the orchestrator was killed while a person is asked on one of them", async () => {
    const path = at("once.txt");
    writeFileSync(path, "");
    const id = await open();
    const { branch } = await fork(id);
    model.say(saying("", ["fs.append", { path, content: "once\n" }]), saying("Added."));
    const waits = Promise.withResolvers<string>();
    const cut = say(id, "add a line", (what) => what.$case === "waits" && waits.resolve(what.value.approvalId), branch);
    cut.catch(() => {});
    const approval = await waits.promise;
    await end("orchestrator", "SIGKILL");
    await expect(cut).rejects.toThrow();
    start("orchestrator");
    await serving();
    const [{ digest }] = (await execute("sec.approvals", {})).waiting;
    await until(async () => await execute("sec.approve", { id: approval, digest }));
    const all = await until(
      async () => await heard(sessions.followSession({ sessionId: id, branch, afterSequence: 0 }, alice)),
    );
    expect(answerOf(all)).toBe("Added.");
    expect(readFileSync(path, "utf8")).toBe("once\n");
    expect(await view(id)).toMatchObject({ state: "idle", turns: [] });
  }, 60_000);

  it("are refused with what is wrong", async () => {
    const refused = async (act: Promise<unknown>, code: string, message: RegExp) =>
      await expect(act).rejects.toMatchObject({ code, message: expect.stringMatching(message) });
    const none = "0193aaaa-0000-7000-8000-000000000000";
    const id = await open();
    for (const act of [() => fork(none), () => rewind(none, 1), () => replayed(none)])
      await refused(act(), "NOT_FOUND", /find session 0193aaaa.*aiosctl chat list/);
    const onBranch = [() => fork(id, { branch: "try" }), () => rewind(id, 1, "try"), () => replayed(id, 0, "try")];
    for (const act of [...onBranch, () => view(id, "try")])
      await refused(act(), "NOT_FOUND", /find branch try of session .*aiosctl chat show/);
    for (const act of [() => fork(id, { atSequence: 99 }), () => rewind(id, 99), () => replayed(id, 99)])
      await refused(act(), "OUT_OF_RANGE", /at event 99: its last event is 1$/);
    for (const act of [() => fork(id, { atSequence: -1 }), () => rewind(id, -1), () => replayed(id, -1)])
      await refused(act(), "INVALID_ARGUMENT", /_sequence: -1, expected 0 or more/);
    await refused(rewind(id, 0), "OUT_OF_RANGE", /events begin with 1/);
    await refused(rewind(id, 1), "NOT_FOUND", /there is no checkpoint yet.*aiosctl chat replay/);
    await refused(fork(id, { name: "a b" }), "INVALID_ARGUMENT", /letters, digits/);
    await refused(fork(id, { name: "main" }), "ALREADY_EXISTS", /not its own fork/);
    model.say(saying("Yes."));
    await say(id, "well?");
    const [checkpoint = 0] = (await replayed(id)).checkpoints;
    await refused(rewind(id, 1), "NOT_FOUND", new RegExp(`it is no checkpoint; next to it are ${checkpoint}`));
    await fork(id, { atSequence: 1, name: "try" });
    await refused(fork(id, { atSequence: 2, name: "try" }), "ALREADY_EXISTS", /choose another name/);
    model.say(saying("", ["fs.write", { path: at("open.txt"), content: "x" }]));
    await say(id, "write it", async (what) => {
      if (what.$case !== "waits") return;
      await refused(rewind(id, checkpoint), "FAILED_PRECONDITION", /run .* is open/);
      await sessions.interruptSession({ id, branch: "" }, alice);
    });
    const operator = { headers: { [operatorHeader]: "bob", [roleHeader]: "operator" } };
    const theirs = { sessionId: id, branch: "", atSequence: 0, name: "" };
    await refused(sessions.forkSession(theirs, operator), "PERMISSION_DENIED", /one who is admin/);
    const back = { sessionId: id, branch: "", toSequence: checkpoint };
    await refused(sessions.rewindSession(back, operator), "PERMISSION_DENIED", /one who is admin/);
    await sessions.closeSession({ id, branch: "" }, alice);
    await refused(fork(id), "FAILED_PRECONDITION", /session was closed/);
    await refused(rewind(id, checkpoint), "FAILED_PRECONDITION", /session was closed/);
  });

  it("say that the journal is away", async () => {
    const id = await open();
    await end("memory", "SIGKILL");
    try {
      for (const act of [() => fork(id), () => replayed(id)])
        await expect(act()).rejects.toMatchObject({ code: "UNAVAILABLE", message: expect.stringContaining("Journal") });
    } finally {
      start("memory");
      await until(() => client(EventJournalService, "memory").head({ sessionId: "s", branchId: "" }));
    }
    expect((await fork(id)).branch).toBe("fork-1");
  }, 30_000);
});
