import { describe, expect, it } from "vitest";
import { GoalControlService, type GoalView } from "#proto/aios/goal_control";
import { InitService } from "#proto/aios/init";
import { MemoryServiceService } from "#proto/aios/memory";
import { OrchestratorService } from "#proto/aios/orchestrator";
import { approving } from "../approved.ts";
import { submitGoal, verifyLedger } from "../goal.ts";
import { type Probe, probe } from "../goals/probe.ts";
import { goalIn, noWay, openStrategist, type Protocol, said } from "../goals/strategist.ts";
import type { Machine } from "../machine.ts";
import { archive, withArchive } from "./archive.ts";
import { laneRuns, useFleet } from "./fleet.ts";

/** Unpacking and starting under emulation takes its time. */
const goalTimeoutMs = { native: 180_000, qemu: 900_000 } as const;

describe.each(["native", "qemu"] as const)("a request's whole life on a machine of the %s lane", (lane) => {
  describe.runIf(laneRuns(lane))("install nginx and configure it as a reverse proxy", () => {
    const fleet = useFleet();
    let machine: Machine;
    let look: Probe;
    let first: GoalView;

    it("boots, with an archive on loopback and a service to stand in front of", async () => {
      machine = await fleet.boot(await withArchive(fleet, { lane, name: `life-${lane}` }, ["nginx"]));
      look = probe(machine);
      await prepare(look);
    }, 1_200_000);

    it(
      "is planned as seven tasks, after what only the person knows was asked",
      async () => {
        const id = await submitGoal(machine, "Install nginx and configure it as a reverse proxy");
        const asked = await viewWhen(
          machine,
          id,
          ({ goal }) => goal?.status === "awaiting_input" || isOver(goal?.status),
        );
        expect(asked.goal?.status, asked.result).toBe("awaiting_input");
        expect(asked.questions.at(-1)).toMatchObject({ question: expect.stringMatching(/port/), answer: "" });
        await answer(machine, id, "it listens on port 8001");
        first = await viewWhen(machine, id, ({ goal }) => isOver(goal?.status), goalTimeoutMs[lane]);
        expect(first.goal?.status, first.result).toBe("completed");
        expect(first.tasks).toHaveLength(7);
      },
      goalTimeoutMs[lane] + 60_000,
    );

    it("was done by the right agents", () => {
      expect(first.tasks.map(({ requiredTools: [tool], assignedAgent }) => `${tool} ${assignedAgent}`)).toEqual([
        "pkg.search package",
        "pkg.install package",
        "net.http_request network",
        "fs.write system",
        "service.define system",
        "net.http_request monitor",
        "monitor.watchlist_add monitor",
      ]);
    });

    it("and nginx proxies, as the machine's own tools see it", async () => {
      expect(await page(look, 80)).toEqual(proxied);
      const { services } = await look.call("monitor.watchlist", {});
      expect(services).toMatchObject([{ service: "nginx", url: "http://127.0.0.1:80/" }]);
    }, 60_000);

    it("tells its story, with the trace", async () => {
      const control = machine.client(GoalControlService);
      const { text, decisions, tasks } = await control.explainGoal({ id: first.goal?.id ?? "" });
      control.close();
      expect(text).toContain("It was reached");
      expect(text).toMatch(/pkg\.install by agent package, done/);
      expect(decisions.at(-1)).toMatchObject({ chosen: "procedure reverse-proxy", level: "reactive" });
      expect(tasks.flatMap(({ executions }) => executions).map(({ state }) => state)).toEqual(tasks.map(() => "done"));
    });

    it("left no grant of its tasks, and a ledger that verifies", async () => {
      const ids = new Set(first.tasks.map(({ id }) => id));
      for (const agent_id of ["package", "network", "system", "monitor"]) {
        const { capabilities } = (await look.call("sec.capabilities", { agent_id })) as {
          capabilities: { task_id: string }[];
        };
        expect(capabilities.filter(({ task_id }) => ids.has(task_id))).toEqual([]);
      }
      expect(await verifyLedger(machine)).toMatchObject({ valid: true, problems: [] });
    });

    it.each([
      ["told to end", 5, "ended with exit code 0"],
      ["killed", 0, "ended by SIGKILL"],
    ])(
      "an nginx that is %s is noticed by the monitor and restored by the system agent",
      async (how, grace_seconds, reason) => {
        const before = await restorations(machine);
        const pid = await pidOf(machine, "nginx");
        expect(pid).toBeGreaterThan(0);
        await look.call("process.kill", { pid, grace_seconds });
        const killedAt = performance.now();
        await expect
          .poll(() => pidOf(machine, "nginx").catch(() => pid), { timeout: 120_000, interval: 50 })
          .not.toBeOneOf([0, pid]);
        await expect.poll(() => page(look, 80).catch(String), { timeout: 120_000, interval: 50 }).toEqual(proxied);
        const seconds = ((performance.now() - killedAt) / 1_000).toFixed(1);
        console.error(`lifecycle, ${lane}: nginx, ${how}, answers again after ${seconds} s`);

        const [goal, ...others] = (await restorations(machine)).filter((id) => !before.includes(id));
        expect(others).toEqual([]);
        const view = await viewWhen(machine, goal ?? "", ({ goal }) => isOver(goal?.status), goalTimeoutMs[lane]);
        expect(view.goal, view.result).toMatchObject({ status: "completed", description: "restart service nginx" });
        expect(view.tasks.map(({ requiredTools: [tool], assignedAgent }) => `${tool} ${assignedAgent}`)).toEqual([
          "service.restart system",
          "service.status system",
        ]);
        expect(await noticesOf(machine, "nginx")).toEqual(
          expect.arrayContaining([
            { category: "unit.ended", source: "init", severity: "warning", detail: reason },
            { category: "service.down", source: "monitor", severity: "critical", detail: `stopped: ${reason}` },
          ]),
        );
        const control = machine.client(GoalControlService);
        const { text } = await control.explainGoal({ id: goal ?? "" });
        control.close();
        expect(text).toContain("Asked for by trigger:service-down");
        expect(text).toContain(`Because monitor noticed service.down of nginx: stopped: ${reason}.`);
        expect(text).toMatch(/service\.restart by agent system, done/);
        expect(text).toContain("It was reached: Service nginx was restarted and is ready.");
      },
      300_000,
    );

    it(
      "a second one with another port is planned by what was learned",
      async () => {
        const id = await submitGoal(
          machine,
          "Install nginx and configure it as a reverse proxy for http://127.0.0.1:8001 on port 8080",
        );
        await viewWhen(machine, id, ({ goal }) => isOver(goal?.status), goalTimeoutMs[lane]);
        const again = await submitGoal(
          machine,
          "Install nginx and configure it as a reverse proxy for http://127.0.0.1:8001 on port 8081",
        );
        const view = await viewWhen(machine, again, ({ goal }) => isOver(goal?.status), goalTimeoutMs[lane]);
        expect(view.goal?.status, view.result).toBe("completed");
        expect(view.plan).toMatchObject({ origin: expect.stringMatching(/^learned procedure/), level: "reactive" });
        expect(await page(look, 8081)).toEqual(proxied);
      },
      2 * goalTimeoutMs[lane],
    );
  });
});

