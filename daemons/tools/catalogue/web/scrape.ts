import { beginning } from "#lib/text";
import { resolveUrl } from "../../names.ts";

/** The largest page that is read, bytes, and the most links of it that are told. */
export const htmlMaxBytes = 2 * 1024 * 1024;
const linksMax = 500;
const linkTextMax = 200;
const titleMax = 500;

interface Page {
  readonly title: string;
  readonly text: string;
  readonly links: { text: string; url: string }[];
  readonly truncated: boolean;
}

/** Elements whose content is not for readers. */
const hidden = new Set(["script", "style", "template", "noscript", "svg", "head", "iframe", "object", "select"]);

/** Elements whose content is characters and no tags, up to their end tag. */
const raw = new Set(["script", "style", "title", "textarea", "iframe", "noscript"]);

/** Elements without content. */
const empty = new Set(["br", "hr", "img", "input", "meta", "link", "source", "wbr", "area", "base", "col", "embed"]);

/** Elements that stand on lines of their own. */
const blocks = new Set(
  [
    "p",
    "div",
    "br",
    "hr",
    "li",
    "ul",
    "ol",
    "tr",
    "table",
    "section",
    "article",
    "header",
    "footer",
    "nav",
    "main",
  ].concat([
    "h1",
    "h2",
    "h3",
    "h4",
    "h5",
    "h6",
    "blockquote",
    "pre",
    "dt",
    "dd",
    "form",
    "figure",
    "aside",
    "option",
    "address",
  ]),
);

/**
 * The title, readable text and links of a page. Reads each character once, whatever the page is: what is broken in it is
 * text. Nothing of it is run or loaded.
 */
export function extract(content: Buffer, type: string, url: string, textLengthMax: number): Page {
  const source = decode(content, type);
  if (!/html|xml/i.test(type)) return cut({ title: "", text: source, links: [] }, textLengthMax);
  const reader = new Reader(url);
  for (const token of tokens(source)) reader.take(token);
  return cut(reader.page(), textLengthMax);
}

