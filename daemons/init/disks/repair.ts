import type { Readable } from "node:stream";
import type { Clock } from "#lib/clock";
import { messageOf } from "#lib/errors";
import { linesOf, openKeyboard, type Run } from "../base/index.ts";
import type { Screen } from "../early/index.ts";

/** A person who chose the boot entry is at the screen; nobody answers later. */
const answerWithinMs = 300_000;
/** A large volume takes its time. */
const repairWithinMs = 4 * 3_600_000;

const choices = ["repair", "leave"] as const;
export type Choice = (typeof choices)[number];

/**
 * Asks at the screen what is to be done with a data volume that its check gave up on. Whoever says nothing, or something
 * else, leaves it as it is: a repair may throw away what cannot be read.
 */
export async function askRepair(
  device: string,
  reason: string,
  input: Readable,
  screen: Screen,
  clock: Clock,
): Promise<Choice> {
  screen.say(`aios-init: data volume ${device}: ${reason}`);
  screen.say(
    '  "repair": mend it (fsck.ext4 -f -y); what has lost its name goes to lost+found, what cannot be read is lost',
  );
  screen.say('  "leave":  leave it as it is, and go on without it: nothing is kept after power-off');
  screen.say(`type repair or leave, and Enter; without an answer in ${answerWithinMs / 60_000} minutes it is left`);
  const answered = new AbortController();
  const late = clock.sleep(answerWithinMs, answered.signal).then(
    () => "",
    () => "",
  );
  const line = await Promise.race([firstLine(input), late]);
  answered.abort();
  const choice = choices.find((one) => one === line.trim().toLowerCase()) ?? "leave";
  screen.say(`aios-init: data volume ${device}: ${choice === "repair" ? "repairing" : "left as it is"}`);
  return choice;
}

async function firstLine(input: Readable): Promise<string> {
  const line = await linesOf(input)
    .next()
    .catch(() => undefined);
  return line?.value ?? "";
}

/** Mends a file system whatever that costs. Throws when it stays damaged. */
export async function repair(device: string, run: Run): Promise<void> {
  const codes = [0, 1, 2, 3];
  await run("fsck.ext4", ["-f", "-y", device], { codes, timeoutMs: repairWithinMs });
}

/** Asks at the machine's console, and mends the volume if that is what they want there. False when it is left. */
export async function offerRepair(
  device: string,
  reason: string,
  { screen, clock, command }: { readonly screen: Screen; readonly clock: Clock; readonly command: Run },
): Promise<boolean> {
  let input: Readable;
  try {
    input = openKeyboard();
  } catch (error) {
    screen.say(`aios-init: nobody can be asked at the console: ${messageOf(error)}`);
    return false;
  }
  const choice = await askRepair(device, reason, input, screen, clock);
  input.destroy();
  if (choice === "repair") await repair(device, command);
  return choice === "repair";
}
