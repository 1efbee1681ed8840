/**
 * Whoever stands before a new machine has the last word on who owns it. A code is missed at most three times from an
 * address, and 10,000 times in all; who guesses can use that up, so there must be a way on that no guess reaches. While
 * there is no admin the console asks PID 1 for its keyboard (`WatchKeyboard`: refused to everyone else, operators
 * through the console included); `code` and Enter there make another code, at most one every three seconds, and say
 * nothing else: a serial line whose other end sends back what it gets would never fall silent. Why a code is not taken
 * any more is shown once a code.
 */
import { timingSafeEqual } from "node:crypto";
import { existsSync, readFileSync } from "node:fs";
import type { Clock } from "#lib/clock";
import { replaceFile } from "#lib/data/files";
import { AiosError } from "#lib/errors";
import { newSecret, renewalStep } from "#lib/identity/enrolment-code";

/** A code is good for this long from its making on. */
export const openForMs = 600_000;

/** Wrong answers that one address has; who guesses from elsewhere takes none of them away. */
const triesMax = 3;

/** Wrong answers from everywhere: that many guesses hit one code of 35 bits in a run of three million. */
const triesOfAllMax = 10_000;

/** An address waits this long after its first wrong answer, and longer after each further one. */
const waitMs = 1_000;

/** The one time that a machine takes someone without a certificate: until its first admin is enrolled. */
export interface Enrolment {
  /** The secret to show on the console, or undefined when enrolment is closed. */
  secret(): string | undefined;
  /** Its first admin has been enrolled: it takes nobody any more but them. */
  hasAdmin(): boolean;
  /** Makes another code, with all its time and tries: for whoever is at the machine. */
  renew(): void;
  /**
   * Certifies whoever knows the secret, as `certify` does, and closes enrolment for ever. The same key may ask again
   * while the code is good: an answer can be lost on its way. Throws FAILED_PRECONDITION when enrolment is closed (to
   * everyone, or to the applicant's address), RESOURCE_EXHAUSTED to an address that answers again too soon, and
   * PERMISSION_DENIED when the secret is wrong.
   */
  enrol(secret: string, applicant: Applicant, certify: () => Promise<string>): Promise<string>;
}

interface Applicant {
  readonly name: string;
  /** Public key, hexadecimal. */
  readonly key: string;
  /** Where it asks from: an IPv4 address, or an IPv6 network of 64 bits. */
  readonly from: string;
}

/** The present code. Kept beside the sockets, so that a console that is started again neither renews nor forgets it. */
interface Offer {
  readonly secret: string;
  readonly openedAt: number;
  /** Wrong answers, by where they came from. */
  readonly tries: Readonly<Record<string, number>>;
}

interface EnrolmentFiles {
  /** Survives a reboot: says that an admin has been enrolled. */
  readonly enrolled: string;
  /** Does not: the present code. */
  readonly offer: string;
}

/**
 * Opens enrolment, unless an admin has been enrolled, the present code is too old, or it was missed too often. `spent` is told
 * why the code is not taken any more from an address, the first of them, or from anybody.
 */
export function openEnrolment(
  files: EnrolmentFiles,
  clock: Clock,
  spent: (reason: string) => void = () => {},
): Enrolment {
  // That the file is there is enough: one that cannot be read must not open enrolment again.
  const closedBefore = existsSync(files.enrolled);
  let enrolled: Applicant | undefined;
  let offer = readOffer(files.offer) ?? newOffer(clock);
  const age = clock.now() - offer.openedAt;
  // A clock that was set back while the console was away must not make the code good for longer.
  let endsAt = clock.monotonic() + (age < 0 ? 0 : openForMs - age);
  let aged = new AbortController();
  /** Monotonic; forgotten when the console is started again, which takes longer than most waits. */
  const waitsUntil = new Map<string, number>();
  const keep = (next: Offer) => {
    replaceFile(files.offer, JSON.stringify(next), 0o600);
    offer = next;
  };
  const tellWhenOld = () => {
    aged.abort();
    aged = new AbortController();
    clock.sleep(Math.max(0, endsAt - clock.monotonic()), aged.signal).then(
      () => enrolled ?? spent(tooOld),
      () => {},
    );
  };
  if (!closedBefore) {
    keep(offer);
    tellWhenOld();
  }
  const refuseAnother = ({ key }: Applicant) => {
    if (enrolled !== undefined && enrolled.key !== key) throw alreadyEnrolled();
  };
  const triesOf = (from: string) => offer.tries[from] ?? 0;
  const triesOfAll = () => Object.values(offer.tries).reduce((sum, tries) => sum + tries, 0);
  const inTime = () => clock.monotonic() < endsAt && triesOfAll() < triesOfAllMax;
  const miss = (from: string): AiosError => {
    const firstSpent = !Object.values(offer.tries).includes(triesMax);
    const tries = triesOf(from) + 1;
    waitsUntil.set(from, clock.monotonic() + waitMs * 2 ** (tries - 1));
    // It counts whether or not it can be written.
    offer = { ...offer, tries: { ...offer.tries, [from]: tries } };
    keep(offer);
    if (triesOfAll() === triesOfAllMax) spent(guessedAt);
    else if (tries === triesMax && firstSpent) spent(missedFrom(from));
    return wrong(triesMax - tries);
  };

  return {
    secret: () => (!closedBefore && inTime() ? offer.secret : undefined),
    hasAdmin: () => closedBefore || enrolled !== undefined,
    renew() {
      keep(newOffer(clock));
      endsAt = clock.monotonic() + openForMs;
      waitsUntil.clear();
      tellWhenOld();
    },
    async enrol(secret, applicant, certify) {
      if (closedBefore) throw alreadyEnrolled();
      if (!inTime()) throw closedError(triesOfAll() < triesOfAllMax ? tooOld : guessedAt);
      if (triesOf(applicant.from) >= triesMax) throw closedError(missedFrom(applicant.from));
      const waits = (waitsUntil.get(applicant.from) ?? 0) - clock.monotonic();
      if (waits > 0) throw tooSoon(waits);
      if (!same(secret, offer.secret)) throw miss(applicant.from);
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

const tooOld = "the code is too old";
const guessedAt = "the code was guessed at too often";
const missedFrom = (from: string) => `the code was missed three times from ${from}`;

const newOffer = (clock: Clock): Offer => ({ secret: newSecret(), openedAt: clock.now(), tries: {} });

/** The present code; undefined when there is none, or what is there is none: another one is made then, and shown. */
function readOffer(path: string): Offer | undefined {
  try {
    const offer = JSON.parse(readFileSync(path, "utf8")) as Offer | null;
    const isOffer =
      typeof offer?.secret === "string" && Number.isFinite(offer.openedAt) && typeof offer.tries === "object";
    return isOffer && offer.tries !== null ? offer : undefined;
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
      : `ask from another address, or ${renewalStep}`;
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

function closedError(reason: string): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "enrol on",
    object: "this machine",
    reason,
    next: renewalStep,
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
