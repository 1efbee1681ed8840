import { describe, expect, it } from "vitest";
import { InitService, UnitState } from "#proto/aios/init";
import { ToolRegistryService } from "#proto/aios/tools";
import { executeApproved } from "../approved.ts";
import { verifyLedger } from "../goal.ts";
import type { Machine } from "../machine.ts";
import { archive, withArchive } from "./archive.ts";
import { type FleetSpec, laneRuns, useFleet } from "./fleet.ts";

const proxyConfiguration = `server {
  listen 127.0.0.1:80 default_server;
  location / {
    proxy_pass http://127.0.0.1:8001;
    proxy_set_header X-Asked-For $host;
  }
}
`;

/** Unpacking and starting under emulation takes its time. */
const callTimeoutMs = 600_000;

describe.each(["native", "qemu"] as const)("nginx on a machine of the %s lane", (lane) => {
  describe.runIf(laneRuns(lane))("is brought there by tools alone", () => {
    const fleet = useFleet();
    const executions: string[] = [];
    let spec: FleetSpec;
    let machine: Machine;

    const ask = async (tool: string, input: object) => {
      const tools = machine.client(ToolRegistryService);
      try {
        const inputJson = Buffer.from(JSON.stringify(input));
        const request = { toolName: tool, agentId: "", taskId: "", inputJson, reason: "the test sets nginx up" };
        return await executeApproved(tools, request, { timeoutMs: callTimeoutMs });
      } finally {
        tools.close();
      }
    };
    /** Calls a tool as the operator, which must succeed; what it did can be taken back later. */
    const call = async (tool: string, input: object) => {
      const answer = await ask(tool, input);
      expect({ tool, error: answer.error }).toEqual({ tool, error: "" });
      if (answer.backupId !== "") executions.push(answer.executionId);
      return JSON.parse(answer.outputJson.toString());
    };
    const write = (path: string, content: string) => call("fs.write", { path, content });
    const define = async (name: string, argv: readonly string[], ready_port: number) => {
      await call("service.define", { name, argv, ready_port });
      expect(await call("service.start", { name })).toMatchObject({ ready: true });
      expect(await call("service.enable", { name })).toEqual({ name, enabled: true });
    };
    const httpd = (port: number, folder: string) => [
      "/usr/bin/busybox",
      "httpd",
      "-f",
      "-p",
      `127.0.0.1:${port}`,
      "-h",
      folder,
    ];
    const throughProxy = async () => {
      const url = "http://127.0.0.1/page.txt";
      const { status, body, headers } = await call("web.http_request", { url });
      return { status, body, server: headers.server };
    };
    const proxied = { status: 200, body: "from behind the proxy\n", server: expect.stringContaining("nginx") };
    const installed = async () => {
      const { packages: found } = await call("pkg.list", { pattern: "nginx*" });
      return found.map(({ name }: { name: string }) => name);
    };

    it("boots with an archive on its data volume", async () => {
      spec = await withArchive(fleet, { lane, name: `nginx-${lane}` }, ["nginx"]);
      machine = await fleet.boot(spec);
      expect(await installed()).toEqual([]);
    }, 1_200_000);

    it("installs it from the archive, served on loopback, without starting it", async () => {
      await define("archive", httpd(8000, archive), 8000);
      await write("/etc/apt/sources.list.d/debian.sources", "# the archive on this machine alone\n");
      await write("/etc/apt/sources.list.d/local.list", "deb [trusted=yes] http://127.0.0.1:8000/ ./\n");
      await call("pkg.update", {});
      const { changes } = await call("pkg.install", { name: "nginx" });
      expect(changes.map(({ name }: { name: string }) => name)).toEqual(
        expect.arrayContaining(["nginx", "nginx-common"]),
      );
      expect(JSON.stringify(await call("process.list", {}))).not.toContain("nginx");
    }, 900_000);

    it("proxies what is written behind it", async () => {
      await write("/srv/behind/page.txt", "from behind the proxy\n");
      await define("behind", httpd(8001, "/srv/behind"), 8001);
      await write("/etc/nginx/sites-available/default", proxyConfiguration);
      await define("nginx", ["/usr/sbin/nginx", "-g", "daemon off;"], 80);
      expect(await throughProxy()).toEqual(proxied);
      expect(JSON.stringify(await call("service.logs", { name: "nginx" }))).not.toContain("emerg");
    }, 600_000);

    it("outlives the tools daemon", async () => {
      const pid = await pidOf(machine, "nginx");
      const init = machine.client(InitService);
      await init.restartUnit({ name: "tools" }, { timeoutMs: 120_000 });
      const state = async () => (await init.getUnit({ name: "tools" })).state;
      await expect.poll(state, { timeout: 120_000 }).toBe(UnitState.UNIT_READY);
      init.close();
      expect(await pidOf(machine, "nginx")).toBe(pid);
      expect(await throughProxy()).toEqual(proxied);
    }, 300_000);

    it("proxies again after a reboot", async () => {
      const init = machine.client(InitService);
      await init.reboot({ reason: "the test" }).catch(() => {});
      init.close();
      await machine.ended;
      machine = await fleet.boot(spec);
      await expect.poll(() => pidOf(machine, "nginx"), { timeout: 120_000, interval: 250 }).toBeGreaterThan(0);
      await expect.poll(throughProxy, { timeout: 120_000, interval: 500 }).toEqual(proxied);
    }, 900_000);

    it("is gone when everything is rolled back in reverse order", async () => {
      const tools = machine.client(ToolRegistryService);
      for (const executionId of executions.toReversed()) {
        const undone = await tools.rollback({ executionId, reason: "the test is over" }, { timeoutMs: callTimeoutMs });
        expect(undone).toEqual({ success: true, error: "" });
      }
      executions.length = 0;
      tools.close();
      expect(await ask("web.http_request", { url: "http://127.0.0.1/page.txt" })).toMatchObject({ success: false });
      expect(await installed()).toEqual([]);
      for (const path of ["/etc/nginx", "/usr/sbin/nginx", "/srv/behind", "/etc/aios/services"]) {
        expect(await ask("fs.stat", { path }), path).toMatchObject({ success: false });
      }
      const { services } = await call("service.list", {});
      expect(services.filter(({ managed }: { managed: boolean }) => managed)).toEqual([]);
      expect(await call("fs.read", { path: "/etc/apt/sources.list.d/debian.sources" })).toMatchObject({
        content: expect.stringContaining("Types: deb"),
      });
      expect(await verifyLedger(machine)).toMatchObject({ valid: true, problems: [] });
    }, 900_000);
  });
});

async function pidOf(machine: Machine, name: string): Promise<number> {
  const init = machine.client(InitService);
  try {
    return (await init.getUnit({ name })).pid;
  } finally {
    init.close();
  }
}
