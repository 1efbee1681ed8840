import { rmSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/errors";
import { consoleLines } from "#manifest";
import { verifyLedger } from "../goal.ts";
import { type Probe, probe } from "../goals/probe.ts";
import { bootTimeoutMs, type Machine } from "../machine.ts";
import { atMost, type Campaign, counted, type Ground } from "./campaign.ts";
import { between, drawing, shuffled } from "./drawing.ts";
import { beginLines, countLines, lineOf, linesFile, openOf, submitLine } from "./lines.ts";
import { makeDiskWithPackage, packageMark, packageName, packageSource } from "./package.ts";
import { notReady } from "./units.ts";

/** A machine is cut off so many times in one life: all but the last time its disk is copied as the cut would have left it. */
const cutsPerLife = 8;
/** Between two cuts of a life, once it works: within the first work, a backup, what the start left over. */
const cutWithinMs = 12_000;
/** While it boots on data that was cut off before. */
const cutBootWithinMs = 40_000;
/** A first boot makes the databases, key and volume; it is cut off before it is through. */
const cutFirstBootWithinMs = 30_000;
const submitEveryMs = 500;
const endsWithinMs = 240_000;
const diskBytes = 2 ** 31;
const dayMs = 86_400_000;

type Act = (look: Probe) => Promise<unknown>;

/** What the machine is at, beside goals, when the power goes. */
const acts: Readonly<Record<string, Act>> = {
  goals: () => delay(100),
  backup: async (look) => {
    const { id } = await look.call("backup.create", { path: linesFile });
    await look.call("backup.restore", { id, destination: "/srv/faults/restored" });
  },
  dpkg: async (look) => {
    await look.call("pkg.install", { name: packageName });
    await look.call("pkg.remove", { name: packageName });
  },
  prune: (look) => look.call("storage.clean", {}),
};
const firstBoot = "first boot";

/** What was acknowledged before a cut, and the disk that it left. */
interface Cut {
  readonly disk: string;
  readonly goals: ReadonlyMap<string, string>;
}

/**
 * Power cuts of a QEMU machine at random moments: while it boots on what the cut before left, while goals are given, within dpkg, a
 * backup, a prune of the ledger, and within the first boot, which makes and migrates every database. A machine boots from each
 * disk, and what was acknowledged is there.
 */
export const power: Campaign = {
  summary: "power cuts of a QEMU machine at random moments: nothing acknowledged is lost, nothing is done twice",
  countDefault: 100,
  async run(ground) {
    const { seed, count = power.countDefault, say } = ground;
    const random = drawing(seed);
    const data = ground.folder("power.ext4");
    makeDiskWithPackage(data, diskBytes);
    const life: Life = { ground, random, data, goals: new Map(), found: [], at: 0 };
    const cuts = new Map<string, number>();
    const turns: string[] = [];
    for (let made = 0; made < count; ) {
      // Each in its turn, in an order that is drawn: a short campaign has all of them as well.
      if (turns.length === 0) turns.push(...shuffled([...Object.keys(acts), firstBoot], random));
      const name = life.at === 0 ? "goals" : (turns.pop() ?? firstBoot);
      const act = acts[name];
      const wanted = act === undefined ? 1 : Math.min(cutsPerLife, count - made);
      if (act === undefined) await cutFirstBoot(life, `first-${made}`);
      else await cutWorking(life, act, wanted);
      made += wanted;
      cuts.set(name, (cuts.get(name) ?? 0) + wanted);
      say(`faults: power: ${made} of ${count} cuts, ${life.goals.size} goals given`);
    }
    // The last disk of all: what came of the whole row.
    await check(life, { disk: data, goals: life.goals }, "the last cut");
    const sum = (of: (found: Found) => number) => life.found.reduce((total, found) => total + of(found), 0);
    return [
      counted("power.cuts", count, 1),
      ...[...cuts].map(([act, made]) => counted(`power.cuts.${act.replace(" ", "_")}`, made)),
      counted("power.disks_checked", life.found.length, 1),
      counted("power.goals", life.goals.size, 1),
      counted("power.goals.completed", life.found.at(-1)?.done ?? 0, 1),
      atMost(
        "power.not_working",
        sum(({ broken }) => Number(broken)),
        0,
      ),
      atMost(
        "power.acknowledged_and_lost",
        sum(({ lost }) => lost),
        0,
      ),
      atMost(
        "power.done_twice",
        sum(({ twice }) => twice),
        0,
      ),
      atMost(
        "power.called_done_and_not_done",
        sum(({ missing }) => missing),
        0,
      ),
    ];
  },
};

/** The row of lives that one data disk lives through. */
interface Life {
  readonly ground: Ground;
  readonly random: () => number;
  readonly data: string;
  /** The line of each goal that was acknowledged, by its id. */
  readonly goals: Map<string, string>;
  readonly found: Found[];
  /** How many boots it had. */
  at: number;
}

/** What a machine that booted from a cut's disk was like. */
interface Found {
  readonly done: number;
  readonly lost: number;
  readonly twice: number;
  readonly missing: number;
  /** It did not boot, a unit was not ready, its ledger was not valid, a package could not be installed. */
  readonly broken: boolean;
}

/** Makes the file that goals append to, and tells apt where the package is. */
async function prepare(machine: Machine): Promise<void> {
  await beginLines(machine);
  const look = probe(machine);
  await look.call("fs.write", { path: "/etc/apt/sources.list.d/debian.sources", content: "" });
  await look.call("fs.write", { path: "/etc/apt/sources.list.d/local.list", content: packageSource });
  await look.call("pkg.update", {});
  look.close();
}

/** Boots from the disk that the last cut left, gives goals and acts, and is cut off `cuts` times. Then each disk is looked at. */
async function cutWorking(life: Life, act: Act, cuts: number): Promise<void> {
  const { ground, random } = life;
  // A day and a half passes from boot to boot, and the ledger is kept for one: there is something to prune each time.
  const clockMs = Date.now() + ++life.at * 1.5 * dayMs;
  const append = ["aios.security.ledger_keep=1d"];
  const machine = await ground.start({ lane: "qemu", name: "power", data: life.data, append, clockMs });
  const left: Cut[] = [];
  const cut = async () => {
    const disk = ground.folder(`cut-${left.length}.ext4`);
    left.push({ disk, goals: new Map(life.goals) });
    await machine.copyData(disk);
  };
  if (life.at > 1 && cuts > 1) {
    await delay(between(0, cutBootWithinMs, random));
    await cut();
  }
  const broken = await autonomous(machine);
  if (broken !== "") note(life, `boot ${life.at}`, nothingFound(true), broken);
  if (life.at === 1) await prepare(machine);
  const work = working(life, machine, act);
  while (left.length < cuts - 1) {
    await delay(between(0, cutWithinMs, random));
    await cut();
  }
  await delay(between(0, cutWithinMs, random));
  await machine.cut();
  await work.end();
  for (const [at, each] of left.entries()) await check(life, each, `boot ${life.at}, cut ${at + 1}`);
}

/** Gives goals, and acts, until it is ended. An acknowledgement that the cut swallowed counts for nothing. */
function working(life: Life, machine: Machine, act: Act): { end(): Promise<void> } {
  const stop = new AbortController();
  const look = probe(machine);
  const untilStopped = async (once: () => Promise<unknown>, pauseMs: number) => {
    while (!stop.signal.aborted) {
      await once().catch(() => {});
      await delay(pauseMs, undefined, { signal: stop.signal }).catch(() => {});
    }
  };
  const give = async () => {
    const at = life.goals.size;
    life.goals.set(await submitLine(machine, at), lineOf(at));
  };
  const work = [untilStopped(give, submitEveryMs), untilStopped(() => act(look), 10)];
  return {
    end: async () => {
      stop.abort();
      look.close();
      await Promise.all(work);
    },
  };
}

/** Cuts off the first boot of a machine of its own, whose next boot must be as if it were the first. */
async function cutFirstBoot(life: Life, name: string): Promise<void> {
  const first = await life.ground.start({ lane: "qemu", name });
  await delay(between(0, cutFirstBootWithinMs, life.random));
  await first.cut();
  const machine = await life.ground.start({ lane: "qemu", name });
  const broken = await autonomous(machine);
  note(life, name, nothingFound(broken !== ""), broken);
  await machine.cut();
}

/** Boots natively from a disk that a cut left, lets every goal end, and counts. The disk is not needed afterwards. */
async function check(life: Life, { disk, goals }: Cut, name: string): Promise<void> {
  const machine = await life.ground.start({ lane: "native", name: "power", data: disk });
  try {
    const broken = await autonomous(machine);
    if (broken !== "") return note(life, name, nothingFound(true), broken);
    const counts = await endedCounts(machine, goals);
    const look = probe(machine);
    // apt does not wait for the disk with its lists, which are read again whenever they are wanted.
    await look.call("pkg.update", {});
    await look.call("pkg.install", { name: packageName });
    const whole = await look.exists(packageMark);
    look.close();
    const { done, lost, twice, missing } = counts;
    const found = { done: done.length, lost, twice: twice.length, missing: missing.length, broken: !whole };
    const remarks = [
      ...(whole ? [] : ["the package is not installed"]),
      ...(lost > 0 ? [`${lost} goals lost`] : []),
      ...(twice.length > 0 ? [`twice: ${twice.join(", ")}`] : []),
      ...(missing.length > 0 ? [`called done and not done: ${missing.join(", ")}`] : []),
    ];
    note(life, name, found, remarks.join("; "));
  } catch (error) {
    note(life, name, nothingFound(true), messageOf(error).split("\n")[0] ?? "");
  } finally {
    await machine.cut();
    rmSync(disk, { force: true });
  }
}

const nothingFound = (broken: boolean): Found => ({ done: 0, lost: 0, twice: 0, missing: 0, broken });

function note({ ground, found }: Life, name: string, each: Found, remark: string): void {
  found.push(each);
  if (remark !== "") ground.say(`faults: power: ${name}: ${remark}`);
}

/** "" once it is autonomous with every unit ready and a valid ledger, else what is not so. */
async function autonomous(machine: Machine): Promise<string> {
  try {
    await machine.waitFor(consoleLines.ready, bootTimeoutMs[machine.lane]);
    await machine.reached(bootTimeoutMs[machine.lane]);
    const down = await notReady(machine);
    const { valid } = await verifyLedger(machine);
    return [...down.map((name) => `${name} not ready`), ...(valid ? [] : ["its ledger is not valid"])].join(", ");
  } catch (error) {
    return `${messageOf(error).split("\n")[0]}\n${machine.console.tail()}`;
  }
}

/** Waits until every goal has ended, and counts. */
async function endedCounts(machine: Machine, goals: ReadonlyMap<string, string>) {
  const until = performance.now() + endsWithinMs;
  for (;;) {
    const counts = await countLines(machine, goals);
    if (openOf(counts.states).length === 0 || performance.now() > until) return counts;
    await delay(500);
  }
}
