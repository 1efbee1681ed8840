import { admin, closed, type Inputs, malformed, nobody, noInterface, nothing, type Tricks, unknown } from "./words.ts";

/** An agent's critical call that waits, with its digest. */
export interface Ticket {
  readonly id: string;
  readonly digest: string;
}

/** The machine's settings and watches. */
export const settingInputs = ({ plain, state }: Tricks): Inputs => ({
  "config.get": [nothing({}), malformed({ file: "security/policy.toml" }), malformed({ file: "../shadow" })],
  "config.set": [
    admin({ key: "system.autonomy_level", value: "full" }),
    admin({ key: "security.ledger_keep", value: "1d" }),
    admin({ key: "network.allow_outbound", value: true }),
  ],
  "config.validate": [nothing({}), malformed({ file: "security/policy.toml" })],
  "config.history": plain,
  "alert.raise": [nothing({ severity: "critical", title: "walk" })],
  "alert.list": plain,
  "alert.acknowledge": [nothing({ id: unknown })],
  "self.inspect": plain,
  "self.health": plain,
  "self.version": plain,
  "monitor.cpu": plain,
  "monitor.memory": plain,
  "monitor.disk": [nothing({ path: "/" })],
  "monitor.network": plain,
  "monitor.gpu": plain,
  "monitor.health": plain,
  "monitor.logs": [nothing({}), malformed({ service: "../../etc/shadow" })],
  "monitor.watch": [nobody({ path: `${state}/console`, seconds: 0.1 })],
  "monitor.watchlist": plain,
  "monitor.watchlist_add": [nothing({ service: "walk", url: closed }), malformed({ service: "../x" })],
  "monitor.watchlist_remove": [nothing({ service: "walk" })],
  "hw.info": plain,
  "hw.cpu": plain,
  "hw.memory": plain,
  "hw.gpu": plain,
  "hw.storage": plain,
  "hw.network": plain,
  "hw.sensors": plain,
});

/** Networks. */
export const netInputs = ({ changed, rule, plain, work }: Tricks): Inputs => ({
  "net.interfaces": plain,
  "net.configure": [
    nothing({ interface: noInterface, addresses: ["192.0.2.1/24"] }),
    malformed({ interface: "eth0 ; id", up: true }),
  ],
  "net.route_list": plain,
  "net.route_add": [
    nothing({ destination: "default", interface: noInterface }),
    malformed({ destination: "default", interface: "eth0 ; id" }),
  ],
  "net.route_del": [nothing({ destination: "192.0.2.0/24", interface: noInterface })],
  "net.connections": plain,
  "net.check_port": [nothing({ host: "127.0.0.1", port: 9 })],
  "net.http_request": [nothing({ url: closed }), malformed({ url: "file:///etc/shadow" })],
  "net.dns_lookup": [nothing({ hostname: "localhost", server: "127.0.0.1:9" })],
  "net.ping": [nothing({ host: "127.0.0.1", count: 1 }), malformed({ host: "-f", count: 1 })],
  "net.port_scan": [nothing({ host: "127.0.0.1", first_port: 9, last_port: 9 })],
  "net.bandwidth": [nothing({ seconds: 0.1 })],
  "web.http_request": [
    nothing({ url: closed, method: "POST", body: "walk" }),
    malformed({ url: "file:///etc/shadow" }),
  ],
  "web.download": [
    ...changed((path) => ({ url: closed, path })),
    malformed({ url: "file:///etc/shadow", path: `${work}/shadow` }),
  ],
  "web.scrape": [nothing({ url: closed }), malformed({ url: "file:///etc/shadow" })],
  "firewall.rules": plain,
  "firewall.allow": [malformed(rule)],
  "firewall.deny": [malformed(rule)],
  "firewall.remove": [nothing({ id: unknown })],
});

/** Grants, approvals and the ledger. */
export const secInputs = ({ changed, plain, state }: Tricks, ticket: Ticket): Inputs => ({
  "sec.scan": [nothing({ checks: ["preload"] })],
  "sec.file_integrity": [nothing({ mode: "baseline", path: `${state}/console` })],
  "sec.cert_generate": changed((path) => ({ path, name: "walk.example" })),
  "sec.cert_rotate": changed((path) => ({ path })),
  "sec.grant": [
    admin({ agent_id: "task", capabilities: ["fs:write:/**"], reason: "walk" }),
    admin({ agent_id: "task", capabilities: ["service:define:*"], reason: "walk", task_id: "walk" }),
  ],
  "sec.revoke": [nothing({ agent_id: "nobody-of-this-name", revoke_all: true })],
  "sec.capabilities": [nothing({ agent_id: "task" })],
  "sec.audit": plain,
  "sec.verify_ledger": plain,
  "sec.acknowledge_ledger": [admin({ reason: "walk" })],
  "sec.export_ledger": [nothing({ after: 0 })],
  "sec.protected": plain,
  "sec.approvals": plain,
  "sec.approve": [nothing(ticket), nothing({ ...ticket, id: unknown })],
  "sec.deny": [nothing({ id: unknown })],
});
