import { AiosError } from "#lib/errors";
import { type Identity, type Service, service } from "#lib/rpc/service";
import { beginning } from "#lib/text";
import { DutiesService, type DutyReport, type Notice as NoticeMessage } from "#proto/aios/duties";
import { type DutiesMeans, type Notice, type Notices, severities } from "../initiative/index.ts";
import { openQueue } from "../queue.ts";

/** Most categories that are listened for at once. */
const categoriesMax = 20;

/** Most entries of one report. */
const metricsMax = 100;
const noticesMax = 50;
const servicesMax = 100;

/** Characters of a key, a category, a subject; of a detail, which is cut. */
const nameLengthMax = 128;
const detailLengthMax = 2_000;

/** Notices that wait for a listener that is slow; then the oldest are passed over. */
const waitingMax = 100;

/** aios.orchestrator.Duties: for agents, each on its own socket. */
export function dutiesService(means: DutiesMeans): Service<typeof DutiesService> {
  return service(DutiesService, {
    report: async (report, { identity }) => {
      const agent = agentOf(identity);
      means.usage.count(agent);
      check(report);
      for (const { key, value } of report.metrics) await means.measure(key, value);
      // What others say of a service's health is not asked for.
      if (agent === "monitor") for (const { name, healthy } of report.services) means.registry.note(name, healthy);
      for (const notice of report.notices) await means.notice(noticeOf(notice, agent));
      return { success: true, message: "" };
    },
    getWatchList: (_, { identity }) => {
      agentOf(identity);
      const services = means.registry.list();
      return { services: services.map(({ registeredBy: _by, ...one }) => ({ ...one, status: "" })) };
    },
    listen: async function* ({ categories }, { identity, signal }) {
      agentOf(identity);
      yield* noticesFor(means.notices, categories.slice(0, categoriesMax), signal);
    },
  });
}

async function* noticesFor(notices: Notices, categories: readonly string[], signal: AbortSignal) {
  const waiting = openQueue<Notice>(waitingMax);
  const end = notices.listen(categories, waiting.put);
  try {
    yield* waiting.taken(signal);
  } finally {
    end();
  }
}

function check({ metrics, notices, services }: DutyReport): void {
  if (metrics.length > metricsMax || notices.length > noticesMax || services.length > servicesMax) {
    throw bad(`at most ${metricsMax} metrics, ${noticesMax} notices and ${servicesMax} services in one`);
  }
  for (const { key, value } of metrics) {
    if (!/^[a-z][a-z0-9._:/-]*$/.test(key) || key.length > nameLengthMax)
      throw bad(`metric "${beginning(key, 50)}": no key`);
    if (!Number.isFinite(value)) throw bad(`metric ${key}: ${value} is no number`);
  }
  for (const { category, severity, subject } of notices) {
    if (!/^[a-z][a-z0-9_]*(\.[a-z0-9_]+)*$/.test(category) || category.length > nameLengthMax) {
      throw bad(`notice "${beginning(category, 50)}": no category such as service.down`);
    }
    if (!severities.some((one) => one === severity))
      throw bad(`notice ${category}: severity: ${severities.join(", ")}`);
    if (subject === "" || subject.length > nameLengthMax)
      throw bad(`notice ${category}: subject: 1 to ${nameLengthMax} characters`);
  }
}

function noticeOf({ category, severity, subject, detail }: NoticeMessage, source: string): Notice {
  const known = severities.find((one) => one === severity) ?? "info";
  return { category, severity: known, subject, detail: beginning(detail, detailLengthMax), source };
}

function agentOf(identity: Identity): string {
  if (identity.kind === "agent") return identity.name;
  throw new AiosError("PERMISSION_DENIED", "report duties: only agents do, on their own sockets");
}

function bad(reason: string): AiosError {
  return new AiosError("INVALID_ARGUMENT", { act: "take", object: "a report of duties", reason });
}
