import { readFileSync } from "node:fs";

/** Where packages put the descriptions of their services. Both are protected: what lies there came with a package, or by an admin. */
export const packagedFolders = ["/usr/lib/systemd/system", "/lib/systemd/system"] as const;

/** A service as its package describes it for systemd. */
export interface PackagedService {
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
  const words = wordsOf(command.replace(/^[-@:+!|]+/, ""));
  const [program, ...args] = words ?? [];
  if (program === undefined || !program.startsWith("/")) return "its program is not told by a path";
  if (words?.some((word) => /[$%]/.test(word))) return "its program is told with variables of systemd's";
  const kept = args.map((word) => foreground.reduce((now, [from, to]) => now.replace(from, to), word));
  if (settings.get("Type")?.at(-1) === "forking" && kept.join(" ") === args.join(" "))
    return "it goes to the background by itself";
  return { argv: [program, ...kept], user: settings.get("User")?.at(-1) ?? "root" };
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
    .replace(/\\\n/g, " ")
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
