import { cut } from "#lib/text";
import type { Phrase } from "../../phrase.ts";
import { kindsOfActs } from "../../verbs.ts";
import { wordsOf } from "./words.ts";

/** A procedure, as far as it is words. */
interface Worded {
  readonly phrases: readonly Pick<Phrase, "text">[];
}

/** Characters of a goal that its reason repeats, and of all that is suggested in its place. */
const quotedLengthMax = 60;
const suggestedLengthMax = 110;
const suggestionsMax = 3;

/** Verbs that say too little of what is wanted for two sentences to be near by them alone. */
const general = new Set(
  "add check create do find get give list make print put read report run save set show take tell write".split(" "),
);

/** Words that questions are made of, and that say nothing of what is asked. */
const asking = new Set(
  "all any are can did do does every had has have how many much some there what when where which who why".split(" "),
);

/** First words that ask to be shown something, and are no verbs of an act. */
const showing = "are how is logs see what which who".split(" ");

const kinds: readonly ReadonlySet<string>[] = kindsOfActs.map(
  (verbs) => new Set(verbs.includes("show") ? [...verbs, ...showing] : verbs),
);

/** Why there is no procedure for a goal. */
export function whyNotCovered(description: string, faults: readonly string[]): string {
  const goal = cut(description, quotedLengthMax);
  const broken = faults.length === 0 ? "" : `; not usable: ${faults.join("; ")}`;
  return `no procedure covers this goal: "${goal.toWellFormed()}"${broken}`;
}

/** The one thing that helps a person whose goal no procedure covers; undefined when nothing near it is known. */
export function nextStep(description: string, procedures: readonly Worded[]): string | undefined {
  const command = powerOf(description);
  if (command !== undefined) return command;
  if (breaks(description)) return "it would break the machine: name the one thing that is to go";
  const near = nearest(description, procedures);
  return near.length === 0 ? undefined : `say it as ${near.map((text) => `"${text}"`).join(" or ")}`;
}

const act =
  "(?:break|brick|clear|delete|destroy|drop|empty|erase|format|kill|nuke|overwrite|reformat|remove|ruin|shred|trash|uninstall|wipe|zero(?: out)?)";
const things =
  "(?:files?|data|folders?|disks?|drives?|partitions?|process(?:es)?|services?|packages?|users?|accounts?)";
const machine =
  "(?:(?:hard )?(?:disk|drive)s?|machine|system|computer|server|operating system|linux|kernel|partitions?|file ?systems?|root(?: folder| directory)?|yourself|itself|/)";
const whole = `(?:everything|(?:all(?: of)?|every)(?: (?:the|my|our|your|its))* ${things}|${machine})`;
const thoroughly = "(?:\\s+(?:clean|completely|entirely|for good|forever|with zero(?:e?s)?|please|now))*";
const breaking: readonly RegExp[] = [
  new RegExp(
    `\\b${act}\\s+(?:(?:the|this|your|my|our|whole|entire|complete|all|of|on|in)\\s+)*${whole}(?:\\s+(?:on|of|in|from)\\s+(?:the |this |whole |entire )*${whole})?${thoroughly}[\\s.!]*$`,
    "i",
  ),
  /\brm\s+(?:-\S+\s+)*-\w*r\w*\s+(?:-\S+\s+)*[/~](?:\*|\s|$)/i,
  /\bch(?:mod|own)\s+-\w*R\w*\s+\S+\s+\/(?:\*|\s|$)/,
  /\bkill\s+(?:-\S+\s+)*(?:init|systemd|(?:pid\s*)?1)\b/i,
  /\bself[- ]?destruct/i,
  /\b(?:mkfs|dd\s+if=|:\(\)\s*\{)/i,
];

/** A wish after which the machine would be none: it is not answered with advice how to get it. */
const breaks = (description: string): boolean => breaking.some((sign) => sign.test(description));

const thisMachine = "(?:(?:the|this|your|my)\\s+)?(?:machine|computer|system|server)";
const powers: readonly (readonly [string, string])[] = [
  [`(?:reboot|power[- ]?cycle)(?:\\s+${thisMachine})?`, "restart"],
  [`restart\\s+${thisMachine}`, "restart"],
  [`(?:shut ?down|power[- ]?(?:off|down)|halt)(?:\\s+${thisMachine})?`, "off"],
  [`(?:turn|switch) off\\s+${thisMachine}`, "off"],
];

/** The command for what is done to the machine as a whole, which no goal does. */
export function powerOf(description: string): string | undefined {
  const [, verb] =
    powers.find(([words]) =>
      new RegExp(`^(?:please )?${words}(?:,? please| now)*[.!]*$`, "i").test(description.trim()),
    ) ?? [];
  return verb === undefined ? undefined : `that is no goal but a command: aiosctl power ${verb}`;
}

/** Phrases that share enough with a goal to be what was meant, the nearest first. */
function nearest(description: string, procedures: readonly Worded[]): string[] {
  const said = tellingOf(description);
  const scored = procedures.flatMap(({ phrases }) =>
    phrases.map(({ text }) => ({ text, score: isOfKind(description, text) ? nearness(text, said) : 0 })),
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

/** Whether a goal and a phrase do not begin with words of different kinds. */
function isOfKind(description: string, text: string): boolean {
  const kindsOf = (sentence: string) => {
    const [first = ""] =
      sentence
        .toLowerCase()
        .replace(/^please\s+/, "")
        .match(/[a-z]+/) ?? [];
    return kinds.filter((kind) => kind.has(first));
  };
  const [wanted, offered] = [kindsOf(description), kindsOf(text)];
  return wanted.length === 0 || offered.length === 0 || wanted.some((kind) => offered.includes(kind));
}

/** The words of a sentence but for those of questions, and for paths and addresses. */
const tellingOf = (text: string): string[] =>
  wordsOf(text.replaceAll(/\S*\/\S*/g, "")).filter((word) => !asking.has(word));

/** How near a phrase is to what was said: 0 when not enough of its words and not enough of the goal's are the same. */
function nearness(text: string, said: readonly string[]): number {
  const words = [...new Set(tellingOf(text.replaceAll(/\{\w+\}/g, "")))];
  const shared = words.filter((word) => said.includes(word));
  const telling = shared.filter((word) => !general.has(word));
  // One word is enough where there is no other, and the goal begins with it or has few.
  const alone = telling.length === 1 && words.length === 1 && said.length <= (telling[0] === said[0] ? 4 : 2);
  const enough = shared.length >= 2 ? telling.length > 0 : alone;
  const most = words.length <= 2 ? 2 * shared.length >= words.length : 2 * shared.length > words.length;
  return enough && most ? shared.length + shared.length / (words.length + said.length) : 0;
}
