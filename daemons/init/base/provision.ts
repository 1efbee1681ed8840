import { chmodSync, chownSync, mkdirSync, readFileSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { parse } from "smol-toml";
import { hostname as hostnameRule } from "#lib/config/hostname";
import { AiosError, errnoOf, messageOf } from "#lib/errors";
import { users } from "#manifest";

/** The content of provision.toml, by which an operator hands a machine its name and network. */
export interface Provision {
  readonly hostname?: string;
  /** Absent: DHCP. */
  readonly network?: { readonly address: string; readonly gateway?: string };
}

/** The console's: the operator's CA, and the machine's certificate and key. */
const consoleFiles = ["ca.pem", "machine.pem", "machine.key"] as const;
const fileSizeMaxBytes = 64 * 1024;

const hostnamePattern = new RegExp(hostnameRule.pattern);
const octet = "(25[0-5]|2[0-4]\\d|1?\\d?\\d)";
const ipv4 = `${octet}(\\.${octet}){3}`;
export const ipv4Pattern = new RegExp(`^${ipv4}$`);
const ipv4PrefixPattern = new RegExp(`^${ipv4}/([12]?\\d|3[0-2])$`);

/**
 * Reads the provisioning files in `from`, and copies the console's to `to`, readable by it alone. A file that is not there
 * is left out. Throws INVALID_ARGUMENT naming file and key when provision.toml cannot be used.
 */
export function takeProvision(from: string, to: string): Provision {
  const provision = readProvision(join(from, "provision.toml"));
  mkdirSync(to, { recursive: true });
  chownSync(to, 0, users["aios-console"].gid);
  chmodSync(to, 0o750);
  for (const name of consoleFiles) {
    const content = readBounded(join(from, name));
    if (content === undefined) continue;
    const path = join(to, name);
    writeFileSync(path, content, { mode: 0o400 });
    chownSync(path, users["aios-console"].uid, users["aios-console"].gid);
  }
  return provision;
}

function readProvision(file: string): Provision {
  const content = readBounded(file);
  if (content === undefined) return {};
  const table = parseFile(content.toString("utf8"), file);
  const { hostname, network } = table;
  if (hostname !== undefined && !matches(hostname, hostnamePattern)) {
    throw refusal(file, "hostname", hostnameRule.description);
  }
  if (network === undefined) return { ...(hostname !== undefined && { hostname: hostname as string }) };
  const { address, gateway } = network as Record<string, unknown>;
  if (!matches(address, ipv4PrefixPattern)) throw refusal(file, "network.address", 'an address such as "10.1.2.3/24"');
  if (gateway !== undefined && !matches(gateway, ipv4Pattern)) {
    throw refusal(file, "network.gateway", 'an address such as "10.1.2.1"');
  }
  return {
    ...(hostname !== undefined && { hostname: hostname as string }),
    network: { address: address as string, ...(gateway !== undefined && { gateway: gateway as string }) },
  };
}

function matches(value: unknown, pattern: RegExp): boolean {
  return typeof value === "string" && pattern.test(value);
}

function parseFile(text: string, file: string): Record<string, unknown> {
  try {
    return parse(text);
  } catch (error) {
    const reason = messageOf(error).split("\n")[0] ?? "";
    throw new AiosError("INVALID_ARGUMENT", { act: "read", object: file, reason, next: "make the volume anew" });
  }
}

function refusal(file: string, key: string, expected: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "read",
    object: file,
    reason: `${key}: expected ${expected}`,
    next: "make the provisioning volume anew",
  });
}

function readBounded(path: string): Buffer | undefined {
  try {
    const content = readFileSync(path);
    if (content.length <= fileSizeMaxBytes) return content;
    throw refusal(path, "size", `at most ${fileSizeMaxBytes} bytes`);
  } catch (error) {
    if (errnoOf(error) === "ENOENT") return undefined;
    throw error;
  }
}
