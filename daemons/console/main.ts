import { readFileSync } from "node:fs";
import { hostname } from "node:os";
import { effectiveConfig } from "#lib/config/effective";
import { runDaemon } from "#lib/daemon";
import { dataUnreadable, momentOf } from "#lib/data/machine-state";
import { ownFolder, peerFolder } from "#lib/rpc/sockets";
import { openConsole } from "./console.ts";
import { inviteFirstAdmin } from "./invitation.ts";
import { provisionedIdentity } from "./machine-identity.ts";
import { typedAtKeyboard } from "./service.ts";
import { rememberHead } from "./witness.ts";

runDaemon("console", process.env, async ({ paths, log, clock, address }) => {
  const { network } = effectiveConfig(paths.run);
  const over = new AbortController();
  const provisioned = provisionedIdentity(`${paths.run}/provision`);
  const console = await openConsole({
    where: { host: "0.0.0.0", port: network.management_port },
    ...(provisioned !== undefined
      ? { identity: provisioned }
      : await inviteFirstAdmin({
          state: `${paths.state}/console`,
          run: ownFolder(paths.run, "console"),
          machine: hostname(),
          clock,
          dataUnreadable: dataUnreadable(paths.run),
          now: () => momentOf(paths.run, clock),
          typed: (word, signal) => typedAtKeyboard(address("init"), word, signal),
          signal: over.signal,
          log,
        })),
    address,
    descriptors: () => JSON.parse(readFileSync(`${paths.lib}/descriptors.json`, "utf8")),
    clock,
    log,
  });
  const heads = {
    told: `${peerFolder(paths.run, "tools", "console")}/ledger-head.json`,
    kept: `${paths.state}/console/ledger-head.json`,
  };
  void rememberHead(heads, clock, log, over.signal);
  log.info("management port is open", { port: console.port, provisioned: provisioned !== undefined });
  return {
    services: () => [],
    close: () => {
      over.abort();
      return console.close();
    },
  };
});
