import { AiosError } from "#lib/errors";

/** The number of things that a list is to have: as asked, or (0) the default. INVALID_ARGUMENT outside of 0 to `most`. */
export function within(what: string, asked: number, byDefault: number, most: number): number {
  if (asked >= 0 && asked <= most) return asked || byDefault;
  throw new AiosError("INVALID_ARGUMENT", {
    act: `list ${what}: read`,
    object: "the count asked for",
    reason: `${asked} is not between 0 and ${most}`,
    next: `ask for fewer, or 0 for ${byDefault}`,
  });
}
