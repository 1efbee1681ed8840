import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/errors";
import { verifyLedger } from "../goal.ts";
import { type Probe, probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, type CampaignSpec, counted, type Ground } from "./campaign.ts";
import { between, drawing, oneOf } from "./drawing.ts";
import { beginLines, countLines, lineOf, linesFile, openOf, submitLine } from "./lines.ts";
import { makeDiskWithPackage, packageMark, packageName, packageSource } from "./package.ts";
import { notReady } from "./units.ts";

/** After autonomy, when the power goes: within the first work, a backup, what the start left over. */
const cutWithinMs = 15_000;
/** A first boot makes the databases, key and volume; it is cut off before it is through. */
const cutFirstBootWithinMs = 30_000;
const submitEveryMs = 500;
const endsWithinMs = 240_000;
const diskBytes = 2 ** 31;
const dayMs = 86_400_000;

/** What the machine is at, beside goals, when the power goes. */
const acts: Readonly<Record<string, (look: Probe) => Promise<unknown>>> = {
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

/**
 * Power cuts of a QEMU machine at random moments while goals are given, also within dpkg, a backup, a prune of the ledger, and the
 * first boot, which makes and migrates every database. What was acknowledged is there afterwards.
 */
export const power: Campaign = {
  summary: "power cuts at random moments under load, in QEMU: nothing acknowledged is lost, nothing is done twice",
  countDefault: 100,
  async run(ground) {
    const { seed, count = power.countDefault, say } = ground;
    const random = drawing(seed);
    const ids = new Map<string, string>();
    const cuts = new Map<string, number>();
    const data = ground.folder("power.ext4");
    makeDiskWithPackage(data, diskBytes);
    // A day and a half passes from boot to boot, and the ledger is kept for one: there is something to prune each time.
    const spec = (at: number): CampaignSpec => ({
      ...{ lane: "qemu", name: "power", data, append: ["aios.security.ledger_keep=1d"] },
      clockMs: Date.now() + at * 1.5 * dayMs,
    });
    let unbooted = 0;
    for (let at = 1; at <= count; at++) {
      const act = at === 1 ? "goals" : oneOf([...Object.keys(acts), firstBoot], random);
      cuts.set(act, (cuts.get(act) ?? 0) + 1);
      try {
        if (act === firstBoot) await cutFirstBoot(ground, `first-${at}`, between(0, cutFirstBootWithinMs, random));
        else {
          const machine = await ground.boot(spec(at));
          if (at === 1) await prepare(machine);
          await workUntilCut(machine, ids, acts[act] ?? (() => delay(100)), between(0, cutWithinMs, random));
        }
      } catch (error) {
        unbooted++;
        say(`faults: power: cut ${at}, within ${act}: ${messageOf(error).split("\n")[0]}`);
      }
      if (at % 10 === 0) say(`faults: power: ${at} of ${count} cuts, ${ids.size} goals given`);
    }
    const { twice, missing, lost, done, valid, whole } = await settled(ground, spec(count + 1), ids);
    return [
      counted("power.cuts", count, 1),
      ...[...cuts].map(([act, made]) => counted(`power.cuts.${act.replace(" ", "_")}`, made)),
      atMost("power.did_not_boot", unbooted, 0),
      counted("power.goals", ids.size, 1),
      counted("power.goals.completed", done.length),
      atMost("power.acknowledged_and_lost", lost, 0),
      atMost("power.done_twice", twice.length, 0),
      atMost("power.called_done_and_not_done", missing.length, 0),
      counted("power.package_installs_whole", Number(whole), 1),
      counted("power.ledger.valid", Number(valid), 1),
    ];
  },
};

/** Makes the file that goals append to, and tells apt where the package is. */
async function prepare(machine: Machine): Promise<void> {
  await beginLines(machine);
  const look = probe(machine);
  await look.call("fs.write", { path: "/etc/apt/sources.list.d/debian.sources", content: "" });
  await look.call("fs.write", { path: "/etc/apt/sources.list.d/local.list", content: packageSource });
  await look.call("pkg.update", {});
  look.close();
}

/** Gives goals, and acts, until the power goes. An acknowledgement that the cut swallowed counts for nothing. */
async function workUntilCut(
  machine: Machine,
  ids: Map<string, string>,
  act: (look: Probe) => Promise<unknown>,
  ms: number,
): Promise<void> {
  const stop = new AbortController();
  const look = probe(machine);
  const untilStopped = async (once: () => Promise<unknown>, pauseMs: number) => {
    while (!stop.signal.aborted) {
      await once().catch(() => {});
      await delay(pauseMs, undefined, { signal: stop.signal }).catch(() => {});
    }
  };
  const give = async () => {
    const at = ids.size;
    ids.set(await submitLine(machine, at), lineOf(at));
  };
  const work = [untilStopped(give, submitEveryMs), untilStopped(() => act(look), 10)];
  await delay(ms);
  await machine.cut();
  stop.abort();
  look.close();
  await Promise.all(work);
}

/** Cuts off the first boot of a machine of its own, whose next boot must be as if it were the first. */
async function cutFirstBoot(ground: Ground, name: string, ms: number): Promise<void> {
  const first = await ground.start({ lane: "qemu", name });
  await delay(ms);
  await first.cut();
  const machine = await ground.boot({ lane: "qemu", name });
  const down = await notReady(machine);
  const { valid } = await verifyLedger(machine);
  await machine.cut();
  if (down.length > 0 || !valid) throw new Error(`${down.join(", ")} not ready, ledger ${valid ? "valid" : "invalid"}`);
}

/** Boots once more, lets everything end, and counts. */
async function settled(ground: Ground, spec: CampaignSpec, ids: ReadonlyMap<string, string>) {
  const machine = await ground.boot(spec);
  const until = performance.now() + endsWithinMs;
  for (;;) {
    const counts = await countLines(machine, ids);
    const open = openOf(counts.states).length > 0;
    if (open && performance.now() < until) {
      await delay(1_000);
      continue;
    }
    const look = probe(machine);
    await look.call("pkg.install", { name: packageName });
    const whole = await look.exists(packageMark);
    look.close();
    return { ...counts, whole, ...(await verifyLedger(machine)) };
  }
}
