import { readFileSync } from "node:fs";

/** Clock ticks a second, as /proc counts them. */
const ticksPerSecond = 100;

/**
 * For how long the machine has run, seconds, from `proc` (/proc): since its first process began. The kernel may have run
 * for longer: in the native lane it is a host's.
 */
export function uptimeSeconds(proc: string): number {
  const [kernel = "0"] = readFileSync(`${proc}/uptime`, "utf8").split(" ");
  return Math.max(0, Math.floor(Number(kernel) - firstProcessBegan(proc)));
}

function firstProcessBegan(proc: string): number {
  let stat: string;
  try {
    stat = readFileSync(`${proc}/1/stat`, "utf8");
  } catch {
    return 0;
  }
  // The name, in parentheses, may hold anything; what follows begins with the third field, and the start is the 22nd.
  const fields = stat.slice(stat.lastIndexOf(")") + 2).split(" ");
  return (Number(fields[19]) || 0) / ticksPerSecond;
}
