import type { Clock, Moment } from "#lib/clock";
import { keysOutOfReach } from "#lib/data/machine-state";
import { AiosError, messageOf } from "#lib/errors";
import { formatCode, renewalStep, renewalWord, shortFingerprint } from "#lib/identity/enrolment-code";
import { fingerprint } from "#lib/identity/pki";
import type { Log } from "#lib/log";
import type { ConsoleParts } from "./console.ts";
import { type Enrolment, openEnrolment, openForMs } from "./enrolment.ts";
import { identityFrom, ownAddresses, ownAuthority } from "./machine-identity.ts";
import { enrolmentService } from "./service.ts";

/** Where things are, and the machine's name. */
interface InvitationSettings {
  /** The console's own folder on the data partition. */
  readonly state: string;
  /** Its folder that is gone at the next boot. */
  readonly run: string;
  readonly machine: string;
  readonly clock: Clock;
  /** The machine's data are on a volume that cannot be read, and its authority with them. */
  readonly dataUnreadable?: boolean;
  /** The time, as far as the machine knows it, where that is less than what the clock says. */
  readonly now?: () => Moment;
  /** Answers each time that someone types the word at the machine's own keyboard, until `signal`. */
  readonly typed: (word: string, signal: AbortSignal) => AsyncIterable<unknown>;
  /** The console ends. */
  readonly signal: AbortSignal;
  readonly log: Log;
}

/** The keyboard is asked for again after this long: init opens its socket later than the console begins. */
const againMs = 5_000;

/** A log line that init prints on the machine's own console. */
const shown = { console: true } as const;

/**
 * A machine that nobody has provisioned is its own authority. Until its first admin is enrolled, it shows a code on its
 * console, and another one when somebody asks for it at the keyboard there.
 */
export async function inviteFirstAdmin(
  settings: InvitationSettings,
): Promise<Pick<ConsoleParts, "identity"> & Required<Pick<ConsoleParts, "enrolment">>> {
  const { state, run, machine, clock, now = () => clock.now(), log } = settings;
  // Those who manage the machine would have to trust another one, and the first one would come back after a repair.
  if (settings.dataUnreadable) throw keysOutOfReach("make", "the machine's authority");
  const authority = await ownAuthority(state, machine, now());
  const files = { enrolled: `${state}/enrolled.json`, offer: `${run}/enrolment.json` };
  const enrolment = openEnrolment(files, clock, (reason) => log.warn(`${reason}: ${renewalStep}`, shown));
  const addresses = ownAddresses();
  const show = () => {
    const secret = enrolment.secret();
    if (secret === undefined) return;
    const code = formatCode({ secret, fingerprint: shortFingerprint(fingerprint(authority.certificate)) });
    log.warn(invitation(addresses[0] ?? "ADDRESS-OF-THIS-MACHINE", code), shown);
  };
  show();
  void renewAtKeyboard(enrolment, show, settings);
  return {
    identity: await identityFrom(authority, machine, ["localhost", "127.0.0.1", ...addresses], now()),
    enrolment: {
      service: enrolmentService(enrolment, authority, machine, now),
      open: () => enrolment.secret() !== undefined,
    },
  };
}

const invitation = (host: string, code: string) =>
  `this machine has no admin yet: within ${openForMs / 60_000} minutes, run "aiosctl enroll ${host} ${code}"; ` +
  `for another code, type ${renewalWord} and Enter here`;

/** Shows another code whenever someone at the machine asks for one, until its admin is enrolled. Nothing else makes one. */
async function renewAtKeyboard(
  enrolment: Enrolment,
  show: () => void,
  { typed, clock, signal, log }: InvitationSettings,
): Promise<void> {
  while (!enrolment.hasAdmin() && !signal.aborted) {
    try {
      for await (const _ of typed(renewalWord, signal)) {
        if (enrolment.hasAdmin()) return log.warn("this machine has its admin: ask them for a certificate", shown);
        enrolment.renew();
        show();
      }
    } catch (error) {
      if (signal.aborted) return;
      if (!(error instanceof AiosError && error.code === "UNAVAILABLE"))
        return log.warn(`${messageOf(error)}: for another code, restart the machine`, shown);
    }
    await clock.sleep(againMs, signal).catch(() => {});
  }
}
