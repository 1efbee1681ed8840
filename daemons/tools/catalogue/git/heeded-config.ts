/**
 * The keys of a repository's own configuration that have a say: how it is stored, where its remotes are, and habits. What could
 * name a program, another file or another URL is not among them, and counts as not written.
 */
const heeded = [
  /^core\.(repositoryformatversion|filemode|bare|logallrefupdates|ignorecase|symlinks|precomposeunicode|sharedrepository)$/,
  /^core\.(autocrlf|safecrlf|eol|quotepath|abbrev|sparsecheckout|sparsecheckoutcone|compression|longpaths)$/,
  /^extensions\.(objectformat|refstorage|noop|partialclone|compatobjectformat)$/,
  /^(user|author|committer)\.(name|email)$/,
  /^remote\..+\.(url|pushurl|fetch)$/s,
  /^branch\..+\.(remote|merge|rebase|description)$/s,
  /^(pull\.(rebase|ff)|push\.default|merge\.(ff|conflictstyle)|rebase\.autostash|init\.defaultbranch)$/,
  /^(diff\.(renames|renamelimit|algorithm|noprefix|mnemonicprefix)|status\.[a-z]+|index\.version)$/,
];

/** A configuration of what is heeded, from "git config --list -z". */
export function heededOf(listed: string): string {
  return listed
    .split("\0")
    .filter((entry) => entry !== "")
    .map((entry) => {
      const at = entry.indexOf("\n");
      return at === -1 ? ([entry, undefined] as const) : ([entry.slice(0, at), entry.slice(at + 1)] as const);
    })
    .filter(([key]) => heeded.some((one) => one.test(key)))
    .map(([key, value]) => {
      const [, section = "", sub, name = ""] = /^([^.]+)(?:\.(.*))?\.([^.]+)$/s.exec(key) ?? [];
      const head = sub === undefined ? `[${section}]` : `[${section} "${sub.replace(/["\\]/g, "\\$&")}"]`;
      return value === undefined ? `${head}\n\t${name}\n` : `${head}\n\t${name} = ${quoted(value)}\n`;
    })
    .join("");
}

const quoted = (value: string) =>
  `"${value.replace(/["\\]/g, "\\$&").replaceAll("\n", "\\n").replaceAll("\t", "\\t")}"`;
