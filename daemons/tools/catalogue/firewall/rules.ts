import { existsSync, rmSync } from "node:fs";
import type { Static } from "typebox";
import * as Type from "typebox";
import { callEvery, timeoutSignal } from "#lib/clock";
import { replaceFile } from "#lib/data/files";
import { AiosError, messageOf } from "#lib/errors";
import { managementPort } from "#manifest";
import { type Documents, openDocuments, type State } from "../../state/index.ts";
import { changes, reads, type Tool } from "../../tool.ts";
import { cidr, interfaceName, networkSettings, object } from "../shared/index.ts";
import { applyTable, managementNetworks, type Rule, readRules, ruleText, tableOf } from "./nft.ts";

/** Rules at most: all of them are one argument of nft's, which the kernel takes up to 128 KiB. */
const rulesMax = 128;

/** How often it is looked whether the networks that the machine is attached to are still the same. */
const watchMs = 15_000;

const applyTimeoutMs = 10_000;

const ruleId = Type.String({ pattern: "^[0-9a-f-]{36}$", description: "a rule's id, as firewall.rules tells it" });

const match = {
  direction: Type.Optional(Type.Enum(["in", "out"], { description: "in unless told otherwise" })),
  protocol: Type.Optional(Type.Enum(["tcp", "udp", "icmp"], { description: "every one unless told otherwise" })),
  port: Type.Optional(
    Type.Integer({
      minimum: 1,
      maximum: 65_535,
      description: "of this machine for what comes in, of the other side for what goes out",
    }),
  ),
  last_port: Type.Optional(
    Type.Integer({ minimum: 1, maximum: 65_535, description: "the end of a range that begins with port" }),
  ),
  address: Type.Optional(
    Type.String({ maxLength: 64, description: "the other side's address or network, such as 192.0.2.0/24" }),
  ),
  interface: Type.Optional(interfaceName),
};

const listed = object({
  id: Type.String(),
  action: Type.Enum(["allow", "deny"]),
  ...match,
  direction: Type.Enum(["in", "out"]),
  reason: Type.String(),
  packets: Type.Integer(),
  bytes: Type.Integer(),
});

const changer = {
  exclusive: "firewall",
  risk: "high",
  timeoutMs: 20_000,
  confirmation: true,
} as const;

interface FirewallWorld {
  readonly state: State;
  readonly paths: { readonly run: string; readonly state: string };
}

/** The port that no rule closes to these networks. */
interface Management {
  readonly port: number;
  readonly networks: readonly string[];
}

/** As the configuration in effect says; without one the port of the image, to networks that are near. */
function managementOf(run: string): Management {
  const settings = networkSettings(run);
  const networks = settings?.management_subnets?.map(network) ?? managementNetworks();
  return { port: settings?.management_port ?? managementPort, networks };
}

/** The rules of this machine: kept by us, and in the kernel as long as it runs. */
export function firewallTools({ state, paths }: FirewallWorld): readonly Tool[] {
  const documents = openDocuments<readonly Rule[]>(state, "firewall");
  const firewall = new Firewall(documents, () => managementOf(paths.run), `${paths.state}/ledger/firewall.json`);
  return [
    rulesTool(firewall),
    addTool(firewall, "allow", "Lets traffic through that a denial would stop."),
    addTool(firewall, "deny", "Drops traffic, but for what an allowance lets through and the management port."),
    removeTool(firewall),
  ];
}

class Firewall {
  readonly #documents: Documents<readonly Rule[]>;
  /** Why the rules are not in the kernel. */
  problem = "";
  #applied = "";
  readonly #management: () => Management;
  #unwatch = () => {};
  readonly #started: Promise<void>;

  /** The table as init loads it at the next boot, before there is a network. */
  readonly #bootFile: string;

  constructor(documents: Documents<readonly Rule[]>, management: () => Management, bootFile: string) {
    this.#documents = documents;
    this.#bootFile = bootFile;
    this.#management = management;
    // The kernel forgot them with the last boot. A start does not wait for it, the tools do.
    const isNone = this.rules().length === 0 && !existsSync(bootFile);
    this.#started = isNone ? Promise.resolve() : this.#refresh();
  }

