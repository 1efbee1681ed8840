import { timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { newSecret } from "#lib/enrolment-code";
import { AiosError } from "#lib/errors";
import { replaceFile } from "#lib/files";

/** A code is good for this long from its boot on. */
export const openForMs = 600_000;

/** Wrong answers that one address has; who guesses from elsewhere takes none of them away. */
export const triesMax = 3;

/** Wrong answers from everywhere: that many guesses hit one code of 35 bits in a run of three million. */
export const triesOfAllMax = 10_000;

/** An address waits so long after its first wrong answer, and longer after each further one. */
const waitMs = 1_000;

/** The one time that a machine takes someone without a certificate: until its first admin is enrolled. */
export interface Enrolment {
  /** The secret to show on the console, or undefined when enrolment is closed. */
  secret(): string | undefined;
  /**
   * Certifies whoever knows the secret, as `certify` does, and closes enrolment for ever. The same key may ask again
   * while the code is good: an answer can be lost on its way. Throws FAILED_PRECONDITION when enrolment is closed (to
   * everyone, or to the applicant's address), RESOURCE_EXHAUSTED to an address that answers again too soon, and
   * PERMISSION_DENIED when the secret is wrong.
   */
  enrol(secret: string, applicant: Applicant, certify: () => Promise<string>): Promise<string>;
}

export interface Applicant {
  readonly name: string;
  /** Public key, hexadecimal. */
  readonly key: string;
  /** Where it asks from: an IPv4 address, or an IPv6 network of 64 bits. */
  readonly from: string;
}

/** The present boot's code. Kept beside the sockets, so that a console that is started again neither renews nor forgets it. */
interface Boot {
  readonly secret: string;
  readonly openedAt: number;
  /** Wrong answers, by where they came from. */
  readonly tries: Readonly<Record<string, number>>;
}

export interface EnrolmentFiles {
  /** Survives a reboot: says that an admin has been enrolled. */
  readonly enrolled: string;
  /** Does not: the code of this boot. */
  readonly boot: string;
}

/** Opens enrolment, unless an admin has been enrolled, the code of this boot is too old, or it was missed too often. */
export function openEnrolment(files: EnrolmentFiles, clock: Clock): Enrolment {
  // That the file is there is enough: one that cannot be read must not open enrolment again.
  const closedBefore = existsSync(files.enrolled);
  let enrolled: Applicant | undefined;
  let boot = readBoot(files.boot) ?? { secret: newSecret(), openedAt: clock.now(), tries: {} };
  /** Monotonic; forgotten when the console is started again, which takes longer than most waits. */
  const waitsUntil = new Map<string, number>();
  const age = clock.now() - boot.openedAt;
  // A clock that was set back while the console was away must not make the code good for longer.
  const endsAt = clock.monotonic() + (age < 0 ? 0 : openForMs - age);
  const keep = (next: Boot) => {
    replaceFile(files.boot, JSON.stringify(next), 0o600);
    boot = next;
  };
  if (!closedBefore) keep(boot);
  const refuseAnother = ({ key }: Applicant) => {
    if (enrolled !== undefined && enrolled.key !== key) throw alreadyEnrolled();
  };
  const triesOfAll = () => Object.values(boot.tries).reduce((sum, tries) => sum + tries, 0);
  const inTime = () => clock.monotonic() < endsAt && triesOfAll() < triesOfAllMax;
  const miss = (from: string): AiosError => {
    const tries = (boot.tries[from] ?? 0) + 1;
    keep({ ...boot, tries: { ...boot.tries, [from]: tries } });
    waitsUntil.set(from, clock.monotonic() + waitMs * 2 ** (tries - 1));
    return wrong(triesMax - tries);
  };

  return {
    secret: () => (!closedBefore && inTime() ? boot.secret : undefined),
    async enrol(secret, applicant, certify) {
      if (closedBefore) throw alreadyEnrolled();
      if (!inTime())
        throw closed(triesOfAll() < triesOfAllMax ? "the code is too old" : "the code was guessed at too often");
      if ((boot.tries[applicant.from] ?? 0) >= triesMax)
        throw closed(`the code was missed three times from ${applicant.from}`);
      const waits = (waitsUntil.get(applicant.from) ?? 0) - clock.monotonic();
      if (waits > 0) throw tooSoon(waits);
      if (!same(secret, boot.secret)) throw miss(applicant.from);
      refuseAnother(applicant);
      const certificate = await certify();
      // Two may know the code, and another may have been first meanwhile: one certificate leaves this machine, not two.
      refuseAnother(applicant);
      if (enrolled === undefined) {
        replaceFile(files.enrolled, JSON.stringify({ ...applicant, at: clock.now() }), 0o600);
        enrolled = applicant;
      }
      return certificate;
    },
  };
}

/** The code of this boot; undefined when there is none, or what is there is none: another one is made then, and shown. */
function readBoot(path: string): Boot | undefined {
  try {
    const boot = JSON.parse(readFileSync(path, "utf8")) as Boot | null;
    const isBoot = typeof boot?.secret === "string" && Number.isFinite(boot.openedAt) && typeof boot.tries === "object";
    return isBoot && boot.tries !== null ? boot : undefined;
  } catch {
    return undefined;
  }
}

function same(given: string, secret: string): boolean {
  const [a, b] = [Buffer.from(given), Buffer.from(secret)];
  return a.length === b.length && timingSafeEqual(a, b);
}

function wrong(triesLeft: number): AiosError {
  const next =
    triesLeft > 0
      ? `compare it with the machine's console; ${triesLeft === 1 ? "one try is" : `${triesLeft} tries are`} left`
      : "restart the machine for a new code, or ask from another address";
  return new AiosError("PERMISSION_DENIED", { act: "enrol with", object: "this code", reason: "it is wrong", next });
}

function tooSoon(waits: number): AiosError {
  const fault = {
    act: "enrol on",
    object: "this machine",
    reason: "a wrong code was sent from there just now",
    next: `try again in ${Math.ceil(waits / 1_000)} s`,
  };
  return new AiosError("RESOURCE_EXHAUSTED", fault, { retryAfterMs: waits });
}

function closed(reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "enrol on",
    object: "this machine",
    reason,
    next: "restart the machine for a new code",
  });
}

function alreadyEnrolled(): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "enrol on",
    object: "this machine",
    reason: "its admin has been enrolled, and that is done once",
    next: "ask them for a certificate",
  });
}
