/**
 * How sure we may be of something that has worked `successes` times and failed `failures` times: the lower end of Wilson's
 * interval for its true rate of success, at one standard deviation (84 % of true rates lie above it). 0 when it was never
 * tried. Unlike the plain share it grows with the number of tries: once of once is 0.5, nine of nine 0.9.
 */
export function confidence(successes: number, failures: number): number {
  const tries = successes + failures;
  if (tries === 0) return 0;
  const share = successes / tries;
  const centre = share + 1 / (2 * tries);
  const margin = Math.sqrt((share * (1 - share)) / tries + 1 / (4 * tries * tries));
  return (centre - margin) / (1 + 1 / tries);
}

/**
 * The confidence above which a learned procedure is used: it has worked rather than not, as far as can be told. One
 * success is enough; after a failure it takes three successes for each, so what fails at its second use is not used a
 * third time.
 */
const confidenceMin = 0.5;

/** Whether what was learned may be used. */
export function isProven(successes: number, failures: number): boolean {
  // Once of once is exactly a half: that must not hang on the last bit.
  return confidence(successes, failures) >= confidenceMin - 1e-9;
}
