import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { ManualClock } from "#lib/clock";
import { configuredAgents } from "../peers.ts";
import { Supervisor, type UnitSpec } from "../units/supervisor.ts";
import { type BootNeeds, bootPhases, waits } from "./boot.ts";

const spec = (name: string, ...needs: string[]): UnitSpec => ({ name, needs, restart: "always" });
const specs = [spec("runtime"), spec("memory"), spec("tools"), spec("orchestrator", "memory", "tools")];

let clock: ManualClock;
let supervisor: Supervisor;
let units: Map<string, { notice: (ready: boolean) => void; end: (how: string) => void }>;
let needs: { -readonly [K in keyof BootNeeds]: BootNeeds[K] };
/** What each phase came to. */
let outcome: Map<string, string>;

beforeEach(() => {
  clock = new ManualClock();
  units = new Map();
  outcome = new Map();
  supervisor = new Supervisor(specs, {
    clock,
    random: () => 0.5,
    spawn(unit) {
      let end = (_how: string) => {};
      const ended = new Promise<string>((resolve) => {
        end = resolve;
      });
      units.set(unit, { end, notice: () => {} });
      return { pid: 9, ended, terminate: () => {}, kill: () => end("ended by SIGKILL") };
    },
    watch: (unit, notice) =>
      new Promise(() => {
        Object.assign(units.get(unit) ?? {}, { notice });
      }),
  });
  needs = {
    supervisor,
    clock,
    unitsOf: { runtime: ["runtime"], core: ["memory", "tools", "orchestrator"] },
    runtimeProblem: async () => undefined,
    missingAgents: async () => [],
    ledgerProblems: async () => [],
  };
});

function run(): void {
  for (const phase of bootPhases(Promise.resolve(needs))) {
    const giveUp = (detail: string) => {
      if (!outcome.has(phase.name)) outcome.set(phase.name, detail);
    };
    phase.run(giveUp).then(
      () => outcome.set(phase.name, "ready"),
      (error: Error) => giveUp(error.message),
    );
  }
  supervisor.startAll();
}

async function ready(...names: string[]): Promise<void> {
  for (const name of names) units.get(name)?.notice(true);
  await clock.advance(0);
}

async function fail(name: string, times: number): Promise<void> {
  for (let time = 0; time < times; time += 1) {
    units.get(name)?.end("ended with exit code 70");
    await clock.advance(1_000);
  }
}

describe("the phases after the first", () => {
  it("are ready when units, agents and ledger are", async () => {
    run();
    await ready("runtime", "memory", "tools", "orchestrator");
    await clock.advance(waits.againMs);
    expect(Object.fromEntries(outcome)).toEqual({
      runtime: "ready",
      core: "ready",
      agents: "ready",
      recovery: "ready",
    });
  });

  it("give up a unit after its third failure, with its logs' name, and take it when it comes after all", async () => {
    run();
    await ready("memory", "tools", "orchestrator");
    await fail("runtime", 2);
    expect(outcome.has("runtime")).toBe(false);
    await fail("runtime", 1);
    expect(outcome.get("runtime")).toBe('runtime: ended with exit code 70; see "aiosctl logs runtime"');
    await ready("runtime");
    expect(outcome.get("runtime")).toBe("ready");
  });

  it("ask the runtime why it has no model, rather than wait for it", async () => {
    let answers = 0;
    needs.runtimeProblem = async () => {
      answers += 1;
      if (answers === 1) throw new Error("not listening yet");
      return answers < 4 ? undefined : "aios.gguf: error: 12 bytes, not a GGUF";
    };
    run();
    await clock.advance(5_000);
    expect(answers).toBe(0);
    units.get("runtime")?.notice(false);
    await clock.advance(5_000);
    expect(outcome.get("runtime")).toBe("aios.gguf: error: 12 bytes, not a GGUF");
  });

  it("give up agents and recovery with the unit that keeps the orchestrator from starting", async () => {
    run();
    await ready("runtime", "memory");
    await fail("tools", 3);
    const reason = 'tools: ended with exit code 70; see "aiosctl logs tools"';
    expect([outcome.get("core"), outcome.get("agents"), outcome.get("recovery")]).toEqual([reason, reason, reason]);
  });

  it("give up what is silent for too long", async () => {
    run();
    await ready("runtime", "memory", "tools");
    await clock.advance(waits.phaseMs);
    expect(outcome.get("core")).toMatch(/^orchestrator: started, not ready yet/);
    expect(outcome.get("agents")).toMatch(/^orchestrator: /);
  });

  it("name the agents that did not register, until they do", async () => {
    let missing = ["dev", "task"];
    needs.missingAgents = async () => missing;
    run();
    await ready("runtime", "memory", "tools", "orchestrator");
    await clock.advance(waits.agentsMs);
    expect(outcome.get("agents")).toBe('not registered: dev, task; see "aiosctl logs orchestrator"');
    missing = [];
    await clock.advance(waits.againMs);
    expect(outcome.get("agents")).toBe("ready");
  });

  it("do not call a boot good whose ledger was changed, and ask again when nobody answers", async () => {
    let asked = 0;
    needs.ledgerProblems = async () => {
      asked += 1;
      if (asked < 3) throw new Error("away");
      return ["entry 7: hash differs", "entry 8: chain broken"];
    };
    run();
    await ready("runtime", "memory", "tools", "orchestrator");
    await clock.advance(waits.afterErrorMs * 3);
    expect(asked).toBe(3);
    expect(outcome.get("recovery")).toMatch(/^the ledger is not what was written: entry 7: hash differs; see all with/);
  });
});

describe("a ledger that cannot be verified", () => {
  it("is given up after a few errors, and taken when it can be after all", async () => {
    let refused = true;
    needs.ledgerProblems = async () => {
      if (refused) throw new Error("database or disk is full");
      return [];
    };
    run();
    await ready("runtime", "memory", "tools", "orchestrator");
    await clock.advance(waits.afterErrorMs * (waits.refusalsMax - 2));
    expect(outcome.has("recovery")).toBe(false);
    await clock.advance(waits.afterErrorMs * 2);
    expect(outcome.get("recovery")).toBe(
      'the ledger is not verified: database or disk is full; see "aiosctl logs tools"',
    );
    refused = false;
    await clock.advance(waits.afterErrorMs);
    expect(outcome.get("recovery")).toBe("ready");
  });
});

describe("the agents that are configured", () => {
  it("are those that are enabled; a file that cannot be read is a missing agent", () => {
    const folder = mkdtempSync("/tmp/aios-agents-");
    mkdirSync(join(folder, "sub"));
    writeFileSync(join(folder, "a.toml"), '[agent]\nname = "system"\nenabled = true\n');
    writeFileSync(join(folder, "b.toml"), '[agent]\nname = "off"\nenabled = false\n');
    writeFileSync(join(folder, "c.toml"), "[agent\n");
    writeFileSync(join(folder, "notes.txt"), "");
    const [system, broken, ...rest] = configuredAgents(folder);
    expect([system, rest]).toEqual(["system", []]);
    expect(broken).toMatch(/^c \(c\.toml: /);
    expect(configuredAgents("/nowhere")).toEqual([]);
    rmSync(folder, { recursive: true });
  });
});
