/** Sections of a manual page that help nobody who asks how a program is used. */
const leftOut = /^(AUTHORS?|REPORTING BUGS|COPYRIGHT|SEE ALSO|AVAILABILITY|HISTORY|TRANSLATION|RESOURCES|BUGS)$/i;

/** Macros whose arguments are text, in man(7). */
const inText = new Set(["B", "I", "BR", "IR", "RB", "RI", "BI", "IB", "SM", "SB", "R", "OP", "SY", "UR", "MT"]);

/** Macros that begin a line of their own. */
const lineMacros = new Set(["TP", "IP", "HP", "PP", "P", "LP", "br", "sp", "RS", "RE", "TQ", "nf", "fi"]);

/**
 * The text of a manual page in man(7): headings, paragraphs and options, without fonts and layout. It is for searching and
 * for models to read, not for looking at; what it does not know of roff it leaves out.
 */
export function manualText(roff: string): string {
  const lines: string[] = [];
  let open = "";
  let skipping = false;
  const flush = () => {
    if (open.trim() !== "" && !skipping) lines.push(open.trim().replace(/\s+/g, " "));
    open = "";
  };
  for (const line of roff.replace(/\\\n/g, "").split("\n")) {
    const [, macro, rest = ""] = /^[.']\s*([A-Za-z]{1,2})\b\s*(.*)$/.exec(line) ?? [];
    if (macro === undefined) {
      if (/^[.']/.test(line)) continue;
      if (line.trim() === "") flush();
      open += `${plain(line)} `;
    } else if (macro === "SH" || macro === "SS") {
      flush();
      const heading = plain(words(rest).join(" "));
      if (macro === "SH") skipping = leftOut.test(heading);
      if (!skipping) lines.push("", heading);
    } else if (inText.has(macro)) {
      const spaced = macro.length === 1 || macro === "SM" || macro === "OP" || macro === "SY";
      open += `${words(rest)
        .map(plain)
        .join(spaced ? " " : "")} `;
    } else if (lineMacros.has(macro)) {
      flush();
      if (macro === "IP") open = `${plain(words(rest)[0] ?? "")} `;
    }
  }
  flush();
  return lines
    .join("\n")
    .replace(/\n{3,}/g, "\n\n")
    .trim();
}

/** A macro's arguments: words, or texts in quotes. */
function words(rest: string): string[] {
  const found = rest.replace(/\\".*$/, "").match(/"(?:[^"]|"")*"|\S+/g) ?? [];
  return found.map((word) => (word.startsWith('"') ? word.slice(1, -1).replaceAll('""', '"') : word));
}

const characters: Readonly<Record<string, string>> = {
  aq: "'",
  cq: "'",
  oq: "'",
  dq: '"',
  lq: '"',
  rq: '"',
  en: "–",
  em: "—",
  bu: "-",
  ha: "^",
  ti: "~",
  rs: "\\",
  co: "(c)",
  "<=": "<=",
  ">=": ">=",
};

/** Text without roff's escapes. */
function plain(text: string): string {
  return text
    .replace(/\\".*$/, "")
    .replace(/\\f(?:\[[^\]]*\]|\(..|.)/g, "")
    .replace(/\\s[-+]?\d+/g, "")
    .replace(/\\m\[[^\]]*\]/g, "")
    .replace(/\\\((..)/g, (_, name: string) => characters[name] ?? "")
    .replace(/\\\[([^\]]+)\]/g, (_, name: string) => characters[name] ?? "")
    .replace(/\\\*\(?../g, "")
    .replace(/\\-/g, "-")
    .replace(/\\[&/|^%:,)]/g, "")
    .replace(/\\[ ~0]/g, " ")
    .replace(/\\e/g, "\\")
    .replace(/\\(.)/g, "$1");
}
