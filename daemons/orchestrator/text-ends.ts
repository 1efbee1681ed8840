/**
 * Finds signs that a text without quotes goes over into something else, or only tells of a text that is somewhere else.
 */

import { acts } from "./verbs.ts";

const act = acts.join("|");

const sequence = "then|also|next|afterwards?|after that|finally|besides|in addition";
const adverbs = `(?:(?:${sequence}|please|now|immediately|just|do not|don't|never|always|only|first)[,\\s]+)*`;
const join = "\\s(?:and|but|or|plus|while|&&?|\\+)\\s+";
const stop = "[\\s.!]*$";
const units = "(?:second|minute|hour|day|night|morning|evening|week|month|year)";
const weekdays = "(?:mon|tues|wednes|thurs|fri|satur|sun)day";

const signs: readonly RegExp[] = [
  // "and make it readable", "but keep the old one", ", restart nginx", ". Stop it"
  new RegExp(`(?:${join}|[.;!?,]\\s+|\\n[ \\t]*|\\s[-–—]\\s+)${adverbs}(?:re-?|un)?(?:${act})\\b`, "i"),
  // "and then …", "; then …", ". Also …"
  new RegExp(`(?:\\s(?:and|but)\\s+|[.;!?,\\n]\\s*)(?:${sequence})\\b`, "i"),
  new RegExp(`\\s(?:then|afterwards)\\s+(?:${act})\\b`, "i"),
  // "and frob it": what is done with something said before
  new RegExp(`(?:${join}|[.;!?]\\s+)${adverbs}[a-z]+\\s+(?:it|its|them|these|those|him|her)\\b`, "i"),
  // "chmod it to 600", "> /srv/y"
  /\s(?:\||>>?)\s*(?:\w+\s+)?["']?\/\S+/,
  new RegExp(`\\s(?:${act})\\s+(?:it|them)\\b`, "i"),
  // "and a file /srv/y with …"
  new RegExp(`(?:${join}|,\\s+)(?:[\\w'-]+\\s+){0,4}["']?/\\S+`, "i"),
  // "and it should be …", "and the file must …", "and nobody else can …"
  /\s(?:and|but|so that)\s+(?:it|this|that|they|the \w+)\s+(?:should|must|shall|may|needs?|has|is|are|can)\b/i,
  /\s(?:and|but|so|such)\s+(?:that\s+)?(?:only|nobody|no one|everyone|everybody|others|all)\s+(?:\w+\s+){0,2}(?:should|must|shall|may|can)\b/i,
  /\s(?:so|such) that\s/i,
  /\s(?:make|making|be) sure\b/i,
  // "with mode 0600", "readable only by root", "owned by alice", "and executable", "as root"
  /\s(?:with|in|and|using)\s+(?:the\s+)?(?:mode|permissions?|rights|owner|ownership|group|encoding)\b/i,
  /\s(?:only\s+)?(?:owned|readable|writable|writeable|executable|visible|accessible)\s+(?:only\s+)?(?:by|to|for)\b/i,
  /\sbelonging\s+to\b/i,
  new RegExp(`${join}(?:not\\s+)?(?:executable|read-?only|hidden|writable|writeable|readable|immutable)\\b`, "i"),
  /\s(?:encoded|encrypted|compressed|formatted|signed)\s+(?:as|in|with|by)\b/i,
  /[\s,](?:mode|chmod)\s+0?[0-7]{3}\b/i,
  /\sas\s+(?:the\s+)?(?:user\s+\S+|root)\b/i,
  // "if it does not exist", "unless the disk is full", "before restarting nginx", "without asking", "only if …"
  /\s(?:only\s+)?(?:when|once)\s+(?:it|the file|the folder|that file|this file|there|none|nothing|not)\b/i,
  /\s(?:if|unless|until|whenever|as soon as)\s+\S+/i,
  /\s(?:before|after|while)\s+\w+ing\b/i,
  /\sonly\s+(?:if|when|once|after|for|by)\b/i,
  new RegExp(`\\s(?:when\\s+(?:idle|possible|ready|done|free|needed)|\\(?dry[- ]run\\)?)${stop}`, "i"),
  /\swithout\s+(?:\w+ing|a|any)\b/i,
  // "after the first line", "as a new line", "three times"
  /\s(?:after|before|above|below|at|in|on|as)\s+(?:(?:a|the|its)\s+)?(?:(?:new|own|separate|first|last)\s+)?(?:line|top|end|beginning|bottom)\b/i,
  new RegExp(`\\s(?:twice|(?:\\d+|two|three|four|five|ten|several|many)\\s+times)${stop}`, "i"),
];

/** When something is wanted. */
const times: readonly RegExp[] = [
  // "every night", "at 17:00", "in 10 minutes", "tomorrow"
  new RegExp(`\\s(?:every|each)\\s+(?:\\d+\\s+)?(?:${units}s?|${weekdays}|weekday)(?:\\s+at\\s+\\S+)?${stop}`, "i"),
  new RegExp(`\\s(?:once|twice|times)\\s+(?:a|an|per|every|each)\\s+${units}${stop}`, "i"),
  new RegExp(`\\sat\\s+(?:\\d{1,2}:\\d\\d|\\d{1,2}\\s*(?:am|pm|o'clock)|noon|midnight)${stop}`, "i"),
  new RegExp(
    `\\s(?:in\\s+(?:\\d+|an?)\\s+${units}s?|on\\s+${weekdays}|tomorrow|tonight|later|daily|hourly|weekly)${stop}`,
    "i",
  ),
];

/**
 * Where a text seems to go over into something else, in its own words; empty when it does not. A time at the end is part of a text
 * that a colon introduced: "warn the operators: maintenance at 22:00".
 */
export function endOfText(text: string, isIntroduced = false): string {
  const found = [...signs, ...(isIntroduced ? [] : times)]
    .map((sign) => sign.exec(text))
    .filter((match) => match !== null);
  const first = found.toSorted((a, b) => a.index - b.index)[0]?.[0] ?? "";
  return first.replace(/^[\s.;!?,–—-]+/, "");
}

const parts = "(?:contents?|text|output|results?|lines?|words|rest|beginning|end)";

const tellings: readonly RegExp[] = [
  // "of /srv/a", "from there", "when the disk is full", "every hour"
  /^(?:of|from|like|that|which|equal|taken|copied|containing|consisting|saying|about)\s/i,
  /^(?:if|unless|until|when|whenever|once|as|every|each|after|before)\s+\w/i,
  // "the first line of /srv/a", "the output of uptime"
  new RegExp(
    `^(?:(?:the|all|a|its|this|that)\\s+)*(?:(?:first|last|whole|entire|current|\\d+)\\s+)*${parts}\\s+(?:of|from|in)\\s`,
    "i",
  ),
  // "today's date", "the current time"
  /^(?:the\s+)?(?:(?:today's|current|present|actual|this machine's)\s+)?(?:date|time|date and time|timestamp|host ?name|uptime)$/i,
  // "append not the line x"
  /^(?:not|never|no|nothing)\s/i,
  /^(?:\w+\s+){1,2}(?:the|this)\s+(?:line|text|content)\s/i,
  // "it", "/srv/a": the file's name, or what is in it
  /^(?:it|this|that|them|these|those|the same|everything)$/i,
  /^\/\S+$/,
];

/** Whether a text may tell of a text, or of when it is wanted, instead of being it. */
export const isTelling = (text: string): boolean => tellings.some((sign) => sign.test(text));
