import { AiosError } from "#lib/errors";

/** One entry of an apt sources file, whichever of the two formats it was written in. */
interface AptSource {
  readonly uris: readonly string[];
  readonly suites: readonly string[];
  readonly components: readonly string[];
}

/** Where Debian's archives are for this host. `security` is absent when the host's sources name no security archive. */
export interface Mirror {
  readonly debian: string;
  readonly security?: string;
}

/** The Debian release that the image and the build root are made of. */
export const release = "trixie";

/** Where Debian keeps its keys, on the host, in the build root and in the image. */
export const keyring = "/usr/share/keyrings/debian-archive-keyring.gpg";

const debianSuite = /^(bullseye|bookworm|trixie|forky|sid|stable|testing|unstable)$/;
const securitySuite = /^(bullseye|bookworm|trixie|forky|stable|testing)-security$/;

/** Reads a sources file: deb822 when its name ends in `.sources`, one line per source otherwise. Source packages (`deb-src`) are left out. */
export function parseAptSources(path: string, text: string): AptSource[] {
  return path.endsWith(".sources") ? parseStanzas(text) : parseLines(text);
}

function parseLines(text: string): AptSource[] {
  return text.split("\n").flatMap((line) => {
    const match = /^\s*deb\s+(?:\[[^\]]*\]\s*)?(\S+)\s+(\S+)\s*([^#]*)/.exec(line);
    if (match === null) return [];
    const [, uri = "", suite = "", components = ""] = match;
    return [{ uris: [uri], suites: [suite], components: words(components) }];
  });
}

function parseStanzas(text: string): AptSource[] {
  return text.split(/\n\s*\n/).flatMap((stanza) => {
    const fields = stanzaFields(stanza);
    const types = words(fields.get("types") ?? "");
    if (!types.includes("deb") || fields.get("enabled") === "no") return [];
    return [
      {
        uris: words(fields.get("uris") ?? ""),
        suites: words(fields.get("suites") ?? ""),
        components: words(fields.get("components") ?? ""),
      },
    ];
  });
}

/** The fields of one deb822 stanza, names in lower case, continuation lines joined by a space. */
function stanzaFields(stanza: string): Map<string, string> {
  const fields = new Map<string, string>();
  let last = "";
  for (const line of stanza.split("\n")) {
    if (line.startsWith("#") || line.trim() === "") continue;
    const start = /^([^\s:]+):\s*(.*)$/.exec(line);
    if (start === null) fields.set(last, `${fields.get(last) ?? ""} ${line.trim()}`);
    else {
      last = (start[1] ?? "").toLowerCase();
      fields.set(last, (start[2] ?? "").trim());
    }
  }
  return fields;
}

function words(text: string): string[] {
  return text.split(/\s+/).filter((word) => word !== "");
}

/**
 * The mirror that `sources` use for Debian itself.
 * Throws FAILED_PRECONDITION when there is none (the host is not Debian, or its sources are empty).
 */
export function mirrorFrom(sources: readonly AptSource[]): Mirror {
  const uriOf = (suites: RegExp): string | undefined =>
    sources.find((source) => source.components.includes("main") && source.suites.some((suite) => suites.test(suite)))
      ?.uris[0];
  const debian = uriOf(debianSuite);
  const security = uriOf(securitySuite);
  if (debian === undefined)
    throw new AiosError("FAILED_PRECONDITION", {
      act: "find",
      object: "a Debian mirror",
      reason: "the host's apt sources name none",
      next: 'set AIOS_MIRROR="ADDRESS [SECURITY-ADDRESS]"',
    });
  return { debian, ...(security !== undefined && { security }) };
}

/** Reads the AIOS_MIRROR setting: the mirror's address and, after a space, the security archive's. */
export function mirrorFromSetting(setting: string): Mirror {
  const [debian, security] = words(setting);
  if (debian === undefined || !/^[a-z]+:\//.test(debian))
    throw new AiosError("INVALID_ARGUMENT", {
      act: "read",
      object: `AIOS_MIRROR=${JSON.stringify(setting)}`,
      reason: "expected an address such as http://HOST/debian, and optionally a second one for security updates",
      next: "correct the setting",
    });
  return { debian, ...(security !== undefined && { security }) };
}

/** The lines that mmdebstrap is given, one per archive. */
export function sourceLines({ debian, security }: Mirror): string[] {
  const line = (uri: string, suite: string) => `deb [signed-by=${keyring}] ${uri} ${suite} main`;
  return [
    line(debian, release),
    line(debian, `${release}-updates`),
    ...(security === undefined ? [] : [line(security, `${release}-security`)]),
  ];
}

/** The sources file of the image, in deb822. */
export function sourcesFile({ debian, security }: Mirror): string {
  const stanza = (uri: string, suites: string) =>
    `Types: deb\nURIs: ${uri}\nSuites: ${suites}\nComponents: main\nSigned-By: ${keyring}\n`;
  const stanzas = [stanza(debian, `${release} ${release}-updates`)];
  if (security !== undefined) stanzas.push(stanza(security, `${release}-security`));
  return stanzas.join("\n");
}
