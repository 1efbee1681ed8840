import type { Clock } from "#lib/clock";
import { formatCode, shortFingerprint } from "#lib/enrolment-code";
import type { Log } from "#lib/log";
import { keysOutOfReach } from "#lib/machine-state";
import { fingerprint, type Moment } from "#lib/pki";
import type { ConsoleParts } from "./console.ts";
import { openEnrolment, openForMs } from "./enrolment.ts";
import { identityFrom, ownAddresses, ownAuthority } from "./machine-identity.ts";
import { enrolmentService } from "./service.ts";

/** Where things are, and the machine's name. */
export interface InvitationSettings {
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
  readonly log: Log;
}

/**
 * A machine that nobody has provisioned is its own authority. Until its first admin is enrolled, it shows a code on its
 * console, by way of a log line that init prints there ("console": true).
 */
export async function inviteFirstAdmin(
  settings: InvitationSettings,
): Promise<Pick<ConsoleParts, "identity"> & Required<Pick<ConsoleParts, "enrolment">>> {
  const { state, run, machine, clock, now = () => clock.now(), log } = settings;
  // Those who manage the machine would have to trust another one, and the first one would come back after a repair.
  if (settings.dataUnreadable) throw keysOutOfReach("make", "the machine's authority");
  const authority = await ownAuthority(state, machine, now());
  const files = { enrolled: `${state}/enrolled.json`, boot: `${run}/enrolment.json` };
  const enrolment = openEnrolment(files, clock);
  const addresses = ownAddresses();
  const secret = enrolment.secret();
  if (secret !== undefined) {
    const code = formatCode({ secret, fingerprint: shortFingerprint(fingerprint(authority.certificate)) });
    const host = addresses[0] ?? "ADDRESS-OF-THIS-MACHINE";
    const minutes = openForMs / 60_000;
    log.warn(`this machine has no admin yet: within ${minutes} minutes, run "aiosctl enroll ${host} ${code}"`, {
      console: true,
    });
  }
  return {
    identity: await identityFrom(authority, machine, ["localhost", "127.0.0.1", ...addresses], now()),
    enrolment: {
      service: enrolmentService(enrolment, authority, machine, now),
      open: () => enrolment.secret() !== undefined,
    },
  };
}
