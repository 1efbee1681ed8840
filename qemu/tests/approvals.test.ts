import { describe, expect, it } from "vitest";
import type { Machine } from "../machine.ts";
import { aiosctlFor, type Ran } from "./aiosctl.ts";
import { laneRuns, useFleet } from "./fleet.ts";

interface Waiting {
  readonly id: string;
  readonly digest: string;
}

describe.runIf(laneRuns("native"))("a goal that needs a person's word", () => {
  const fleet = useFleet();
  let machine: Machine;
  const aiosctl = (...argv: string[]) => aiosctlFor(machine, fleet.operatorFolder)(...argv);
  const waiting = async () => JSON.parse((await aiosctl("approvals", "--json")).out).waiting as Waiting[];
  /** Gives a goal and waits until a call of it waits for the person: the call, and what comes of the goal. */
  const give = async (goal: string): Promise<Waiting & { end: Promise<Ran> }> => {
    const end = aiosctl("goal", "submit", goal, "--follow");
    await expect.poll(waiting, { timeout: 20_000, interval: 200 }).toHaveLength(1);
    const [{ id, digest } = { id: "", digest: "" }] = await waiting();
    return { id, digest, end };
  };
  const rules = async () => (await aiosctl("tool", "call", "firewall.rules")).out;

  it("is listed and previewed, and does nothing when it is denied", async () => {
    machine = await fleet.boot({ lane: "native", name: "approvals" });
    const { id, digest, end } = await give("block port 4444");
    const line = new RegExp(`^${id} +network +firewall\\.deny +high +\\S+ \\S+ +Block port 4444$`, "m");
    expect((await aiosctl("approvals")).out).toMatch(line);
    expect((await aiosctl("status")).out).toContain(
      `waits for your approval of firewall.deny (aiosctl approvals show ${id})`,
    );
    const shown = await aiosctl("approvals", "show", id);
    expect(shown.out).toMatch(/^network asks for firewall\.deny, high risk, until /);
    expect(shown.out).toContain("+ inet aios input tcp dport 4444 counter drop");
    expect(await aiosctl("approvals", "deny", id, "--reason", "not today")).toMatchObject({ code: 0, out: "denied\n" });
    const { code, out } = await end;
    expect(code).toBe(1);
    expect((await aiosctl("status")).out).not.toContain("  waits ");
    expect(out).toContain(`aiosctl approvals show ${id}`);
    expect(out).toMatch(/firewall\.deny: .* denied it: not today$/m);
    expect(await rules()).not.toContain("4444");
    expect(await aiosctl("approvals", "approve", id, "--digest", digest)).toMatchObject({ code: 1 });
  }, 120_000);

  it("is reached when it is approved, and its call was made once", async () => {
    const { id, digest, end } = await give("block port 4444");
    expect(await rules()).not.toContain("4444");
    expect((await aiosctl("approvals", "approve", id, "--digest", digest)).out).toMatch(/^done: /);
    expect(await end).toMatchObject({ code: 0, out: expect.stringContaining("Port 4444 is blocked by the firewall") });
    expect(await rules()).toContain("4444");
    const { out } = await aiosctl("audit", "--tool", "firewall.deny", "--agent", "network", "--json");
    const states = out
      .trim()
      .split("\n")
      .map((line) => JSON.parse(line).state);
    expect(states.toSorted()).toEqual(["done", "refused"]);
    expect((await aiosctl("approvals")).out).toBe("nothing waits\n");
  }, 120_000);

  it("is one of high risk where the machine is supervised, and not where it is autonomous", async () => {
    await aiosctl("tool", "call", "fs.write", '{"path":"/srv/site/page.txt","content":"served"}');
    const serve = (port: number) => `serve the files in /srv/site on port ${port}`;
    expect(await aiosctl("goal", "submit", serve(8091), "--follow")).toMatchObject({ code: 0 });
    expect(await aiosctl("autonomy", "supervised")).toMatchObject({ code: 0 });
    const { id, digest, end } = await give(serve(8092));
    expect((await aiosctl("approvals", "show", id)).out).toContain("system asks for service.define, high risk");
    await aiosctl("approvals", "approve", id, "--digest", digest);
    expect(await end).toMatchObject({ code: 0 });
  }, 120_000);
});
