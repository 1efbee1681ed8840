import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { expect, test } from "vitest";
import { uptimeSeconds } from "./proc.ts";

test("a machine's uptime counts from its first process, not from the kernel's start", () => {
  const proc = mkdtempSync("/tmp/aios-uptime-");
  try {
    writeFileSync(join(proc, "uptime"), "5000.25 9000.00\n");
    expect(uptimeSeconds(proc)).toBe(5000);
    mkdirSync(join(proc, "1"));
    const after = (startTicks: number) =>
      `1 (a ) b) S 0 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 11 0 ${startTicks} 1 2 3\n`;
    writeFileSync(join(proc, "1/stat"), after(498_000));
    expect(uptimeSeconds(proc)).toBe(20);
    writeFileSync(join(proc, "1/stat"), after(0));
    expect(uptimeSeconds(proc)).toBe(5000);
  } finally {
    rmSync(proc, { recursive: true });
  }
});
