import { afterEach, beforeEach, expect, it } from "vitest";
import { type Machine, startMachine } from "../../testing/harness.ts";

let machine: Machine;
beforeEach(async () => {
  machine = await startMachine({ init: {} });
});
afterEach(() => machine.close());

const call = (tool: string, input: object = {}) => machine.core.call(tool, input);
const watched = async () =>
  (await call("monitor.watchlist")).output.services.map(({ service, url }: { service: string; url: string }) => [
    service,
    url,
  ]);

it("services are looked after, once each, over a restart, and until they are taken off", async () => {
  const added = await call("monitor.watchlist_add", { service: "nginx", url: "http://127.0.0.1/" });
  expect(added).toMatchObject({ success: true, output: { service: "nginx", watched: 1 } });
  await call("monitor.watchlist_add", { service: "nginx", url: "http://127.0.0.1:8080/", reason: "it moved" });
  await call("monitor.watchlist_add", { service: "chrony" });
  await machine.restart();
  expect(await watched()).toEqual([
    ["chrony", ""],
    ["nginx", "http://127.0.0.1:8080/"],
  ]);
  expect((await call("monitor.watchlist_remove", { service: "nginx" })).output).toEqual({ removed: true });
  expect((await call("monitor.watchlist_remove", { service: "nginx" })).output).toEqual({ removed: false });
  expect(await watched()).toEqual([["chrony", ""]]);
});

it("what was added or taken off can be put back", async () => {
  const first = await call("monitor.watchlist_add", { service: "nginx", url: "http://127.0.0.1/" });
  const again = await call("monitor.watchlist_add", { service: "nginx" });
  const removal = await call("monitor.watchlist_remove", { service: "nginx" });
  const undo = ({ executionId }: { executionId: string }) =>
    machine.core.raw.rollback({ executionId, reason: "a test" });
  expect(await watched()).toEqual([]);
  await undo(removal);
  expect(await watched()).toEqual([["nginx", ""]]);
  await undo(again);
  expect(await watched()).toEqual([["nginx", "http://127.0.0.1/"]]);
  await undo(first);
  expect(await watched()).toEqual([]);
});

it("an agent needs to be allowed to watch that service", async () => {
  const agent = machine.agent("system");
  await expect(agent.call("monitor.watchlist_add", { service: "nginx" })).rejects.toThrow(/monitor:watch:nginx/);
});
