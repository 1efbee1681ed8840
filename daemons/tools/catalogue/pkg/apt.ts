/**
 * dpkg is not stopped half-way. Packages are fetched first, which a stop ends at once; from then on it is heeded when
 * dpkg has ended, and a script that hangs is given up after an hour. The other way, configuring afterwards what was
 * killed, leaves half-unpacked packages that dpkg cannot configure.
 */
import { existsSync } from "node:fs";
import * as Type from "typebox";
import { AiosError } from "#lib/errors";
import { ending } from "#lib/text";
import { hostOf } from "../../names.ts";
import { type Argv, type Ended, type Outbound, type ProgramOptions, runProgram, succeed } from "../shared/index.ts";

/** Acts that fetch from the archive. */
const fetching = ["update", "install", "upgrade", "download"];

/** The packages that the tools work on; elsewhere in tests. */
export interface PackageWorld {
  /** In front of every path: "" on the machine. */
  readonly root: string;
  /** Added to the environment of apt and dpkg: none on the machine. */
  readonly env: Readonly<Record<string, string>>;
}

/** The machine's own packages. */
export const machinePackages: PackageWorld = { root: "", env: {} };

/** A name as Debian has it. apt would read a "-" at its end as "remove". */
export const packageName = Type.String({
  pattern: "^[a-z0-9][a-z0-9+.-]{0,126}[a-z0-9+]$",
  description: "a Debian package's name",
});

export const packageVersion = Type.String({
  pattern: "^[A-Za-z0-9][A-Za-z0-9.+~:-]{0,127}$",
  description: "a Debian package's version",
});

/** The change of one package by an act, or its simulation. */
export interface Change {
  readonly name: string;
  /** The version before; absent when it was not installed. */
  readonly from?: string;
  /** The version after; absent when it is removed. */
  readonly to?: string;
  /** Where apt has it from: "Debian-Security:13/stable-security". */
  readonly origin?: string;
}

/** Nobody is there to answer questions, and another apt is waited for. */
const quiet = { DEBIAN_FRONTEND: "noninteractive", APT_LISTCHANGES_FRONTEND: "none" } as const;
const aptOptions = ["--yes", "-o", "DPkg::Lock::Timeout=60", "-o", "APT::Sandbox::User=root", "-o", "APT::Color=0"];
const keepConfiguration = ["-o", "Dpkg::Options::=--force-confdef", "-o", "Dpkg::Options::=--force-confold"];

/** Acts that fetch packages and unpack them, and all that dpkg works for. */
const unpacking = ["install", "upgrade"];
const changing = [...unpacking, "remove", "purge"];

/**
 * Between unpacking and configuring nobody is to stop dpkg: a package would stand half installed. Who stops such a call hears of
 * it when it has ended; a package's script that hangs is given up after an hour.
 */
const untilItEnds: ProgramOptions = { signal: new AbortController().signal, timeoutMs: 3_600_000 };

export interface Apt {
  /** A program of apt's or dpkg's that must succeed; its standard output. */
  run(argv: Argv, options: ProgramOptions): Promise<string>;
  /** "apt-get ACT WORDS", asking nothing. */
  get(act: string, words: readonly string[], options: ProgramOptions): Promise<string>;
  /** What "apt-get ACT WORDS" would do. */
  simulate(act: string, words: readonly string[], options: ProgramOptions): Promise<Change[]>;
  /** What is installed of a package: its version and whether it is held; undefined when it is not. */
  installed(name: string, options: ProgramOptions): Promise<{ version: string; locked: boolean } | undefined>;
  /** The version that would be installed. Throws NOT_FOUND when the archive's lists do not name the package. */
  candidate(name: string, options: ProgramOptions): Promise<string>;
  /** Finishes what an act that was killed left half done, and sees that packages cannot start daemons by themselves. */
  ready(options: ProgramOptions): Promise<void>;
}

/** The hosts that apt would fetch from, by its list of URIs; files of the machine have none. */
function hostsIn(uris: string): Set<string> {
  const found = [...uris.matchAll(/^'([a-z+]+:[^']*)'/gm)].map(([, uri = ""]) => URL.parse(uri));
  return new Set(found.flatMap((url) => (url === null || url.hostname === "" ? [] : [hostOf(url)])));
}

