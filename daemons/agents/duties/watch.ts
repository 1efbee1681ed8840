/**
 * A unit that stands still is told at once, one that crash-loops or does not answer after a second look, and one that
 * starts is left to init, which ends it when it takes too long. `Unit.wanted` says whether a unit is meant to run at
 * all. A question that was not carried out, for a limit or a grant, says nothing of a service.
 */
import { AiosError, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";
import { type Hands, listIn, type Output, type WatchedService } from "./duty.ts";

/** At most this many services are asked at a time whether they answer, in turn: an agent's calls are limited. */
export const probesMax = 10;

/** A service whose fault may pass by itself is looked at again before anyone is told. */
const failuresBeforeTold = 2;

const reason = "the watch of the monitor agent";

/** How a service is; `fault` is empty when it is well, and undefined when it is not known now: it is then as it was. */
interface Finding {
  readonly fault: string | undefined;
  /** It stands still and nothing will start it: that needs no second look. */
  readonly plain: boolean;
}

const well: Finding = { fault: "", plain: false };
const unknown: Finding = { fault: undefined, plain: false };

/** A question whether something answers; `fault` asks it, and throws when it could not be asked. */
interface Probe {
  /** The unit that is restarted for it. */
  readonly unit: string;
  fault(): Promise<string>;
  tell(fault: string): void;
}

/**
 * Looks at the services that are looked after: the units that are added to the machine and start at every boot, those on the
 * watch list, and the services of the registry. Whoever stopped one wanted it so: that is left alone.
 */
export async function watchServices(hands: Hands): Promise<void> {
  const list = listIn(await hands.call("monitor.watchlist", {}, reason), "services");
  const urls = new Map(list.map(({ service, url }) => [String(service), String(url)]));
  const all = listIn(await hands.call("service.list", {}, reason), "services");
  const units = new Map(all.map((unit) => [String(unit["name"]), unit]));
  const findings = new Map<string, Finding>();
  for (const [name, unit] of units) {
    if ((unit["managed"] === true && unit["enabled"] === true) || urls.has(name)) findings.set(name, findingOf(unit));
  }
  const probes = [...probesOfList(urls, units, hands), ...probesOfRegistry(await hands.services(), hands)];
  const due = new Set(inTurn(probes, hands.kept));
  await Promise.all(
    probes.map(async (probe) => {
      const fault = due.has(probe) ? await askProbe(probe) : undefined;
      const unit = units.get(probe.unit);
      // A unit that does not run, and one that shall not, is no further explained by what does not answer.
      if (unit !== undefined && !(unit["wanted"] === true && unit["status"] === "ready")) return;
      const known = findings.get(probe.unit) ?? well;
      if (!known.fault) findings.set(probe.unit, fault === undefined ? unknown : { fault, plain: false });
    }),
  );
  judge(findings, hands);
}

function findingOf({ status, wanted, reason: why }: Output): Finding {
  if (wanted !== true || status === "ready") return well;
  if (status === "stopped" || status === "crash_loop")
    return { fault: `${status}: ${why}`, plain: status === "stopped" };
  // PID 1 is at it: it ends what does not become ready in its time, and restarting that would give it none.
  return unknown;
}

/** Probes of the list: a service with an address has to answer there. What the answer says is not its fault. */
function probesOfList(urls: Map<string, string>, units: ReadonlyMap<string, Output>, { call }: Hands): Probe[] {
  return [...urls].flatMap(([unit, url]) => {
    if (url === "" || !units.has(unit)) return [];
    const fault = async () => {
      await call("net.http_request", { url, body_bytes_max: 0 }, `the watch of service ${unit}`);
      return "";
    };
    return [{ unit, fault, tell() {} }];
  });
}

function probesOfRegistry(services: readonly WatchedService[], hands: Hands): Probe[] {
  return services.map((service) => ({
    unit: service.managedBy || service.name,
    fault: () => faultOf(service, hands),
    tell: (fault) => hands.health(service.name, fault === "", fault),
  }));
}

/** The fault of a service of the registry; empty when it answers as it should. */
async function faultOf({ name, address, port, healthCheckPath }: WatchedService, { call }: Hands): Promise<string> {
  const why = `the watch of service ${name}`;
  if (healthCheckPath === "") {
    const { open, state } = await call("net.check_port", { host: address, port, timeout_ms: 2_000 }, why);
    return open === true || state === "open" ? "" : `port ${port} does not answer`;
  }
  const url = `http://${address}:${port}${healthCheckPath}`;
  const { status } = await call("net.http_request", { url }, why);
  return typeof status === "number" && status < 400 ? "" : `${url} answers ${String(status)}`;
}

/** The fault that a probe finds; undefined when it was not carried out, which says nothing of the service. */
async function askProbe({ fault, tell }: Probe): Promise<string | undefined> {
  const found = await fault().catch((error) =>
    error instanceof AiosError ? undefined : beginning(messageOf(error), 300),
  );
  if (found !== undefined) tell(found);
  return found;
}

/** Those whose turn it is: all when they are few. */
function inTurn<T>(all: readonly T[], kept: Map<string, unknown>): readonly T[] {
  const from = all.length <= probesMax ? 0 : Number(kept.get("next probe") ?? 0) % all.length;
  kept.set("next probe", from + probesMax);
  return [...all.slice(from), ...all.slice(0, from)].slice(0, probesMax);
}

/** Tells how each is, and of those that are no longer looked after that nothing is wrong with them any more. */
function judge(findings: ReadonlyMap<string, Finding>, { kept, state }: Hands): void {
  const failures = (kept.get("failures") as Map<string, number> | undefined) ?? new Map<string, number>();
  kept.set("failures", failures);
  const say = (subject: string, severity: "info" | "critical", detail: string) =>
    state({ category: "service.down", severity, subject, detail });
  for (const [name, { fault, plain }] of findings) {
    if (fault === undefined) continue;
    const count = fault === "" ? 0 : (failures.get(name) ?? 0) + 1;
    failures.set(name, count);
    say(name, plain || count >= failuresBeforeTold ? "critical" : "info", fault || "ready");
  }
  for (const name of failures.keys()) {
    if (findings.has(name)) continue;
    failures.delete(name);
    say(name, "info", "no longer looked after");
  }
}
