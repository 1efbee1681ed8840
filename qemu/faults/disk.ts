import { execFileSync } from "node:child_process";
import { closeSync, openSync, rmSync, statfsSync, writeSync } from "node:fs";
import { setTimeout as delay } from "node:timers/promises";
import { messageOf } from "#lib/errors";
import { approving } from "../approved.ts";
import { followGoal, submitGoal } from "../goal.ts";
import { probe } from "../goals/probe.ts";
import type { Machine } from "../machine.ts";
import { atMost, type Campaign, counted, type Ground } from "./campaign.ts";
import { between, drawing } from "./drawing.ts";
import { notReady } from "./units.ts";

const volumeMiB = 96;
/** A person's file that takes the room, and that they delete to make room. */
const ballast = "/srv/ballast";
const goalTimeoutMs = 60_000;
/** How much is left free when the work begins: from nothing to more than the work takes. */
const freeMaxKiB = 2_048;
/** Beside the work: duties, metrics and the ledger go on writing. */
const fullForMs = 5_000;

/**
 * A data volume that ends at another byte each time: the same work begins with so little room left that it runs full in the
 * midst of it. Nothing ends for good, and a person makes room by the tool that the manual names.
 */
export const disk: Campaign = {
  summary: "a data volume that runs full at another write each time, natively: a person makes room, and it works on",
  countDefault: 60,
  async run(ground) {
    const { seed, count = disk.countDefault, say } = ground;
    const random = drawing(seed);
    let failures = 0;
    for (let at = 1; at <= count; at++) {
      const freeKiB = between(0, freeMaxKiB, random);
      const name = `disk-${at}`;
      const problem = await fillAndFree(ground, name, freeKiB).catch((error) => messageOf(error).split("\n")[0] ?? "");
      rmSync(ground.folder(`${name}.ext4`), { force: true });
      if (problem !== "") say(`faults: disk: ${freeKiB} KiB free: ${problem}`);
      failures += Number(problem !== "");
      if (at % 10 === 0) say(`faults: disk: ${at} of ${count}`);
    }
    return [counted("disk.volumes", count, 1), atMost("disk.not_working_again", failures, 0)];
  },
};

/** "" when all went as it should, else what did not. */
async function fillAndFree(ground: Ground, name: string, freeKiB: number): Promise<string> {
  const volume = ground.folder(`${name}.ext4`);
  execFileSync("truncate", ["-s", `${volumeMiB}M`, volume]);
  execFileSync("mkfs.ext4", ["-q", "-F", volume], { env: { PATH: "/usr/sbin:/usr/bin:/sbin:/bin" } });
  const machine = await ground.boot({ lane: "native", name, data: volume });
  const look = probe(machine);
  try {
    takeRoom(machine, freeKiB * 1024);
    await Promise.allSettled([
      ...["one", "two", "three"].map((word) => submitGoal(machine, `create a file /srv/${word} with content ${word}`)),
      ...Array.from({ length: 20 }, (_, at) =>
        look.call("fs.write", { path: `/srv/w${at}`, content: "x".repeat(20_000) }),
      ),
    ]);
    await delay(fullForMs);
    await approving(machine, look.call("fs.delete", { path: ballast, permanent: true }));
    const id = await submitGoal(machine, "create a file /srv/after with content again");
    const { goal } = await followGoal(machine, id, goalTimeoutMs);
    if (goal?.status !== "completed") return `afterwards a goal ${goal?.status}: ${goal?.metadataJson.toString()}`;
    const down = await notReady(machine);
    return down.length === 0 ? "" : `${down.join(", ")} not ready`;
  } finally {
    look.close();
    await machine.cut();
  }
}

/** Leaves so many bytes of the machine's data volume free, from this host. */
function takeRoom(machine: Machine, freeBytes: number): void {
  const [init] = machine.processes();
  const path = `/proc/${init?.hostPid}/root${ballast}`;
  const file = openSync(path, "w");
  const block = Buffer.alloc(64 * 1024, 1);
  try {
    for (let { bavail, bsize } = statfsSync(path); bavail * bsize > freeBytes; { bavail, bsize } = statfsSync(path))
      writeSync(file, block, 0, Math.max(1, Math.min(block.length, bavail * bsize - freeBytes)));
  } catch {
    // Full before it was said to be: what is left is less than a block.
  } finally {
    closeSync(file);
  }
}