/** `outbound` is asked before anything is fetched; who only reads needs none. */
export function openApt({ root, env }: PackageWorld, outbound?: Outbound): Apt {
  const run: Apt["run"] = (argv, options) => succeed(argv, { ...options, env: { ...quiet, ...env, ...options.env } });
  const apt: Apt = {
    run,
    get: async (act, words, options) => {
      if (fetching.includes(act) && outbound?.allowed() === false) {
        const uris = await run(["apt-get", act, "--print-uris", ...aptOptions, ...words], options);
        for (const host of hostsIn(uris)) outbound.check(`apt-get ${act} from`, host);
      }
      const asked = async (more: readonly string[], how: ProgramOptions) => {
        const argv = ["apt-get", act, ...more, ...aptOptions, ...keepConfiguration, ...words] as const;
        return runProgram(argv, { ...how, env: { ...quiet, ...env } });
      };
      if (unpacking.includes(act)) {
        const fetched = await asked(["--download-only"], options);
        if (fetched.exitCode !== 0) throw aptFailed(act, words, fetched);
        options.signal.throwIfAborted();
      }
      const ended = await asked([], changing.includes(act) ? untilItEnds : options);
      if (ended.exitCode === 0) return ended.stdout;
      throw aptFailed(act, words, ended);
    },
    simulate: async (act, words, options) =>
      parseSimulation(await run(["apt-get", act, "--simulate", ...aptOptions, ...words], options)),
    installed: async (name, options) => {
      const found = await runProgram(
        // biome-ignore lint/suspicious/noTemplateCurlyInString: dpkg-query's own placeholders.
        ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${db:Status-Want} ${Version}\\n", "--", name],
        { ...options, env: { ...env } },
      );
      const [, want, version] = /^installed (\S+) (\S+)$/m.exec(found.stdout) ?? [];
      return version === undefined ? undefined : { version, locked: want === "hold" };
    },
    candidate: async (name, options) => {
      const policy = await run(["apt-cache", "policy", "--", name], options);
      const version = /^ {2}Candidate: (\S+)$/m.exec(policy)?.[1];
      if (version !== undefined && version !== "(none)" && policy.startsWith(`${name}:`)) return version;
      throw new AiosError("NOT_FOUND", {
        act: "find",
        object: `package ${name}`,
        reason: "the archive's lists do not name it",
        next: "call pkg.update, or look for another name with pkg.search",
      });
    },
    ready: async (options) => {
      const policy = `${root}/usr/sbin/policy-rc.d`;
      if (!existsSync(policy)) {
        throw new AiosError("FAILED_PRECONDITION", {
          act: "change",
          object: "packages",
          reason: `${policy} is missing, and packages would start daemons by themselves`,
          next: "restore it from the image",
        });
      }
      // A package whose own scripts fail stays as it is: it may be the one that is to be removed.
      const argv = ["dpkg", "--force-confdef", "--force-confold", "--configure", "--pending"] as const;
      await runProgram(argv, { ...options, env: { ...quiet, ...env } });
    },
  };
  return apt;
}

/** What went wrong stands among what went well, on both of its outputs. */
function aptFailed(act: string, words: readonly string[], { exitCode, exitSignal, stdout, stderr }: Ended): AiosError {
  const lines = `${stdout}\n${stderr}`.split("\n").map((line) => line.trim());
  const said = lines.filter((line) => /^(E|W|Err|dpkg[\w-]*): ?|\berror\b/i.test(line)).slice(-6);
  return new AiosError("FAILED_PRECONDITION", {
    act: `apt-get ${act}`,
    object: words.filter((word) => !word.startsWith("-")).join(" ") || "all",
    reason: ending(said.join("; "), 1200) || (exitCode === null ? `ended by ${exitSignal}` : `exit status ${exitCode}`),
  });
}

/** "Inst web [1.0] (2.0 Debian:13/stable [amd64])" and "Remv web [1.0]" of a simulation. */
export function parseSimulation(text: string): Change[] {
  return text.split("\n").flatMap((line) => {
    const [, act, name = "", from, to, origin] =
      /^(Inst|Remv|Purg) (\S+)(?: \[([^\]]+)\])?(?: \((\S+) ?(.*?)(?: \[[^\]]*\])?\))?/.exec(line) ?? [];
    if (act === undefined) return [];
    return [
      {
        name: name.replace(/:.*$/, ""),
        ...(from !== undefined && { from }),
        ...(act === "Inst" && to !== undefined && { to }),
        ...(act === "Inst" && origin && { origin }),
      },
    ];
  });
}

/** Records as dpkg and apt write them: "Field: value" lines, continued by lines that begin with a space, a blank line between. */
export function parseRecords(text: string): ReadonlyMap<string, string>[] {
  return text.split(/\n\n+/).flatMap((stanza) => {
    const fields = new Map<string, string>();
    let last = "";
    for (const line of stanza.split("\n")) {
      const [, name, value = ""] = /^([A-Za-z][A-Za-z0-9-]*): ?(.*)$/.exec(line) ?? [];
      if (name !== undefined) {
        last = name;
        fields.set(name, value);
      } else if (line.startsWith(" ")) fields.set(last, `${fields.get(last) ?? ""}\n${line.slice(1)}`);
    }
    return fields.size === 0 ? [] : [fields];
  });
}
