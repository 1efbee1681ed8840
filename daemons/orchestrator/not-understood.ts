import { cut } from "#lib/text";
import type { Procedure } from "./procedures.ts";
import { wordsOf } from "./tool-choice.ts";

/** Characters of a goal that its reason repeats, and of all that is suggested in its place. */
const quotedLengthMax = 60;
const suggestedLengthMax = 110;
const suggestionsMax = 3;

/** Verbs that say too little of what is wanted for two sentences to be near by them alone. */
const general = new Set(
  "add check create do find get give list make print put read report run save set show take tell write".split(" "),
);

/** Why there is no procedure for a goal. */
export function uncovered(description: string, faults: readonly string[]): string {
  const goal = cut(description, quotedLengthMax);
  const broken = faults.length === 0 ? "" : `; not usable: ${faults.join("; ")}`;
  return `no procedure covers this goal: "${goal.toWellFormed()}"${broken}`;
}

/** The one thing that helps a person whose goal no procedure covers; undefined when nothing near it is known. */
export function nextStep(description: string, procedures: readonly Procedure[]): string | undefined {
  if (breaks(description)) return "it would break the machine: name the one thing that is to go";
  const near = nearest(description, procedures);
  return near.length === 0 ? undefined : `say it as ${near.map((text) => `"${text}"`).join(" or ")}`;
}

const act = "(?:delete|remove|erase|wipe|format|destroy|kill|shred|uninstall|overwrite)";
const whole =
  "(?:everything|all(?: of)?(?: the)? (?:files|data|folders|disks|drives|partitions|processes|services|packages)|(?:hard )?(?:disk|drive)s?|machine|system|computer|server|operating system|kernel|partitions?|file ?systems?|root(?: folder| directory)?|yourself|itself|/)";
const breaking: readonly RegExp[] = [
  new RegExp(
    `\\b${act}\\s+(?:(?:the|this|your|my|our|whole|entire|complete|all|of|on|in)\\s+)*${whole}(?:\\s+(?:on|of|in|from)\\s+(?:the |this |whole |entire )*${whole})?[\\s.!]*(?:please|now)?[\\s.!]*$`,
    "i",
  ),
  /\brm\s+-\w*r\w*\s+(?:--no-preserve-root\s+)?\/(?:\*|\s|$)/i,
  /\b(?:mkfs|dd\s+if=|:\(\)\s*\{)/i,
];

/** A wish after which the machine would be none: it is not answered with advice how to get it. */
const breaks = (description: string): boolean => breaking.some((sign) => sign.test(description));

/** Phrases that share enough with a goal to be what was meant, the nearest first. */
function nearest(description: string, procedures: readonly Procedure[]): string[] {
  const said = new Set(wordsOf(description));
  const scored = procedures.flatMap(({ phrases }) =>
    phrases.map(({ text }) => ({ text, score: nearness(text, said) })),
  );
  const best = procedures.flatMap(({ phrases }) => {
    const own = scored.filter(({ text, score }) => score > 0 && phrases.some((phrase) => phrase.text === text));
    return own.toSorted((a, b) => b.score - a.score || a.text.length - b.text.length).slice(0, 1);
  });
  const taken: string[] = [];
  for (const { text } of best.toSorted((a, b) => b.score - a.score).slice(0, suggestionsMax)) {
    if ([...taken, text].join().length <= suggestedLengthMax) taken.push(text);
  }
  return taken;
}

/** How near a phrase is to what was said: 0 when not enough of its words and not enough of the goal's are the same. */
function nearness(text: string, said: ReadonlySet<string>): number {
  const words = [...new Set(wordsOf(text.replaceAll(/\{\w+\}/g, "")))];
  const shared = words.filter((word) => said.has(word));
  const telling = shared.filter((word) => !general.has(word));
  const enough = shared.length >= 2 ? telling.length > 0 : telling.length === 1 && words.length === 1 && said.size <= 4;
  return enough && 2 * shared.length >= words.length ? shared.length + shared.length / (words.length + said.size) : 0;
}
