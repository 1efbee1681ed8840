import { existsSync } from "node:fs";
import { messageOf } from "#lib/errors";
import type { Faults, Run } from "../base/index.ts";

/**
 * Puts the firewall's rules, as the tools have left them, into the kernel: before there is a network that they could come
 * too late for. A machine without rules has no such file.
 */
export async function loadFirewall({
  firewallFile,
  command,
  faults,
}: {
  readonly firewallFile: string;
  readonly command: Run;
  readonly faults: Faults;
}): Promise<void> {
  if (!existsSync(firewallFile)) return;
  try {
    await command("nft", ["--json", "--file", firewallFile], { timeoutMs: 10_000 });
    faults.clear("firewall");
  } catch (error) {
    const next = 'see "aiosctl tools call firewall.rules", and set a rule anew';
    faults.raise("firewall", `firewall: its rules are not in effect: ${messageOf(error)}; ${next}`);
  }
}