  management(): { port: number; networks: string[] } {
    const { port, networks } = this.#management();
    return { port, networks: [...networks] };
  }

  rules(): readonly Rule[] {
    return this.#documents.get("rules") ?? [];
  }

  started(): Promise<void> {
    return this.#started;
  }

  /** Puts rules into the kernel, then keeps them. Rules that cannot be kept are not left in the kernel. */
  async set(rules: readonly Rule[], signal: AbortSignal): Promise<void> {
    try {
      await this.#apply(rules, signal);
      await this.#documents.put("rules", rules);
    } catch (error) {
      await this.#refresh();
      throw error;
    }
  }

  async #apply(rules: readonly Rule[], signal: AbortSignal): Promise<void> {
    const management = this.#management();
    const table = tableOf(rules, management.networks, management.port);
    await applyTable(table, signal);
    if (rules.length > 0) replaceFile(this.#bootFile, table, 0o600);
    else rmSync(this.#bootFile, { force: true });
    this.#applied = JSON.stringify(management);
    this.problem = "";
    this.#unwatch();
    // An address by DHCP comes and changes at any time, and the management port must be open there too.
    if (rules.length > 0) this.#unwatch = callEvery(watchMs, () => this.#look(), "unheld");
  }

  #look(): void {
    if (JSON.stringify(this.#management()) !== this.#applied) void this.#refresh();
  }

  async #refresh(): Promise<void> {
    try {
      await this.#apply(this.rules(), timeoutSignal(applyTimeoutMs));
    } catch (error) {
      this.problem = messageOf(error);
    }
  }
}

const rulesTool = (firewall: Firewall) =>
  reads({
    name: "firewall.rules",
    summary: "Lists the firewall's rules with what met them, and the networks that always reach the management port.",
    input: object({}),
    output: object({
      rules: Type.Array(listed),
      active: Type.Boolean({ description: "they are in the kernel" }),
      problem: Type.String({ description: "why they are not" }),
      management: object({ port: Type.Integer(), networks: Type.Array(Type.String()) }),
    }),
    capabilities: ["firewall:read"],
    timeoutMs: 15_000,
    run: async ({ signal }) => {
      await firewall.started();
      const rules = firewall.rules();
      const counted = rules.length === 0 ? new Map() : await readRules(signal);
      return {
        rules: rules.map((rule) => ({ ...told(rule), ...(counted?.get(rule.id) ?? { packets: 0, bytes: 0 }) })),
        active: rules.every(({ id }) => counted?.has(id) === true),
        problem: firewall.problem,
        management: firewall.management(),
      };
    },
  });

const addTool = (firewall: Firewall, action: "allow" | "deny", summary: string) =>
  changes({
    name: `firewall.${action}`,
    summary,
    input: object({ ...match, reason: Type.String({ minLength: 1, maxLength: 200, description: "what it is for" }) }),
    output: object({ id: Type.String(), rules: Type.Integer({ description: "rules there are now" }) }),
    capabilities: [`firewall:${action}`],
    ...changer,
    idempotent: false,
    preview: async ({ executionId, input }) => `+ ${ruleText(ruleOf(executionId, action, input))}`,
    undo: {
      prepare: async ({ executionId }) => ({ id: executionId }),
      restore: async ({ id }) => {
        await firewall.started();
        const left = firewall.rules().filter((rule) => rule.id !== id);
        if (left.length < firewall.rules().length) await firewall.set(left, timeoutSignal(applyTimeoutMs));
      },
    },
    run: async ({ executionId, input, signal }) => {
      await firewall.started();
      const rule = ruleOf(executionId, action, input);
      checkRule(rule, firewall.rules().length);
      await firewall.set([...firewall.rules(), rule], signal);
      return { id: executionId, rules: firewall.rules().length };
    },
  });

const removeTool = (firewall: Firewall) =>
  changes({
    name: "firewall.remove",
    summary: "Removes a rule of the firewall.",
    input: object({ id: ruleId }),
    output: object({ removed: listed, rules: Type.Integer({ description: "rules there are now" }) }),
    capabilities: ["firewall:remove"],
    ...changer,
    idempotent: true,
    preview: async ({ input: { id } }) => {
      const rule = firewall.rules().find((one) => one.id === id);
      return rule === undefined ? `there is no rule ${id}` : `- ${ruleText(rule)}`;
    },
    undo: {
      prepare: async ({ input: { id } }) => {
        const at = firewall.rules().findIndex((rule) => rule.id === id);
        return { at, rule: firewall.rules()[at] };
      },
      restore: async ({ at, rule }) => {
        await firewall.started();
        const now = firewall.rules();
        if (rule === undefined || now.some(({ id }) => id === rule.id)) return;
        await firewall.set(now.toSpliced(Math.min(at, now.length), 0, rule), timeoutSignal(applyTimeoutMs));
      },
    },
    run: async ({ input: { id }, signal }) => {
      await firewall.started();
      const removed = firewall.rules().find((rule) => rule.id === id);
      if (removed === undefined)
        throw new AiosError("NOT_FOUND", {
          act: "remove firewall rule",
          object: id,
          reason: "there is none",
          next: "see firewall.rules",
        });
      const counted = (await readRules(signal))?.get(id) ?? { packets: 0, bytes: 0 };
      const left = firewall.rules().filter((rule) => rule !== removed && rule.id !== id);
      await firewall.set(left, signal);
      return { removed: { ...told(removed), ...counted }, rules: left.length };
    },
  });

type Wished = Static<ReturnType<typeof object<typeof match>>> & { readonly reason: string };

function ruleOf(id: string, action: Rule["action"], wished: Wished): Rule {
  const { last_port: lastPort, address, direction = "in", ...more } = wished;
  const range = lastPort === undefined ? {} : { lastPort };
  return { id, action, direction, ...more, ...range, ...(address !== undefined && { address: network(address) }) };
}

function told({ lastPort, ...rule }: Rule) {
  return { ...rule, ...(lastPort !== undefined && { last_port: lastPort }) };
}

/** A network by its first address, which is how the kernel wants it. */
function network(given: string): string {
  const [address = "", length] = cidr(given).split("/");
  const bits = Number(length);
  // As programs that listen to both write an address of IPv4: as one of IPv6 no packet bears it.
  const [, ...halves] = bits < 96 ? [] : (/^::ffff:([0-9a-f]+):([0-9a-f]+)$/.exec(address) ?? []);
  if (halves.length > 0) {
    const octets = halves.map((half) => Number.parseInt(half, 16)).flatMap((half) => [half >> 8, half & 255]);
    return network(`${octets.join(".")}/${bits - 96}`);
  }
  const six = address.includes(":");
  const parts = six ? expanded(address) : address.split(".").map(Number);
  const size = six ? 16 : 8;
  const masked = parts.map((part, at) => {
    const kept = Math.max(0, Math.min(size, bits - at * size));
    return part & ~(2 ** (size - kept) - 1);
  });
  return cidr(`${six ? masked.map((part) => part.toString(16)).join(":") : masked.join(".")}/${length}`);
}

function expanded(address: string): number[] {
  const [head = "", tail = ""] = address.split("::");
  const numbers = (part: string) => (part === "" ? [] : part.split(":").map((group) => Number.parseInt(group, 16)));
  const [before, after] = [numbers(head), numbers(tail)];
  return address.includes("::")
    ? [...before, ...Array<number>(8 - before.length - after.length).fill(0), ...after]
    : before;
}

function checkRule({ action, protocol, port, lastPort, ...rule }: Rule, count: number): void {
  const refuse = (reason: string, next: string) =>
    new AiosError("FAILED_PRECONDITION", { act: action, object: "traffic", reason, next });
  if (count >= rulesMax) throw refuse(`there are ${rulesMax} rules`, "remove some");
  if (port !== undefined && protocol !== "tcp" && protocol !== "udp")
    throw refuse("a port belongs to a protocol", "say tcp or udp");
  if (lastPort !== undefined && (port === undefined || lastPort < port))
    throw refuse("a range of ports ends after its beginning", "give port and a last_port that is not smaller");
  if (action === "allow" && protocol === undefined && rule.address === undefined && rule.interface === undefined)
    throw refuse("it would allow everything", "remove the denials instead");
}
