/** What shows that a text without quotes goes over into something else: a second instruction, or a condition on the first. */

/** Verbs that goals are said with. */
const acts =
  `add alert allow append apply archive back backup block bounce build change check chmod chown clean clear clone
close commit compress configure copy create delete deny disable do download email empty enable ensure erase execute extract
fetch find fix format get give grant install keep kill let link list load lock look mail make mark mount move notify open
ping post print protect publish pull push put read reboot rebuild record reload remember remove rename replace report restart
restore revoke rotate run save scan schedule send serve set show shut sign start stop store switch take tell test truncate
turn uninstall unlock unmount unpack update upgrade upload use verify wait warn watch wipe write zip`.replaceAll(
    /\s+/g,
    "|",
  );

const sequence = "then|also|next|afterwards?|after that|finally|besides|in addition";
const adverbs = `(?:(?:${sequence}|please|now|immediately|just|do not|don't|never|always|only|first)[,\\s]+)*`;

const signs: readonly RegExp[] = [
  // "and make it readable", "but keep the old one", ", restart nginx", ". Stop it"
  new RegExp(`(?:\\s(?:and|but|or|plus|while)\\s+|[.;!?,]\\s+|\\s[-–—]\\s+)${adverbs}(?:${acts})\\b`, "i"),
  // "and then …", "; then …", ". Also …"
  new RegExp(`(?:\\s(?:and|but)\\s+|[.;!?,\\n]\\s*)(?:${sequence})\\b`, "i"),
  new RegExp(`\\s(?:then|afterwards)\\s+(?:${acts})\\b`, "i"),
  // "and it should be …", "and the file must …"
  /\s(?:and|but|so that)\s+(?:it|this|that|they|the \w+)\s+(?:should|must|shall|may|needs?|has|is|are|can)\b/i,
  /\s(?:make|making|be) sure\b/i,
  // "with mode 0600", "readable only by root", "owned by alice", "as root"
  /\s(?:with|in|and|using)\s+(?:the\s+)?(?:mode|permissions?|rights|owner|ownership|group|encoding)\b/i,
  /\s(?:only\s+)?(?:owned|readable|writable|writeable|executable|visible|accessible)\s+(?:only\s+)?(?:by|to|for)\b/i,
  /[\s,](?:mode|chmod)\s+0?[0-7]{3}\b/i,
  /\sas\s+(?:the\s+)?(?:user\s+\S+|root)\b/i,
  // "if it does not exist", "without asking", "only if …"
  /\s(?:only\s+)?(?:if|unless|when|once)\s+(?:it|the file|the folder|that file|this file|there|none|nothing|not)\b/i,
  /\sonly\s+(?:if|when|once|after|for|by)\b/i,
  /\swithout\s+(?:\w+ing|a|any)\b/i,
];

/** Where a text seems to go over into something else, in its own words; empty when it does not. */
export function furtherIn(text: string): string {
  const found = signs.map((sign) => sign.exec(text)).filter((match) => match !== null);
  const first = found.toSorted((a, b) => a.index - b.index)[0]?.[0] ?? "";
  return first.replace(/^[\s.;!?,–—-]+/, "");
}
