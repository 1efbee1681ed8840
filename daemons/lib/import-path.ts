import house from "../../package.json" with { type: "json" };

/** package.json's names for places of the house: "#lib/*" → "daemons/lib/*.ts". */
const aliases = Object.entries(house.imports).map(([name, path]) => {
  const [before = "", after] = name.split("*");
  return { before, whole: after === undefined, path: path.replace(/^\.\//, "") };
});

/** The path, from the repository's root, that an import of ours leads to; undefined for packages and node: modules. */
export function importPath(from: string, specifier: string): string | undefined {
  for (const { before, whole, path } of aliases) {
    if (whole && specifier === before) return path;
    if (!whole && specifier.startsWith(before)) return path.replace("*", specifier.slice(before.length));
  }
  if (!specifier.startsWith(".")) return undefined;
  const parts = from.split("/").slice(0, -1);
  for (const part of specifier.split("/")) {
    if (part === "..") parts.pop();
    else if (part !== ".") parts.push(part);
  }
  return parts.join("/");
}
