import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { changes, reads, type Tool } from "../../tool.ts";
import {
  cidr,
  familyOf,
  interfaceName,
  type Link,
  object,
  type Route,
  readLink,
  readLinks,
  readRoutes,
  routeWords,
  setByIp,
  unifiedDiff,
} from "../shared/index.ts";

/** Addresses of one interface at most. */
const addressesMax = 64;

/** A wrong word here and the machine cannot be reached any more. */
const changer = {
  exclusive: "network",
  risk: "high",
  timeoutMs: 20_000,
  idempotent: true,
  confirmation: true,
} as const;

const interfaces = reads({
  name: "net.interfaces",
  summary: "Lists the network interfaces with their addresses and state.",
  input: object({}),
  output: object({
    interfaces: Type.Array(
      object({
        name: Type.String(),
        mac: Type.String(),
        status: Type.Enum(["up", "down"], { description: "as it was set" }),
        state: Type.String({ description: "as the kernel finds its carrier: up, down, unknown" }),
        mtu: Type.Integer(),
        addresses: Type.Array(Type.String()),
      }),
    ),
  }),
  capabilities: ["net:read"],
  timeoutMs: 10_000,
  run: async ({ signal }) => ({
    interfaces: (await readLinks(signal)).map(({ name, mac, up, state, mtu, addresses, linkLocal }) => ({
      name,
      mac,
      status: up ? ("up" as const) : ("down" as const),
      state,
      mtu,
      addresses: [...addresses, ...linkLocal],
    })),
  }),
});

const configure = changes({
  name: "net.configure",
  summary:
    "Sets what is given of an interface, until the next boot: its addresses (all of them), its MTU, whether it is up.",
  input: object({
    interface: interfaceName,
    addresses: Type.Optional(
      Type.Array(Type.String({ maxLength: 64, description: "such as 192.0.2.1/24" }), {
        maxItems: addressesMax,
        description: "all that it shall have; others are removed",
      }),
    ),
    mtu: Type.Optional(Type.Integer({ minimum: 68, maximum: 65_536 })),
    up: Type.Optional(Type.Boolean()),
  }),
  output: object({ addresses: Type.Array(Type.String()), mtu: Type.Integer(), up: Type.Boolean() }),
  capabilities: ["net:configure:{interface}"],
  ...changer,
  preview: async ({ input, signal }) => {
    const now = await readLink(input.interface, signal);
    const lines = (of: { addresses: readonly string[]; mtu: number; up: boolean }) =>
      [...of.addresses.map((one) => `address ${cidr(one)}`), `mtu ${of.mtu}`, of.up ? "up" : "down", ""].join("\n");
    const { addresses, mtu, up } = now;
    return unifiedDiff(input.interface, lines(now), lines({ addresses, mtu, up, ...input }));
  },
  undo: {
    prepare: async ({ input, signal }) => {
      const routes = (await readRoutes(signal)).filter((route) => route.interface === input.interface);
      return { before: await readLink(input.interface, signal), routes };
    },
    restore: ({ before, routes }) => putBack(before, routes, timeoutSignal(changer.timeoutMs)),
  },
  run: async ({ input, signal }) => {
    const before = await readLink(input.interface, signal);
    const routes = (await readRoutes(signal)).filter((route) => route.interface === input.interface);
    const wanted = { addresses: before.addresses, mtu: before.mtu, up: before.up, ...input };
    try {
      const { mtu, up } = wanted;
      await putLink({ ...before, mtu, up, addresses: wanted.addresses.map(cidr) }, before, signal);
    } catch (error) {
      // Half an interface is worse than either.
      await putBack(before, routes, timeoutSignal(5_000));
      throw error;
    }
    const { addresses, mtu, up } = await readLink(input.interface, signal);
    return { addresses: [...addresses], mtu, up };
  },
});

const route = object({
  destination: Type.String(),
  gateway: Type.Optional(Type.String()),
  interface: Type.Optional(Type.String()),
  metric: Type.Optional(Type.Integer()),
  protocol: Type.Optional(Type.String({ description: "who set it" })),
});

const routeInput = {
  destination: Type.String({ maxLength: 64, description: 'a network such as 192.0.2.0/24, or "default"' }),
  gateway: Type.Optional(Type.String({ maxLength: 45, description: "an address" })),
  interface: Type.Optional(interfaceName),
  metric: Type.Optional(Type.Integer({ minimum: 0, maximum: 4_294_967_295 })),
};

const routeList = reads({
  name: "net.route_list",
  summary: "Lists the routes of the main table.",
  input: object({}),
  output: object({ routes: Type.Array(route) }),
  capabilities: ["net:read"],
  timeoutMs: 10_000,
  run: async ({ signal }) => ({ routes: await readRoutes(signal) }),
});

