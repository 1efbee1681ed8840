import { connect as connectTls, type PeerCertificate } from "node:tls";
import { messageOf } from "#lib/errors";
import { consoleLines } from "#manifest";
import { followGoal, submitGoal } from "../goal.ts";
import { bootTimeoutMs } from "../machine.ts";
import { atMost, type Campaign, counted, type Ground } from "./campaign.ts";

const goalTimeoutMs = 120_000;
const dayMs = 86_400_000;

/** What a machine's own clock says at its boots, one after the other on the same data. */
const lives: readonly (readonly [name: string, boots: (now: number) => readonly number[]])[] = [
  ["1970", (now) => [0, now]],
  ["2000", (now) => [Date.UTC(2000, 0, 1), now]],
  ["ten years ahead, then right", (now) => [now + 3_652 * dayMs, now]],
  ["right, then ten years ahead, then right", (now) => [now, now + 3_652 * dayMs, now]],
  ["right, then a day back", (now) => [now, now - dayMs]],
  ["right, then 1970", (now) => [now, 0]],
  ["the hour that spring leaves out", () => [Date.UTC(2027, 2, 28, 0, 59, 30)]],
  ["the hour that autumn repeats", () => [Date.UTC(2027, 9, 31, 0, 59, 30)]],
  ["a leap day", () => [Date.UTC(2028, 1, 29, 23, 59, 30)]],
  ["beyond 32 bits of seconds", () => [Date.UTC(2038, 0, 19, 3, 14, 0)]],
];

/** Machines in QEMU whose clock is wrong at the boot, or jumps between two: each boots, works, and has a certificate that is taken. */
export const clock: Campaign = {
  summary: "a clock that is wrong at the boot or jumps between two, in QEMU: it works, and its certificate is taken",
  countDefault: lives.length,
  async run(ground) {
    const { count = clock.countDefault, say } = ground;
    let boots = 0;
    let failures = 0;
    for (const [name, moments] of lives.slice(0, count)) {
      const left: string[] = [];
      for (const [at, moment] of moments(Date.now()).entries()) {
        boots++;
        const problem = await bootAt(ground, `clock-${name.replaceAll(/\W+/g, "-")}`, moment, at, left).catch(
          (error) => messageOf(error).split("\n")[0] ?? "",
        );
        if (problem === "") continue;
        failures++;
        say(`faults: clock: ${name}: boot ${at + 1} at ${new Date(moment).toISOString()}: ${problem}`);
      }
    }
    return [counted("clock.boots", boots, 1), atMost("clock.not_working", failures, 0)];
  },
};

/** "" when the machine works, else what does not. Each boot ends goals that the one before left open: `left`, their ids. */
async function bootAt(ground: Ground, name: string, moment: number, at: number, left: string[]): Promise<string> {
  const machine = await ground.start({ lane: "qemu", name, clockMs: moment });
  try {
    await machine.waitFor(consoleLines.ready, bootTimeoutMs.qemu);
    await machine.reached(bootTimeoutMs.qemu);
    const certificate = await shownBy(machine.target);
    const [from, to] = [Date.parse(certificate.valid_from), Date.parse(certificate.valid_to)];
    if (from > Date.now() || to < Date.now())
      return `its certificate is valid ${certificate.valid_from} to ${certificate.valid_to}`;
    const id = await submitGoal(machine, `create a file /srv/boot-${at} with content there`);
    for (const each of [...left.splice(0), id]) {
      const { goal } = await followGoal(machine, each, goalTimeoutMs);
      if (goal?.status !== "completed") return `a goal ${goal?.status}`;
    }
    left.push(await submitGoal(machine, `create a file /srv/left-${at} with content there`));
    return "";
  } finally {
    await machine.cut();
  }
}

/** The certificate that answers at an address. */
function shownBy(target: string): Promise<PeerCertificate> {
  const [host = "", port = ""] = target.split(":");
  return new Promise((resolve, reject) => {
    const socket = connectTls({ host, port: Number(port), rejectUnauthorized: false, ALPNProtocols: ["h2"] }, () => {
      resolve(socket.getPeerCertificate());
      socket.destroy();
    }).on("error", reject);
  });
}
