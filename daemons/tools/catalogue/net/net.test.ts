import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type NetworkMachine, startNetworkMachine } from "../../testing/network-machine.ts";

let machine: NetworkMachine;

beforeAll(async () => {
  machine = await startNetworkMachine();
  // Two ends of one cable: what is set at one can be reached from the other's network.
  await machine.run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "eth1");
  await machine.run("ip", "address", "add", "10.1.0.1/24", "dev", "eth0");
  await machine.run("ip", "link", "set", "eth1", "up");
  await machine.run("ip", "link", "set", "eth0", "up");
  await machine.run("ip", "route", "add", "default", "via", "10.1.0.254");
});

afterAll(() => machine?.close());

const interfaceOf = async (name: string) => {
  const { output } = await machine.call("net.interfaces");
  return output.interfaces.find((one: { name: string }) => one.name === name);
};

const routes = async () => (await machine.call("net.route_list")).output.routes;
const defaultRoute = { destination: "0.0.0.0/0", gateway: "10.1.0.254", interface: "eth0" };

describe("interfaces", () => {
  it("are listed with addresses and state", async () => {
    expect(await interfaceOf("lo")).toMatchObject({ status: "up", addresses: ["127.0.0.1/8", "::1/128"] });
    expect(await interfaceOf("eth0")).toMatchObject({
      status: "up",
      state: "up",
      mtu: 1500,
      mac: expect.stringMatching(/^([0-9a-f]{2}:){5}[0-9a-f]{2}$/),
      addresses: expect.arrayContaining(["10.1.0.1/24", expect.stringMatching(/^fe80::.*\/64$/)]),
    });
  });

  it("are configured as told, and back again after a restart, routes included", async () => {
    const before = { addresses: ["10.1.0.1/24"], mtu: 1500, up: true };
    const wanted = { addresses: ["10.2.0.1/24", "10.2.0.2/24", "2001:db8::5/64"], mtu: 1400 };
    const done = await machine.call("net.configure", { interface: "eth0", ...wanted });
    expect(done).toMatchObject({ success: true, output: { ...wanted, up: true } });
    expect(await machine.run("ip", "-4", "-brief", "address", "show", "eth0")).toContain("10.2.0.1/24 10.2.0.2/24");
    expect(await routes()).not.toContainEqual(expect.objectContaining(defaultRoute));
    await machine.restart();
    expect(await machine.rollback(done.executionId)).toEqual({ success: true, error: "" });
    expect(await interfaceOf("eth0")).toMatchObject({
      status: "up",
      mtu: before.mtu,
      addresses: expect.arrayContaining(before.addresses),
    });
    expect((await interfaceOf("eth0")).addresses).not.toContain("2001:db8::5/64");
    expect(await routes()).toContainEqual(expect.objectContaining(defaultRoute));
  });

  it("are taken down and up again", async () => {
    const done = await machine.call("net.configure", { interface: "eth0", up: false });
    expect(done.output).toMatchObject({ up: false, addresses: ["10.1.0.1/24"] });
    expect(await machine.rollback(done.executionId)).toEqual({ success: true, error: "" });
    expect(await interfaceOf("eth0")).toMatchObject({ status: "up" });
    expect(await routes()).toContainEqual(expect.objectContaining(defaultRoute));
  });

  it("stay as they were when the kernel refuses a part", async () => {
    const allow = (disabled: number) =>
      machine.run("sh", "-c", `echo ${disabled} > /proc/sys/net/ipv6/conf/eth0/disable_ipv6`);
    await allow(1);
    const addresses = ["10.3.0.1/24", "2001:db8::9/64"];
    expect(await machine.call("net.configure", { interface: "eth0", addresses, mtu: 1400 })).toMatchObject({
      success: false,
      error: expect.stringContaining("ip address add 2001:db8::9/64 dev eth0"),
    });
    await allow(0);
    expect(await interfaceOf("eth0")).toMatchObject({
      mtu: 1500,
      addresses: expect.arrayContaining(["10.1.0.1/24"]),
    });
    expect(await routes()).toContainEqual(expect.objectContaining(defaultRoute));
  });

  it.each([
    [{ interface: "none0", up: true }, "find interface none0: there is none of that name"],
    [{ interface: "eth0", addresses: ["10.0.0.0.1/8"] }, "it is not an address with a prefix length"],
    [{ interface: "eth0", addresses: ["10.0.0.1/33"] }, "it is not an address with a prefix length"],
  ])("%j is refused", async (input, error) => {
    expect(await machine.call("net.configure", input)).toMatchObject({
      success: false,
      error: expect.stringContaining(error),
    });
    expect(await interfaceOf("eth0")).toMatchObject({ addresses: expect.arrayContaining(["10.1.0.1/24"]) });
  });

  it("are not named by what ip would take for an option", async () => {
    await expect(machine.call("net.configure", { interface: "-batch", up: true })).rejects.toMatchObject({
      code: "INVALID_ARGUMENT",
    });
  });
});

describe("routes", () => {
  it("are added and removed, and each is taken back", async () => {
    const wanted = { destination: "10.9.0.0/16", gateway: "10.1.0.7", metric: 50 };
    const added = await machine.call("net.route_add", wanted);
    expect(added).toMatchObject({ success: true, output: { route: { ...wanted, interface: "eth0" } } });
    const removed = await machine.call("net.route_del", { destination: "10.9.0.0/16" });
    expect(removed).toMatchObject({ success: true, output: { route: wanted } });
    expect(await routes()).not.toContainEqual(expect.objectContaining(wanted));
    expect(await machine.rollback(removed.executionId)).toEqual({ success: true, error: "" });
    expect(await routes()).toContainEqual(expect.objectContaining(wanted));
    expect(await machine.rollback(added.executionId)).toEqual({ success: true, error: "" });
    expect(await routes()).not.toContainEqual(expect.objectContaining(wanted));
  });

  it("of IPv6 too", async () => {
    const added = await machine.call("net.route_add", { destination: "2001:DB8:1::/48", interface: "eth0" });
    expect(added.output.route).toMatchObject({ destination: "2001:db8:1::/48", interface: "eth0" });
    expect(await machine.rollback(added.executionId)).toEqual({ success: true, error: "" });
  });

  it("that stood before are not removed by the rollback of an addition that failed", async () => {
    const again = await machine.call("net.route_add", { destination: "default", gateway: "10.1.0.254" });
    expect(again).toMatchObject({ success: false, error: expect.stringContaining("File exists") });
    expect(await machine.rollback(again.executionId)).toEqual({ success: true, error: "" });
    expect(await routes()).toContainEqual(expect.objectContaining(defaultRoute));
  });

  it.each([
    ["net.route_add", { destination: "10.9.0.0/16" }, "it says no way"],
    ["net.route_add", { destination: "10.9.0.0/16", gateway: "203.0.113.1" }, "Nexthop has invalid gateway"],
    ["net.route_del", { destination: "10.99.0.0/16" }, "there is none"],
  ])("%s %j says why not", async (tool, input, error) => {
    expect(await machine.call(tool, input)).toMatchObject({ success: false, error: expect.stringContaining(error) });
  });
});
