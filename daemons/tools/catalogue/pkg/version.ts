/** Compares two versions as Debian does: negative when `a` is earlier. Epoch, then upstream, then revision. */
export function compareVersions(a: string, b: string): number {
  const [left, right] = [split(a), split(b)];
  return left.epoch - right.epoch || compare(left.upstream, right.upstream) || compare(left.revision, right.revision);
}

function split(version: string): { epoch: number; upstream: string; revision: string } {
  const colon = version.indexOf(":");
  const rest = version.slice(colon + 1);
  const dash = rest.lastIndexOf("-");
  return {
    epoch: colon < 0 ? 0 : Number(version.slice(0, colon)),
    upstream: dash < 0 ? rest : rest.slice(0, dash),
    revision: dash < 0 ? "" : rest.slice(dash + 1),
  };
}

/** Turn by turn: what is no number by its letters, then a number by its value. */
function compare(a: string, b: string): number {
  let [left, right] = [a, b];
  while (left !== "" || right !== "") {
    const words = [leading(left, /^\D*/), leading(right, /^\D*/)] as const;
    const difference = compareWords(...words);
    if (difference !== 0) return difference;
    [left, right] = [left.slice(words[0].length), right.slice(words[1].length)];
    const digits = [leading(left, /^\d*/), leading(right, /^\d*/)] as const;
    const [first, second] = [BigInt(digits[0] || 0), BigInt(digits[1] || 0)];
    if (first !== second) return first < second ? -1 : 1;
    [left, right] = [left.slice(digits[0].length), right.slice(digits[1].length)];
  }
  return 0;
}

const leading = (text: string, pattern: RegExp) => pattern.exec(text)?.[0] ?? "";

function compareWords(a: string, b: string): number {
  for (let at = 0; at < Math.max(a.length, b.length); at += 1) {
    const difference = order(a[at]) - order(b[at]);
    if (difference !== 0) return difference;
  }
  return 0;
}

/** A tilde comes before the end, the end before letters, letters before everything else. */
function order(character: string | undefined): number {
  if (character === undefined) return 0;
  if (character === "~") return -1;
  return /[A-Za-z]/.test(character) ? character.charCodeAt(0) : character.charCodeAt(0) + 256;
}
