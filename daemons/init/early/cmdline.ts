/** The kernel command line as init understands it. */
export interface Cmdline {
  /** "native": in name spaces of a host, where block devices, the clock and the kernel's log are another's. */
  readonly lane: "machine" | "native";
  /** `aios.overlay=off`: the root as it is in the image, without what was changed on this machine. */
  readonly overlay: boolean;
  /** `aios.repair=ask`: a data volume that its check gives up on is mended, if that is the choice at the screen. */
  readonly askRepair?: true;
  /** `aios.data=dir:/mnt/data`: the data are in this folder; undefined = on the data partition. */
  readonly dataFolder?: string;
  /** `aios.provision=dir:/mnt/provision`; undefined = on the provisioning volume, when there is one. */
  readonly provisionFolder?: string;
  /** CLOCK_MONOTONIC at kernel start, milliseconds; 0 where the kernel is the machine's own. */
  readonly kernelStartMs: number;
  /** Configuration keys, as in `aios.system.log_level=debug`: "system.log_level" → "debug". */
  readonly settings: ReadonlyMap<string, string>;
  /** Parameters that begin with `aios.` and mean nothing, each with what was expected. */
  readonly problems: readonly string[];
}

const options = ["overlay", "repair", "lane", "data", "provision", "kernel_start_monotonic_ms"] as const;
type Option = (typeof options)[number];

/** Reads a kernel command line. Never throws: what cannot be understood is in `problems`. */
export function parseCmdline(text: string): Cmdline {
  const given = new Map<Option, string>();
  const settings = new Map<string, string>();
  const problems: string[] = [];
  for (const [key, value] of parameters(text)) {
    if (!key.startsWith("aios.")) continue;
    const name = key.slice("aios.".length);
    if ((options as readonly string[]).includes(name)) given.set(name as Option, value);
    else if (/^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)+$/.test(name)) settings.set(name, value);
    else problems.push(`${key}: no such option; use one of ${options.join(", ")} or a configuration key`);
  }
  const oneOf = (option: Option, values: readonly string[]) => {
    const value = given.get(option) ?? values[0] ?? "";
    if (values.includes(value)) return value;
    problems.push(`aios.${option}=${value}: expected ${values.join(" or ")}`);
    return values[0] ?? "";
  };
  const folder = (option: Option) => {
    const value = given.get(option);
    if (value === undefined) return undefined;
    if (value.startsWith("dir:/")) return value.slice("dir:".length);
    problems.push(`aios.${option}=${value}: expected dir: and an absolute path`);
    return undefined;
  };
  const dataFolder = folder("data");
  const provisionFolder = folder("provision");
  return {
    lane: oneOf("lane", ["machine", "native"]) as Cmdline["lane"],
    overlay: oneOf("overlay", ["on", "off"]) === "on",
    ...(oneOf("repair", ["no", "ask"]) === "ask" && { askRepair: true as const }),
    ...(dataFolder !== undefined && { dataFolder }),
    ...(provisionFolder !== undefined && { provisionFolder }),
    kernelStartMs: Number(given.get("kernel_start_monotonic_ms") ?? 0) || 0,
    settings,
    problems,
  };
}

/** `key=value` and `key="value with spaces"`; a bare `key` has the value "". What follows ` -- ` is init's own argv. */
function* parameters(text: string): Iterable<[string, string]> {
  const kernels = text.split(/\s--(?:\s|$)/)[0] ?? "";
  for (const [, key = "", quoted, plain] of kernels.matchAll(/([^\s="]+)(?:=(?:"([^"]*)"|([^\s]*)))?/g)) {
    yield [key, quoted ?? plain ?? ""];
  }
}