const strategicGoal = "Put a web server in front of the application on port 8001";

describe.each(["claude", "openai"] as const)(
  "the same by a strategic planner of the protocol of %s",
  (protocol: Protocol) => {
    describe.runIf(laneRuns("native"))("on a machine of the native lane", () => {
      const fleet = useFleet();

      it("plans it; and when it goes away in the middle, the next goal ends with that reason", async () => {
        const otherwise = (seen: Parameters<typeof goalIn>[0]) => ({
          text: goalIn(seen).startsWith("Put a web server") ? proxyPlan : noWay,
        });
        const { server, append, introduce } = await openStrategist(protocol, "native", { otherwise });
        try {
          const spec = { lane: "native", name: `life-${protocol}`, append } as const;
          const machine = await fleet.boot(await withArchive(fleet, spec, ["nginx"]));
          const look = probe(machine);
          await introduce(machine);
          await prepare(look);
          const id = await submitGoal(machine, strategicGoal);
          // The plan is there: whatever becomes of its author, it is gone on with.
          await viewWhen(machine, id, ({ tasks, goal }) => tasks.length > 0 || isOver(goal?.status), 60_000);
          await server.close();
          // What a model plans to run as root with a network is a person's to allow.
          const end = viewWhen(machine, id, ({ goal }) => isOver(goal?.status), goalTimeoutMs.native);
          const view = await approving(machine, end);
          expect(view.goal?.status, view.result).toBe("completed");
          expect(view.plan).toMatchObject({ level: "strategic", origin: expect.stringContaining(protocol) });
          expect(await page(look, 80)).toEqual(proxied);
          const next = await submitGoal(machine, "Put flowers in front of the application");
          const failed = await viewWhen(machine, next, ({ goal }) => isOver(goal?.status), goalTimeoutMs.native);
          expect(failed.goal?.status).toBe("failed");
          expect(failed.result).toMatch(new RegExp(`strategic|${protocol}|connect`, "i"));
          look.close();
        } finally {
          await server.close().catch(() => {});
        }
      }, 600_000);
    });
  },
);

