/** A demand of a fragment: the option's name and its value as `.config` writes it ("y", "m", "512", "\"text\"", "n" for off). */
interface Demand {
  readonly fragment: string;
  readonly option: string;
  readonly value: string;
}

/** Reads the demands of a fragment: `CONFIG_X=value`, and `# CONFIG_X is not set` for off. Other lines are comments. */
export function demandsOf(fragment: string, text: string): Demand[] {
  return text.split("\n").flatMap((line) => {
    const on = /^(CONFIG_[A-Za-z0-9_]+)=(.+)$/.exec(line.trim());
    const off = /^# (CONFIG_[A-Za-z0-9_]+) is not set$/.exec(line.trim());
    if (on !== null) return [{ fragment, option: on[1] ?? "", value: on[2] ?? "" }];
    return off === null ? [] : [{ fragment, option: off[1] ?? "", value: "n" }];
  });
}

/** The lines that are appended to the base configuration; a later fragment's demand replaces an earlier one's. */
export function mergedLines(demands: readonly Demand[]): string {
  const last = new Map(demands.map(({ option, value }) => [option, value]));
  return [...last]
    .map(([option, value]) => (value === "n" ? `# ${option} is not set\n` : `${option}=${value}\n`))
    .join("");
}

/**
 * Which demands the final `.config` does not meet, one line each. Of two fragments that demand different values of an
 * option, the earlier one is reported: fragments must agree.
 */
export function unmet(demands: readonly Demand[], config: string): string[] {
  const actual = new Map(demandsOf(".config", config).map(({ option, value }) => [option, value]));
  return demands.flatMap(({ fragment, option, value }) => {
    const got = actual.get(option) ?? "n";
    return got === value ? [] : [`${fragment} asks for ${option}=${value}, the kernel has ${got}`];
  });
}
