import { expect, test } from "vitest";
import { mirrorFrom, mirrorFromSetting, parseAptSources, sourceLines, sourcesFile } from "./apt-sources.ts";

const deb822 = `Types: deb deb-src
# a comment
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main contrib
Signed-By: /usr/share/keyrings/debian-archive-keyring.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main

Enabled: no
Types: deb
URIs: http://off.example/debian
Suites: bookworm
Components: main
`;

test("deb822 sources: continuation lines, comments, disabled stanzas", () => {
  const sources = parseAptSources("/etc/apt/sources.list.d/debian.sources", deb822);
  expect(sources).toHaveLength(2);
  expect(sources[0]).toEqual({
    uris: ["http://mirror.example/debian"],
    suites: ["bookworm", "bookworm-updates"],
    components: ["main", "contrib"],
  });
  expect(mirrorFrom(sources)).toEqual({
    debian: "http://mirror.example/debian",
    security: "http://mirror.example/debian-security",
  });
});

test("one-line sources: options, comments, source packages", () => {
  const text = `# deb http://no.example/debian bookworm main
deb-src http://no.example/debian bookworm main
deb [arch=amd64 signed-by=/k.gpg] http://mirror.example/debian bookworm main contrib # here
deb http://other.example/tool stable-tool main
`;
  const sources = parseAptSources("/etc/apt/sources.list", text);
  expect(sources).toHaveLength(2);
  expect(sources[0]?.components).toEqual(["main", "contrib"]);
  expect(mirrorFrom(sources)).toEqual({ debian: "http://mirror.example/debian" });
});

test("another vendor's archive is not taken for Debian's, and no mirror is an error that says what to set", () => {
  const sources = parseAptSources("/etc/apt/sources.list", "deb http://vendor.example/node nodistro main\n");
  expect(() => mirrorFrom(sources)).toThrow(/find a Debian mirror.*AIOS_MIRROR/);
});

test("the setting holds one address or two", () => {
  expect(mirrorFromSetting("http://a.example/debian")).toEqual({ debian: "http://a.example/debian" });
  expect(mirrorFromSetting("http://a.example/debian  http://a.example/sec").security).toBe("http://a.example/sec");
  expect(() => mirrorFromSetting("mirror")).toThrow("AIOS_MIRROR");
});

test("the image gets the mirror it was built from; without a security archive it names none", () => {
  const full = { debian: "http://a.example/debian", security: "http://a.example/sec" };
  expect(sourceLines(full)).toHaveLength(3);
  expect(sourcesFile(full)).toContain("URIs: http://a.example/sec\nSuites: trixie-security\n");
  expect(sourceLines({ debian: full.debian })).toHaveLength(2);
  expect(sourcesFile({ debian: full.debian })).not.toContain("security");
  expect(parseAptSources("x.sources", sourcesFile(full))).toHaveLength(2);
});