const configuration = `server {
  listen 80 default_server;
  location / { proxy_pass http://127.0.0.1:8001; }
}
`;

const proxyPlan = said(
  [
    { name: "search", tool: "pkg.search", input: { query: "nginx" }, agent: "package" },
    { name: "install", tool: "pkg.install", input: { name: "nginx" }, agent: "package", needs: ["search"] },
    {
      name: "configure",
      tool: "fs.write",
      agent: "system",
      needs: ["install"],
      input: { path: "/etc/nginx/sites-available/default", content: configuration },
    },
    {
      name: "start",
      tool: "service.define",
      agent: "system",
      needs: ["configure"],
      input: {
        ...{ name: "nginx", packaged: true, ready_port: 80 },
        ...{ enabled: true, start: true },
      },
    },
    {
      name: "check",
      tool: "net.check_port",
      agent: "network",
      needs: ["start"],
      input: { host: "127.0.0.1", port: 80 },
      expect: { open: true },
    },
  ],
  "nginx stands in front of port 8001.",
);

const proxied = { status: 200, body: "from behind the proxy\n", server: expect.stringContaining("nginx") };

async function page(look: Probe, port: number) {
  const { status, body, headers } = await look.call("web.http_request", { url: `http://127.0.0.1:${port}/page.txt` });
  return { status, body, server: (headers as Record<string, string>)["server"] };
}

/** What the goal finds on the machine: an archive that apt knows, and a service that is to be stood in front of. */
async function prepare({ call }: Probe): Promise<void> {
  const httpd = (port: number, folder: string) => [
    "/usr/bin/busybox",
    "httpd",
    "-f",
    "-p",
    `127.0.0.1:${port}`,
    "-h",
    folder,
  ];
  const serve = async (name: string, argv: readonly string[], ready_port: number) => {
    await call("service.define", { name, argv, ready_port });
    await call("service.start", { name });
  };
  await serve("archive", httpd(8000, archive), 8000);
  await call("fs.write", {
    path: "/etc/apt/sources.list.d/debian.sources",
    content: "# the archive on this machine alone\n",
  });
  const list = "deb [trusted=yes] http://127.0.0.1:8000/ ./\n";
  await call("fs.write", { path: "/etc/apt/sources.list.d/local.list", content: list });
  await call("pkg.update", {});
  await call("fs.write", { path: "/srv/behind/page.txt", content: "from behind the proxy\n" });
  await call("fs.write", { path: "/srv/behind/index.html", content: "behind\n" });
  await serve("behind", httpd(8001, "/srv/behind"), 8001);
}

const isOver = (status: string | undefined) => ["completed", "failed", "cancelled"].includes(status ?? "");

/** The first view of a goal that is as wanted. */
async function viewWhen(
  machine: Machine,
  id: string,
  wanted: (view: GoalView) => boolean,
  timeoutMs = 60_000,
): Promise<GoalView> {
  const control = machine.client(GoalControlService);
  try {
    for await (const view of control.watchGoal({ id }, { timeoutMs })) if (wanted(view)) return view;
    throw new Error(`goal ${id} ended without being as it was to be`);
  } finally {
    control.close();
  }
}

async function answer(machine: Machine, goalId: string, text: string): Promise<void> {
  const control = machine.client(GoalControlService);
  await control.answerGoal({ goalId, answer: text });
  control.close();
}

/** Goals that the machine has given itself for a service that was down. */
async function restorations(machine: Machine): Promise<string[]> {
  const orchestrator = machine.client(OrchestratorService);
  try {
    const { goals } = await orchestrator.listGoals({ statusFilter: "", limit: 100, offset: 0, cursor: "" });
    return goals.flatMap(({ id, source }) => (source === "trigger:service-down" ? [id] : []));
  } finally {
    orchestrator.close();
  }
}

/** What memory keeps of what was noticed of a service. */
async function noticesOf(machine: Machine, service: string) {
  const memory = machine.client(MemoryServiceService);
  try {
    const { events } = await memory.getRecentEvents({ count: 200, category: "", source: "" });
    return events.flatMap(({ category, source, dataJson }) => {
      const { subject, severity, detail } = JSON.parse(dataJson.toString() || "{}");
      return subject === service ? [{ category, source, severity, detail }] : [];
    });
  } finally {
    memory.close();
  }
}

async function pidOf(machine: Machine, name: string): Promise<number> {
  const init = machine.client(InitService);
  try {
    return (await init.getUnit({ name })).pid;
  } finally {
    init.close();
  }
}