const routeAdd = changes({
  name: "net.route_add",
  summary: "Adds a route by a gateway, an interface or both, until the next boot.",
  input: object(routeInput),
  output: object({ route }),
  capabilities: ["net:route:{destination}"],
  ...changer,
  idempotent: false,
  preview: async ({ input }) => `+ ${routeWords(wantedRoute(input)).join(" ")}`,
  undo: {
    prepare: async ({ input, signal }) => {
      const wanted = wantedRoute(input);
      return { wanted, stood: matching(await readRoutes(signal), wanted).length > 0 };
    },
    restore: async ({ wanted, stood }) => {
      const signal = timeoutSignal(changer.timeoutMs);
      if (!stood) for (const found of matching(await readRoutes(signal), wanted)) await change("del", found, signal);
    },
  },
  run: async ({ input, signal }) => {
    const wanted = wantedRoute(input);
    if (wanted.gateway === undefined && wanted.interface === undefined)
      throw new AiosError("FAILED_PRECONDITION", {
        act: "add route to",
        object: wanted.destination,
        reason: "it says no way",
        next: "give a gateway, an interface or both",
      });
    await change("add", wanted, signal);
    const [added = wanted] = matching(await readRoutes(signal), wanted);
    return { route: added };
  },
});

const routeDel = changes({
  name: "net.route_del",
  summary: "Removes the one route that fits what is given.",
  input: object(routeInput),
  output: object({ route }),
  capabilities: ["net:route:{destination}"],
  ...changer,
  idempotent: false,
  preview: async ({ input, signal }) => {
    const found = matching(await readRoutes(signal), wantedRoute(input));
    return found.map((one) => `- ${routeWords(one).join(" ")}`).join("\n") || "there is no such route";
  },
  undo: {
    prepare: async ({ input, signal }) => ({ found: matching(await readRoutes(signal), wantedRoute(input)) }),
    restore: async ({ found }) => {
      const signal = timeoutSignal(changer.timeoutMs);
      const now = await readRoutes(signal);
      for (const one of found) if (matching(now, one).length === 0) await change("add", one, signal);
    },
  },
  run: async ({ input, signal }) => {
    const wanted = wantedRoute(input);
    const found = matching(await readRoutes(signal), wanted);
    const [only] = found;
    if (only === undefined || found.length > 1)
      throw new AiosError("FAILED_PRECONDITION", {
        act: "remove route to",
        object: wanted.destination,
        reason: only === undefined ? "there is none" : `${found.length} routes fit`,
        next: "see net.route_list, and say the gateway, interface or metric",
      });
    await change("del", only, signal);
    return { route: only };
  },
});

export const interfaceTools: readonly Tool[] = [interfaces, configure, routeList, routeAdd, routeDel];

function wantedRoute(input: { destination: string; gateway?: string; interface?: string; metric?: number }): Route {
  const { destination, gateway, ...more } = input;
  const family = gateway !== undefined && destination === "default" && gateway.includes(":") ? "::/0" : destination;
  return {
    destination: cidr(family),
    ...(gateway !== undefined && { gateway: cidr(gateway).replace(/\/(32|128)$/, "") }),
    ...more,
  };
}

/** The routes that have everything that is said of the one wanted. */
function matching(routes: readonly Route[], wanted: Route): Route[] {
  return routes.filter((found) =>
    (["destination", "gateway", "interface", "metric"] as const).every(
      (word) =>
        wanted[word] === undefined ||
        found[word] === wanted[word] ||
        (word === "metric" && !wanted.metric && found.metric === undefined),
    ),
  );
}

function change(verb: "add" | "del", one: Route, signal: AbortSignal): Promise<void> {
  const words = [familyOf(one.destination), "route", verb, ...routeWords(one)];
  return setByIp(words, `${verb === "add" ? "add" : "remove"} route by`, signal);
}

/** Makes an interface what `wanted` says. An address that stands stays as it is, with the routes through it. */
async function putLink(wanted: Link, now: Link, signal: AbortSignal): Promise<void> {
  const set = (...words: string[]) => setByIp(words, "configure by", signal);
  const { name } = wanted;
  if (wanted.mtu !== now.mtu) await set("link", "set", "dev", name, "mtu", String(wanted.mtu));
  if (wanted.up && !now.up) await set("link", "set", "dev", name, "up");
  // The kernel removes a network's other addresses with its first one: so the last first, and then those it took along.
  for (const address of now.addresses.filter((one) => !wanted.addresses.includes(one)).reverse())
    await set("address", "del", address, "dev", name);
  const left = (await readLink(name, signal)).addresses;
  for (const address of wanted.addresses.filter((one) => !left.includes(one)))
    await set("address", "add", address, "dev", name);
  if (!wanted.up && now.up) await set("link", "set", "dev", name, "down");
}

/** An interface as it was, with the routes that went away with its addresses. */
async function putBack(before: Link, routes: readonly Route[], signal: AbortSignal): Promise<void> {
  await putLink(before, await readLink(before.name, signal), signal);
  const now = await readRoutes(signal);
  // The kernel makes an interface's own networks by itself. Routes that others go through come first: those without a gateway.
  const missing = routes.filter((one) => one.protocol !== "kernel" && matching(now, one).length === 0);
  const far = (one: Route) => Number(one.gateway !== undefined);
  for (const one of [...missing].sort((a, b) => far(a) - far(b)))
    await setByIp([familyOf(one.destination), "route", "replace", ...routeWords(one)], "restore route by", signal);
}
