/** An account of the machine. */
interface Account {
  readonly name: string;
  readonly uid: number;
  readonly gid: number;
}

/** The files of accounts, as Debian made them. */
interface AccountFiles {
  readonly passwd: string;
  readonly group: string;
}

/** Accounts have no password (`*`) and no login: daemons are started by init, agents by the orchestrator. */
const shell = "/usr/sbin/nologin";

/**
 * Adds accounts, each with a group of its own. Accounts that exist already (root) are left alone. Throws when a number is taken by another name.
 */
export function addAccounts(files: AccountFiles, accounts: readonly Account[]): AccountFiles {
  const known = new Map(rows(files.passwd).map(([name = "", , uid = ""]) => [name, Number(uid)]));
  const added = accounts.filter(({ name }) => !known.has(name));
  const wanted = new Map(added.map(({ name, gid }) => [gid, name]));
  requireFree(
    "uid",
    added.map(({ name, uid }) => [uid, name]),
    [...known].map(([name, uid]) => [uid, name]),
  );
  requireFree(
    "gid",
    [...wanted],
    rows(files.group).map(([name = "", , gid = ""]) => [Number(gid), name]),
  );
  return {
    passwd:
      files.passwd + added.map(({ name, uid, gid }) => `${name}:*:${uid}:${gid}:aiOS:/nonexistent:${shell}\n`).join(""),
    group: files.group + [...wanted].map(([gid, name]) => `${name}:x:${gid}:\n`).join(""),
  };
}

function rows(text: string): string[][] {
  return text.split("\n").flatMap((line) => (line === "" ? [] : [line.split(":")]));
}

type Numbered = readonly [id: number, name: string];

function requireFree(kind: string, added: readonly Numbered[], taken: readonly Numbered[]): void {
  for (const [id, name] of added) {
    const owner = taken.find(([other]) => other === id);
    if (owner !== undefined)
      throw new Error(`${kind} ${id} of ${name} is ${owner[1]}'s already; choose another in daemons/manifest.ts`);
  }
}
