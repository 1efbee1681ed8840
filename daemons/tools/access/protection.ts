/**
 * What the machine stands on is one table (`protected.ts`), which says of each place who may change it by naming its
 * path, what that breaks and what changes it instead; REFERENCE.md and `aiosctl tools protected` print it. The gate
 * compares every resource of every tool with it, after links, by every name that mounts give a place, and a file with
 * further names by its inode; tools say which of their resources they only read or take a copy of. Agents never get
 * through, core daemons neither; an admin waits for an approval whose preview begins with what the change breaks. File
 * tools change content: a place that `statfs(2)` says is the kernel's is refused, and links of processes (`/proc/self`,
 * `/dev/fd`) lead nowhere.
 */
import { globSync } from "node:fs";
import { globMatches } from "#lib/capability";
import type { Clock } from "#lib/clock";
import { AiosError } from "#lib/errors";
import type { Identity } from "#lib/rpc/service";
import {
  type Access,
  checkContent,
  checkProcess,
  holdsFile,
  isWithin,
  linkedFile,
  mounts,
  namesOf,
  resolvePath,
  standingAt,
} from "../files/index.ts";
import { type Folders, type Place, protectedPlaces } from "./protected.ts";

export interface Protection {
  readonly places: readonly Place[];
  /**
   * The places that this would change and that the caller may change when asked. Throws PERMISSION_DENIED where it may not.
   * `path` is resolved.
   */
  check(path: string, access: Access, caller: Identity): readonly Place[];
  /**
   * As `check`, for what stands there: a file of a protected place may have a hard link elsewhere. Throws FAILED_PRECONDITION
   * for a change to what is no content but the kernel's.
   */
  checkFile(path: string, access: Access, caller: Identity): Promise<readonly Place[]>;
}

/** A place by one of the names that lead to it. */
interface Named {
  readonly path: string;
  /** As the table has it. */
  readonly of: string;
  readonly place: Place;
}

/** How often it is looked what is mounted. */
const lookEveryMs = 1_000;

/** The protected places of a machine, by every name that leads to them. */
export async function openProtection(folders: Folders, clock: Clock): Promise<Protection> {
  const places = protectedPlaces(folders);
  const own = (await Promise.all(places.map(ownNames))).flat();
  let lookedAt = Number.NEGATIVE_INFINITY;
  let named: readonly Named[] = [];
  let byTop = new Map<string, readonly Named[]>();
  const all = () => {
    if (clock.monotonic() - lookedAt >= lookEveryMs) {
      const mounted = mounts();
      named = own.flatMap((one) => namesOf(one.path, mounted).map((path) => ({ ...one, path })));
      byTop = Map.groupBy(named, ({ path }) => topOf(path));
      lookedAt = clock.monotonic();
    }
    return named;
  };
  /** Those that can lie in `path`, or it in them: each call is checked, and most paths have nothing to do with any. */
  const near = (path: string) => {
    const every = all();
    return path === "/" ? every : [...(byTop.get(topOf(path)) ?? []), ...(byTop.get(anyTop) ?? [])];
  };
  const check: Protection["check"] = (path, access, caller) => {
    checkProcess(path, access);
    const hit = near(path).filter((one) => hits(one, path, access));
    return permitted(hit, path, access, caller);
  };
  return {
    places,
    check,
    checkFile: async (path, access, caller) => {
      const found = standingAt(path);
      checkContent(path, access, found);
      const file = linkedFile(path, found);
      if (file === undefined) return [];
      const hit: Named[] = [];
      for (const one of all()) {
        if (!concerns(one.place, access) || one.place.byName) continue;
        // Where nobody would be refused or asked, nothing is looked through.
        if (one.place.change === "granted" && may(one.place, access, caller)) continue;
        if (!(await holdsFile(one.path, file))) continue;
        hit.push(one);
        permitted(hit, path, access, caller);
      }
      return permitted(hit, path, access, caller);
    },
  };
}

/** Where a path begins: "/etc" of "/etc/passwd". A name that begins with stars, or is the root, is near every path. */
function topOf(path: string): string {
  const end = path.indexOf("/", 1);
  const top = end < 0 ? path : path.slice(0, end);
  return top === "/" || top.includes("*") ? anyTop : top;
}

const anyTop = "*";

/** A place's paths, and where those lead that are links: paths are compared when they are resolved. */
async function ownNames(place: Place): Promise<Named[]> {
  const named = place.paths.map(async (of) => {
    const led = of.includes("*") ? [] : [(await resolvePath(of)).path];
    return [...new Set([of, ...led])].map((path) => ({ path, of, place }));
  });
  return (await Promise.all(named)).flat();
}

/** Whether a place limits this access at all. */
const concerns = (place: Place, access: Access) => access === "change" || place.read !== undefined;

function hits({ path: name, place }: Named, path: string, access: Access): boolean {
  if (!concerns(place, access)) return false;
  if (place.itself && path !== name) return holdsIt(path, name, access);
  if (liesIn(path, name)) return !(place.open ?? []).some((open) => path !== open && isWithin(path, open));
  return holdsIt(path, name, access);
}

/** A folder takes with it what lies in it. */
const holdsIt = (path: string, name: string, access: Access) => access !== "read" && holds(path, name);

/** Whether `path` is at or below what a place's name, which may have stars, stands for. */
function liesIn(path: string, name: string): boolean {
  if (!name.includes("*")) return isWithin(path, name);
  const depth = name.split("/").length;
  return globMatches(name, path.split("/").slice(0, depth).join("/"));
}

/** Whether a place lies below `path`. One with stars only where something fits them. */
function holds(path: string, name: string): boolean {
  if (!name.includes("*") || path === "/") return isWithin(name, path);
  const [depth, parts] = [path.split("/").length, name.split("/")];
  if (depth >= parts.length || !globMatches(parts.slice(0, depth).join("/"), path)) return false;
  return globSync(name).some((one) => isWithin(one, path));
}

function permitted(hit: readonly Named[], path: string, access: Access, caller: Identity): readonly Place[] {
  const refused = hit.find(({ place }) => !may(place, access, caller));
  if (refused !== undefined) throw denied(refused, path, access);
  const asked = access === "change" ? hit.filter(({ place }) => place.change !== "granted") : [];
  return [...new Set(asked.map(({ place }) => place))];
}

function may({ change, read }: Place, access: Access, caller: Identity): boolean {
  if (access === "change")
    return change !== "nobody" && (isAdmin(caller) || (change === "granted" && !isPerson(caller)));
  return read === "admin" && isAdmin(caller);
}

const isPerson = ({ kind }: Identity) => kind === "operator";

const isAdmin = (caller: Identity) => caller.kind === "operator" && caller.role === "admin";

function denied({ of, place }: Named, path: string, access: Access): AiosError {
  const { holds, breaks, way, change, read } = place;
  const changes = access === "change";
  const admin = (changes ? change !== "nobody" : read === "admin")
    ? ["it needs the role admin: aiosctl tool call"]
    : [];
  const other = changes && way !== undefined ? [`use ${way}`] : [];
  return new AiosError("PERMISSION_DENIED", {
    act: access,
    object: path,
    reason: `${of} is protected: it holds ${holds}${changes ? `; a change breaks ${breaks}` : ""}`,
    next: [...other, ...admin].join(", or ") || "no grant opens it",
  });
}
