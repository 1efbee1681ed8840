import { type Duty, grade, listIn, type Output } from "./duty.ts";

/**
 * File systems that can fill up, each once: the data volume is mounted at many places. Two are taken for the same that are alike in
 * size; the place that is mounted first stands for it, and the fullest says how full it is.
 */
function distinct(all: readonly Output[]): readonly Output[] {
  const each = new Map<string, Output>();
  for (const one of all) {
    // The image's root is full by nature.
    if (one["read_only"] === true || typeof one["usage_percent"] !== "number") continue;
    const key = `${one["total_bytes"]} ${one["files_total"]}`;
    const known = each.get(key);
    const usage_percent = Math.max(Number(known?.["usage_percent"] ?? 0), one["usage_percent"]);
    each.set(key, { ...(known ?? one), usage_percent });
  }
  return [...each.values()];
}

/** Per cent of a file system. */
const diskLimits = { warning: 85, critical: 95 } as const;

export const storage: Duty = {
  name: "storage",
  tools: ["storage.usage"],
  limits: { callsPerWakeMax: 2 },
  wakes: [
    {
      name: "disks",
      everyMs: 5 * 60_000,
      first: "spread",
      async run({ call, state }) {
        const answer = await call("storage.usage", {}, "the disk check of the storage agent");
        for (const { path, usage_percent: used } of distinct(listIn(answer, "file_systems"))) {
          const detail = `${used} % used`;
          state({ category: "storage.full", severity: grade(Number(used), diskLimits), subject: String(path), detail });
        }
      },
    },
  ],
};
