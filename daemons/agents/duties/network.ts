import { type Duty, listIn } from "./duty.ts";

/** Names outside are asked for only where a way out exists: an appliance may have none, and lacks nothing then. */
export const network: Duty = {
  name: "network",
  tools: ["net.route_list", "net.interfaces", "net.ping"],
  limits: { callsPerWakeMax: 4 },
  wakes: [
    {
      name: "connectivity",
      everyMs: 60_000,
      first: "spread",
      async run({ call, state }) {
        const reason = "the connectivity check of the network agent";
        const routes = listIn(await call("net.route_list", {}, reason), "routes");
        const gateway = routes.find(({ destination }) => destination === "default")?.["gateway"];
        // The gateway and no public servers: whoever watches an appliance's packets learns nothing, and it asks nobody outside.
        if (typeof gateway !== "string" || gateway === "") return;
        const { success } = await call("net.ping", { host: gateway, count: 1 }, reason).catch(() => ({
          success: false,
        }));
        const detail = success === true ? "the gateway answers" : `the gateway ${gateway} does not answer`;
        state({
          category: "network.gateway",
          severity: success === true ? "info" : "warning",
          subject: "gateway",
          detail,
        });
      },
    },
  ],
};
