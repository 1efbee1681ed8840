import { type ChildProcess, execFile, spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdirSync, rmSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import { promisify } from "node:util";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { connect } from "#lib/rpc/client";
import { ToolRegistryService } from "#proto/aios/tools";
import { answerOf, requestOf, whenAsked } from "../../testing/harness.ts";
import { type NetworkMachine, openNetwork, startNetworkMachine } from "../../testing/network-machine.ts";

let machine: NetworkMachine;
/** Another machine at the other end of the cable. */
let outside: Awaited<ReturnType<typeof openNetwork>>;
let listener: ChildProcess | undefined;
/** The same on the other machine. */
let peer: ChildProcess | undefined;

const run = promisify(execFile);
const there = (...argv: string[]) => run("nsenter", [...outside.inside, ...argv]);

beforeAll(async () => {
  machine = await startNetworkMachine();
  outside = await openNetwork();
  await machine.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1", "netns", String(outside.pid));
  // A network that is not private: the machine knows it only by being attached to it.
  for (const address of ["203.0.113.1/24", "2001:db8:5::1/64"])
    await machine.run("ip", "address", "add", address, "dev", "eth0", ...(address.includes(":") ? ["nodad"] : []));
  for (const address of ["203.0.113.2/24", "2001:db8:5::2/64"])
    await there("ip", "address", "add", address, "dev", "eth1", ...(address.includes(":") ? ["nodad"] : []));
  await machine.run("ip", "link", "set", "eth0", "up");
  await there("ip", "link", "set", "eth1", "up");
  const program = `for (const port of [8080, 9090]) require("node:net").createServer((s) => s.end("hi")).listen(port, "::", () => console.log(port))`;
  listener = spawn("nsenter", [...machine.inside, process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(listener.stdout as NonNullable<typeof listener.stdout>, "data");
  peer = spawn("nsenter", [...outside.inside, process.execPath, "-e", program], {
    stdio: ["ignore", "pipe", "inherit"],
  });
  await once(peer.stdout as NonNullable<typeof peer.stdout>, "data");
});

afterEach(async () => {
  const { output } = await machine.call("firewall.rules");
  for (const { id } of output.rules) await machine.call("firewall.remove", { id });
});

afterAll(async () => {
  listener?.kill();
  peer?.kill();
  await outside?.close();
  await machine?.close();
});

/** Asks a port for its greeting, and fails without. */
const greeting = (address: string, port: number) =>
  [
    // With a socket as its input bash takes itself for a remote login, and runs a slow ~/.bashrc first.
    ...["timeout", "1", "bash", "--norc"],
    "-c",
    `exec 3<>/dev/tcp/${address}/${port} && read -r -t 1 -N 2 said <&3 && [ "$said" = hi ]`,
  ] as const;
const succeeds = (running: Promise<unknown>) =>
  running.then(
    () => true,
    () => false,
  );

/** Whether the other machine gets an answer from a port of this one. */
const reaches = (port: number, address = "203.0.113.1") => succeeds(there(...greeting(address, port)));
/** Whether this machine gets an answer from the other one. */
const isAnswered = (port: number) => succeeds(machine.run(...greeting("203.0.113.2", port)));

const tools = { allow: "firewall.allow", deny: "firewall.deny" } as const;

const ask = (action: keyof typeof tools, rule: object) => machine.call(tools[action], { reason: "a test", ...rule });

const add = async (action: "allow" | "deny", rule: object) => {
  const added = await ask(action, rule);
  expect(added.error).toBe("");
  return added;
};

describe("the firewall", () => {
  it("lets everything through without rules", async () => {
    expect([await reaches(8080), await reaches(9090)]).toEqual([true, true]);
    expect((await machine.call("firewall.rules")).output).toMatchObject({ rules: [], active: true, problem: "" });
  });

  it("drops what is denied, counts it, and lets it through again after the rollback", async () => {
    const denied = await add("deny", { protocol: "tcp", port: 8080, address: "203.0.113.77/24" });
    expect(denied).toMatchObject({ success: true, output: { id: denied.executionId, rules: 1 } });
    expect(await reaches(8080)).toBe(false);
    const { output } = await machine.call("firewall.rules");
    expect(output).toMatchObject({
      active: true,
      rules: [{ id: denied.executionId, action: "deny", direction: "in", port: 8080, address: "203.0.113.0/24" }],
    });
    expect(output.rules[0].packets).toBeGreaterThan(0);
    expect(await machine.rollback(denied.executionId)).toEqual({ success: true, error: "" });
    expect(await reaches(8080)).toBe(true);
  });

  it("lets the answers to the machine's own questions in, whatever is denied, and out what was let in", async () => {
    await add("deny", {});
    expect([await reaches(8080), await isAnswered(8080)]).toEqual([false, true]);
    await add("deny", { direction: "out" });
    await add("allow", { protocol: "tcp", port: 8080 });
    expect([await reaches(8080), await isAnswered(8080)]).toEqual([true, false]);
  });

  it("leaves its table for the next boot, as nft takes it, as long as there are rules", async () => {
    const file = join(machine.folder, "state/ledger/firewall.json");
    await add("deny", { protocol: "tcp", port: 8080 });
    await machine.run("nft", "flush", "ruleset");
    expect(await reaches(8080)).toBe(true);
    await machine.run("nft", "--json", "--file", file);
    expect(await reaches(8080)).toBe(false);
    const [{ id }] = (await machine.call("firewall.rules")).output.rules;
    await machine.call("firewall.remove", { id });
    expect(existsSync(file)).toBe(false);
  });

  it("cannot lock out the management port, whatever is denied in whatever direction", async () => {
    await add("deny", {});
    await add("deny", { direction: "out" });
    await add("deny", { protocol: "tcp", port: 9090 });
    await add("deny", { protocol: "tcp", port: 1, last_port: 65_535, address: "0.0.0.0/0", interface: "eth0" });
    await add("deny", { address: "::/0" });
    expect(await reaches(8080)).toBe(false);
    expect(await reaches(9090)).toBe(true);
    expect(await reaches(9090, "2001:db8:5::1")).toBe(true);
    expect((await machine.call("firewall.rules")).output.management).toMatchObject({
      port: 9090,
      networks: expect.arrayContaining(["10.0.0.0/8", "203.0.113.1/24"]),
    });
  });

  it("keeps the port of the configuration open to the networks of the configuration, and to no other", async () => {
    const configure = (network: object) =>
      writeFileSync(
        `${machine.folder}/run/config.json`,
        JSON.stringify({ network: { allow_outbound: true, ...network } }),
      );
    configure({ management_port: 8080, management_subnets: ["203.0.113.9/24"] });
    try {
      await add("deny", {});
      expect((await machine.call("firewall.rules")).output.management).toEqual({
        port: 8080,
        networks: ["203.0.113.0/24"],
      });
      expect([await reaches(8080), await reaches(9090)]).toEqual([true, false]);
      expect(await reaches(8080, "2001:db8:5::1")).toBe(false);
    } finally {
      configure({});
    }
  });

  it("shows a person the rule as nft has it", async () => {
    const agent = connect(ToolRegistryService, `unix:${machine.folder}/run/agents/task/tools.sock`);
    const call = async (tool: string, input?: object) => answerOf(await agent.execute(requestOf(tool, input ?? {})));
    try {
      await machine.call("sec.grant", { agent_id: "task", capabilities: ["firewall:deny"], reason: "r" });
      const rule = {
        protocol: "tcp",
        port: 80,
        last_port: 90,
        address: "192.0.2.0/24",
        interface: "eth0",
        reason: "r",
      };
      const { ticket } = await whenAsked(machine, () => call("firewall.deny", rule));
      const said = "+ inet aios input iifname eth0 ip saddr 192.0.2.0/24 tcp dport 80-90 counter drop  # r";
      expect(ticket.preview).toBe(said);
    } finally {
      agent.close();
    }
  });

  it.each([
    ["::ffff:203.0.113.2", "203.0.113.2/32"],
    ["::ffff:203.0.113.2/120", "203.0.113.0/24"],
    ["::FFFF:cb00:7102", "203.0.113.2/32"],
  ])("knows an address of IPv4 in its other spelling: %s", async (address, is) => {
    await add("deny", { address });
    expect((await machine.call("firewall.rules")).output.rules).toMatchObject([{ address: is }]);
    expect(await reaches(8080)).toBe(false);
  });

  it("does not leave a rule in the kernel that cannot be kept", async () => {
    const file = join(machine.folder, "state/ledger/firewall.json");
    mkdirSync(`${file}/in-the-way`, { recursive: true });
    try {
      expect(await ask("deny", { protocol: "tcp", port: 8080 })).toMatchObject({ success: false });
      expect(await reaches(8080)).toBe(true);
      expect((await machine.call("firewall.rules")).output.rules).toEqual([]);
    } finally {
      rmSync(file, { recursive: true });
    }
    await add("deny", { protocol: "tcp", port: 8080 });
    expect(await reaches(8080)).toBe(false);
  });

  it("puts what is allowed before what is denied", async () => {
    await add("deny", {});
    expect(await reaches(8080)).toBe(false);
    await add("allow", { protocol: "tcp", port: 8080 });
    expect(await reaches(8080)).toBe(true);
  });

  it("puts a removed rule back where it was, also after a restart", async () => {
    const first = await add("deny", { protocol: "udp", port: 53 });
    await add("deny", { protocol: "icmp" });
    const removed = await machine.call("firewall.remove", { id: first.executionId });
    expect(removed.output).toMatchObject({ removed: { protocol: "udp", port: 53 }, rules: 1 });
    await machine.restart();
    expect(await machine.rollback(removed.executionId)).toEqual({ success: true, error: "" });
    expect((await machine.call("firewall.rules")).output.rules).toMatchObject([
      { protocol: "udp" },
      { protocol: "icmp" },
    ]);
  });

  it("is there again after a boot, when the kernel has forgotten it", async () => {
    await add("deny", { protocol: "tcp", port: 8080 });
    await machine.run("nft", "flush", "ruleset");
    expect(await reaches(8080)).toBe(true);
    expect((await machine.call("firewall.rules")).output).toMatchObject({ active: false });
    await machine.restart();
    expect((await machine.call("firewall.rules")).output).toMatchObject({ active: true });
    expect(await reaches(8080)).toBe(false);
  });

  it.each([
    ["deny", { port: 80 }, "say tcp or udp"],
    ["deny", { protocol: "tcp", port: 80, last_port: 79 }, "a last_port that is not smaller"],
    ["allow", {}, "it would allow everything"],
    ["deny", { address: "192.0.2.0/33" }, "it is not an address with a prefix length"],
  ] as const)("refuses to %s %j", async (action, rule, next) => {
    expect(await ask(action, rule)).toMatchObject({ success: false, error: expect.stringContaining(next) });
    expect((await machine.call("firewall.rules")).output.rules).toEqual([]);
  });

  it("takes no words of nft's own language", async () => {
    const rule = { interface: "eth0; flush" };
    await expect(ask("deny", rule)).rejects.toMatchObject({ code: "INVALID_ARGUMENT" });
    const odd = await add("deny", { protocol: "icmp", reason: '"; flush ruleset #' });
    expect((await machine.call("firewall.rules")).output.rules).toMatchObject([{ id: odd.executionId }]);
  });
});
