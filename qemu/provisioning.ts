import type { MachineIdentity } from "#lib/identity/operator";
import type { NetworkSettings } from "./running.ts";

/** What a provisioning volume holds: file name → text. Without `network` the machine asks DHCP. */
export function provisioningFiles(
  hostname: string,
  network: NetworkSettings | undefined,
  identity: MachineIdentity,
): Record<string, string> {
  const lines = [
    `hostname = ${JSON.stringify(hostname)}`,
    ...(network === undefined
      ? []
      : [
          "",
          "[network]",
          `address = ${JSON.stringify(network.address)}`,
          `gateway = ${JSON.stringify(network.gateway)}`,
        ]),
  ];
  return {
    "provision.toml": `${lines.join("\n")}\n`,
    "ca.pem": identity.ca,
    "machine.pem": identity.certificate,
    "machine.key": identity.key,
  };
}
