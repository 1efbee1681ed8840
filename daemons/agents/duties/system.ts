import { type Duty, grade, listIn, numberIn } from "./duty.ts";

/** Per cent: where it is worth a word, and where something has to be done. */
const limits = {
  cpu: { warning: 85, critical: 95 },
  memory: { warning: 80, critical: 95 },
  disk: { warning: 85, critical: 95 },
} as const;

/**
 * Looks after the machine as a whole. It restores a managed service by a goal (a trigger makes one of what is noticed), so
 * that what changes the machine is planned, granted, approved where the level wants it, and can be read afterwards.
 */
export const system: Duty = {
  name: "system",
  tools: ["monitor.cpu", "monitor.memory", "monitor.disk", "self.health"],
  limits: { callsPerWakeMax: 8 },
  wakes: [
    {
      name: "health",
      everyMs: 30_000,
      // The check right after the boot.
      first: "at once",
      events: ["service.down"],
      async run({ call, state }) {
        const health = await call("self.health", {}, "the health check of the system agent");
        const cpu = numberIn(await call("monitor.cpu", {}, "the health check of the system agent"), "percent");
        const memory = numberIn(await call("monitor.memory", {}, "the health check of the system agent"), "percent");
        const disk = numberIn(health, "disk_usage_percent");
        const say = (what: "cpu" | "memory" | "disk", value: number) =>
          state({
            category: `system.${what}`,
            severity: grade(value, limits[what]),
            subject: what,
            detail: `${value} % used`,
          });
        say("cpu", cpu);
        say("memory", memory);
        say("disk", disk);
        const issues = Array.isArray(health["issues"]) ? health["issues"].map(String) : [];
        const severity = issues.length > 0 ? "warning" : "info";
        state({ category: "system.health", severity, subject: "machine", detail: issues.join("; ") || "well" });
        for (const { name, ready } of listIn(health, "services")) {
          if (ready === true)
            state({ category: "system.service", severity: "info", subject: String(name), detail: "ready" });
        }
      },
    },
  ],
};
