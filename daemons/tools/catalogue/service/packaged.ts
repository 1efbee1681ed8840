import { readFileSync } from "node:fs";

/** Where packages put the descriptions of their services. Both are protected: what lies there came with a package, or by an admin. */
export const packagedFolders = ["/usr/lib/systemd/system", "/lib/systemd/system"] as const;

/** A service as its package describes it for systemd. */
interface PackagedService {
  /** The program with its arguments, kept in the foreground. */
  readonly argv: readonly [string, ...string[]];
  readonly user: string;
}

/** How programs that would go to the background by themselves are told to stay, as their manuals have it. */
const foreground: readonly (readonly [RegExp, string])[] = [
  // nginx(8), "daemon on | off".
  [/\bdaemon on;/, "daemon off;"],
];

/**
 * What a package says of its service: undefined when none describes one of this name, a reason when it cannot be kept as it is
 * described (systemd.service(5)): PID 1 here keeps one program, in the foreground, without systemd's variables.
 */
export function packagedService(name: string, folders: readonly string[]): PackagedService | string | undefined {
  const text = folders.map((folder) => textOf(`${folder}/${name}.service`)).find((found) => found !== undefined);
  if (text === undefined) return undefined;
  const settings = settingsOf(text);
  const [command = "", more] = settings.get("ExecStart") ?? [];
  if (more !== undefined) return "it is made of several programs";
  const lacking = lackingIn(settings);
  if (lacking !== undefined) return lacking;
  const [prefix = ""] = /^[-@:+!|]*/.exec(command) ?? [];
  const words = wordsOf(command.slice(prefix.length));
  const [program, ...rest] = words ?? [];
  const user = settings.get("User")?.at(-1) ?? "root";
  if (program === undefined || !program.startsWith("/")) return "its program is not told by a path";
  if (rest.includes(";")) return "it is made of several programs";
  if ([...(words ?? []), user].some((word) => /[$%]/.test(word)))
    return "its program is told with variables of systemd's";
  // The word after an "@" is only what the program is shown as.
  const args = prefix.includes("@") ? rest.slice(1) : rest;
  const kept = args.map((word) => foreground.reduce((now, [from, to]) => now.replace(from, to), word));
  if (settings.get("Type")?.at(-1) === "forking" && kept.join(" ") === args.join(" "))
    return "it goes to the background by itself";
  return { argv: [program, ...kept], user };
}

/** Finds a setting that PID 1 here does not give a service, and without which it is another one. */
function lackingIn(settings: ReadonlyMap<string, readonly string[]>): string | undefined {
  const last = (key: string) => settings.get(key)?.at(-1) ?? "";
  if (last("Type") === "oneshot") return "it does its work once and ends";
  if (/^(?:1|yes|true|on)$/i.test(last("DynamicUser"))) return "its account is one that systemd makes while it runs";
  if (last("StandardInput") === "socket") return "it is handed its connections by systemd";
  const given = ["Environment", "WorkingDirectory", "RootDirectory", "RootImage", "RuntimeDirectory"].find(
    (key) => last(key) !== "",
  );
  return given === undefined ? undefined : `systemd gives it what nothing here does (${given})`;
}

/** Whether this is what a package runs, to the word; what it tells of the foreground beside is not looked at. */
export function isPackaged(argv: readonly string[], user: string, packaged: PackagedService): boolean {
  const same = (one: readonly string[]) => one.map((word) => word.replace(/\s*\bmaster_process on;/, "")).join("\0");
  return user === packaged.user && same(argv) === same(packaged.argv);
}

/** Settings of the section [Service], each with its values; an empty value forgets those before it. */
function settingsOf(text: string): Map<string, string[]> {
  const settings = new Map<string, string[]>();
  let section = "";
  for (const line of text
    .replace(/\\\r?\n(?:[ \t]*[#;].*\n)*/g, " ")
    .split("\n")
    .map((one) => one.trim())) {
    const [, name] = /^\[(.+)\]$/.exec(line) ?? [];
    if (name !== undefined) section = name;
    const [, key = "", value = ""] = section === "Service" ? (/^([A-Za-z]+)\s*=\s*(.*)$/.exec(line) ?? []) : [];
    if (key !== "") settings.set(key, value === "" ? [] : [...(settings.get(key) ?? []), value]);
  }
  return settings;
}

/** The words of a command as systemd splits it: quotes hold words together. Undefined where a quote does not end. */
function wordsOf(command: string): string[] | undefined {
  const parts = command.match(/(?:"[^"]*"|'[^']*'|[^\s"'])+/g) ?? [];
  if (parts.join("").length !== command.replace(/\s(?=(?:[^"']|"[^"]*"|'[^']*')*$)/g, "").length) return undefined;
  return parts.map((part) => part.replace(/"([^"]*)"|'([^']*)'/g, (_, double, single) => double ?? single));
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return undefined;
  }
}