function decode(content: Buffer, type: string): string {
  const label =
    /charset\s*=\s*"?([\w-]+)/i.exec(type)?.[1] ??
    /charset\s*=\s*["']?([\w-]+)/i.exec(content.toString("latin1", 0, 1024))?.[1];
  try {
    return new TextDecoder(label ?? "utf-8").decode(content);
  } catch {
    // A character set that nobody knows.
    return new TextDecoder("utf-8").decode(content);
  }
}

type Token =
  | { readonly kind: "text"; readonly text: string }
  | { readonly kind: "open" | "close"; readonly name: string; readonly attributes: string };

function* tokens(source: string): Generator<Token> {
  // Lower case once: an end tag is then found without regard to case. Only ASCII, so that positions stay the same.
  const lower = source.replace(/[A-Z]+/g, (letters) => letters.toLowerCase());
  let at = 0;
  while (at < source.length) {
    const tag = source.indexOf("<", at);
    if (tag === -1) return yield { kind: "text", text: source.slice(at) };
    if (tag > at) yield { kind: "text", text: source.slice(at, tag) };
    if (source.startsWith("<!--", tag)) {
      at = after(source, "-->", tag + 4);
      continue;
    }
    const name = /^<(\/?)([a-z][a-z0-9-]*)|^<[!?/]/.exec(lower.slice(tag, tag + 64));
    if (name === null) {
      yield { kind: "text", text: "<" };
      at = tag + 1;
      continue;
    }
    const end = endOfTag(source, tag + 1);
    at = end;
    const [, slash, element] = name;
    if (element === undefined) continue;
    yield {
      kind: slash === "/" ? "close" : "open",
      name: element,
      attributes: source.slice(tag + 1 + element.length, end - 1),
    };
    if (slash === "" && raw.has(element)) {
      const close = lower.indexOf(`</${element}`, end);
      const stop = close === -1 ? source.length : close;
      yield { kind: "text", text: source.slice(end, stop) };
      at = stop;
    }
  }
}

const after = (source: string, mark: string, from: number) => {
  const found = source.indexOf(mark, from);
  return found === -1 ? source.length : found + mark.length;
};

/** Behind the ">" that ends a tag; one in quotes does not. */
function endOfTag(source: string, from: number): number {
  let quote = "";
  for (let at = from; at < source.length; at += 1) {
    const character = source[at] ?? "";
    if (quote !== "") {
      if (character === quote) quote = "";
    } else if (character === ">") {
      return at + 1;
    } else if ((character === '"' || character === "'") && /[=\s]/.test(source[at - 1] ?? "")) {
      quote = character;
    }
  }
  return source.length;
}

class Reader {
  readonly #base: string;
  #title = "";
  #inTitle = false;
  /** The hidden element that is open, and how often it is open within itself. */
  #hidden = "";
  #depth = 0;
  #text: string[] = [];
  #links: { text: string; url: string }[] = [];
  #link: { url: string; parts: string[] } | undefined;

  constructor(base: string) {
    this.#base = base;
  }

  take(token: Token): void {
    if (token.kind === "text") {
      this.#addText(token.text);
      return;
    }
    if (token.name === "title") this.#inTitle = token.kind === "open";
    if (this.#skips(token)) return;
    if (blocks.has(token.name)) this.#text.push("\n");
    if (token.name === "td" || token.name === "th") this.#text.push(" ");
    if (token.name === "a") this.#takeLink(token);
  }

  page(): Omit<Page, "truncated"> {
    this.#endLink();
    const lines = this.#text.join("").split("\n").map(spaced);
    return {
      title: beginning(spaced(this.#title), titleMax),
      text: lines.filter((line) => line !== "").join("\n"),
      links: this.#links,
    };
  }

  #addText(text: string): void {
    if (this.#inTitle && this.#title === "") {
      this.#title = unescaped(text);
      return;
    }
    if (this.#hidden !== "") return;
    const plain = unescaped(text).replaceAll(/\s+/g, " ");
    this.#text.push(plain);
    this.#link?.parts.push(plain);
  }

  /** Whether a tag is within what nobody reads, or begins or ends it. */
  #skips({ kind, name }: Exclude<Token, { kind: "text" }>): boolean {
    if (this.#hidden === "") {
      if (kind === "open" && name === "body") return false;
      if (!hidden.has(name) || kind === "close") return false;
      [this.#hidden, this.#depth] = [name, 1];
      return true;
    }
    // A head whose end is left out ends where the body begins.
    if (this.#hidden === "head" && name === "body") this.#hidden = "";
    else if (name === this.#hidden && !empty.has(name)) this.#depth += kind === "open" ? 1 : -1;
    if (this.#depth === 0) this.#hidden = "";
    return true;
  }

  #takeLink({ kind, attributes }: Exclude<Token, { kind: "text" }>): void {
    this.#endLink();
    if (kind === "close" || this.#links.length > linksMax) return;
    const href = /(?:^|\s)href\s*=\s*(?:"([^"]*)"|'([^']*)'|([^\s"'>]+))/i.exec(beginning(attributes, 8192));
    const to = href === null ? undefined : absolute(unescaped(href[1] ?? href[2] ?? href[3] ?? ""), this.#base);
    if (to !== undefined) this.#link = { url: to, parts: [] };
  }

  #endLink(): void {
    if (this.#link !== undefined) {
      const { url, parts } = this.#link;
      this.#links.push({ text: beginning(spaced(parts.join("")), linkTextMax).toWellFormed(), url });
    }
    this.#link = undefined;
  }
}

const spaced = (text: string) => text.replaceAll(/\s+/g, " ").trim();

/** Only what can be fetched again is a link. */
function absolute(href: string, base: string): string | undefined {
  const url = URL.parse(href.trim(), base);
  if (url === null) return undefined;
  try {
    return resolveUrl(url.href).name;
  } catch {
    return undefined;
  }
}

const entities: Readonly<Record<string, string>> = {
  amp: "&",
  lt: "<",
  gt: ">",
  quot: '"',
  apos: "'",
  nbsp: " ",
  copy: "©",
  reg: "®",
  hellip: "…",
  mdash: "—",
  ndash: "–",
  lsquo: "‘",
  rsquo: "’",
  ldquo: "“",
  rdquo: "”",
  laquo: "«",
  raquo: "»",
  bull: "•",
  middot: "·",
  euro: "€",
  auml: "ä",
  ouml: "ö",
  uuml: "ü",
  Auml: "Ä",
  Ouml: "Ö",
  Uuml: "Ü",
  szlig: "ß",
  eacute: "é",
  egrave: "è",
};

function unescaped(text: string): string {
  return text.replaceAll(/&(?:#(\d{1,7})|#[xX]([0-9a-fA-F]{1,6})|([a-zA-Z]{2,8}));?/g, (all, decimal, hex, name) => {
    if (name !== undefined) return entities[name] ?? all;
    const code = Number.parseInt(decimal ?? hex, decimal === undefined ? 16 : 10);
    return code > 0x10ffff || (code >= 0xd800 && code <= 0xdfff) ? "\ufffd" : String.fromCodePoint(code);
  });
}

function cut({ title, text, links }: Omit<Page, "truncated">, textLengthMax: number): Page {
  return {
    title: title.toWellFormed(),
    text: beginning(text, textLengthMax).toWellFormed(),
    links: links.slice(0, linksMax),
    truncated: text.length > textLengthMax || links.length > linksMax,
  };
}
