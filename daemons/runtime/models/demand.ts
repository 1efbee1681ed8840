import type { Clock } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import type { Log } from "#lib/log";
import type { ModelEntry } from "#lib/model-manifest";
import type { KnownModel } from "../files/index.ts";
import { modelFingerprint } from "./admission.ts";
import type { Resident } from "./resident.ts";

interface DemandOptions<W> {
  /** Throws NOT_FOUND for a model that the machine does not know. */
  readonly known: (model: string) => KnownModel;
  readonly load: (known: KnownModel) => Promise<Resident<W>>;
  /** After how long without a call a model is unloaded. */
  readonly idleMs: (entry: ModelEntry) => number;
  readonly clock: Clock;
  readonly log: Log;
  /** Aborted when the runtime ends. */
  readonly signal: AbortSignal;
}

/** Models that are loaded when somebody asks for them, and unloaded when nobody has for a while. */
interface Demand<W> {
  /** Loads a model, once for all who ask meanwhile. A file that failed is not tried again at once, unless it changes. */
  loaded(model: string): Promise<Resident<W>>;
  isLoading(model: string): boolean;
  /** Why it could not be loaded last, or undefined. */
  problem(model: string): string | undefined;
  /** The next call tries again whatever failed before. */
  forgive(model: string): void;
}

/** A file that could not be loaded is not tried again for this long, unless it changes. */
const failureMs = 10_000;

export function openDemand<W>(options: DemandOptions<W>): Demand<W> {
  const { clock } = options;
  const starting = new Map<string, Promise<Resident<W>>>();
  const failures = new Map<string, { fingerprint: string; error: unknown; until: number }>();

  const onDemand = async (model: string): Promise<Resident<W>> => {
    const known = options.known(model);
    const { name } = known.entry;
    const fingerprint = modelFingerprint(known);
    const failed = failures.get(name);
    if (failed !== undefined && failed.fingerprint === fingerprint && clock.monotonic() < failed.until)
      throw failed.error;
    failures.delete(name);
    try {
      const resident = await options.load(known);
      unloadWhenIdle(resident, known.entry, options);
      return resident;
    } catch (error) {
      // What memory lacks now may be there in a moment; what a file is it stays.
      const lasting = !(error instanceof AiosError && error.code === "RESOURCE_EXHAUSTED");
      if (lasting) failures.set(name, { fingerprint, error, until: clock.monotonic() + failureMs });
      throw error;
    }
  };

  return {
    loaded(model) {
      const running = starting.get(model);
      if (running !== undefined) return running;
      const loading = onDemand(model).finally(() => starting.delete(model));
      loading.catch(() => {});
      starting.set(model, loading);
      return loading;
    },
    isLoading: (model) => starting.has(model),
    problem(model) {
      const failure = failures.get(model);
      return failure === undefined ? undefined : messageOf(failure.error);
    },
    forgive: (model) => void failures.delete(model),
  };
}

async function unloadWhenIdle<W>(
  resident: Resident<W>,
  entry: ModelEntry,
  { idleMs: afterMsOf, clock, log, signal }: DemandOptions<W>,
): Promise<void> {
  const afterMs = afterMsOf(entry);
  const over = new AbortController();
  const stopped = AbortSignal.any([over.signal, signal]);
  resident.ended.then(() => over.abort());
  while (!stopped.aborted) {
    const idleMs = resident.active > 0 ? 0 : clock.monotonic() - resident.idleSince;
    if (idleMs >= afterMs && resident.status === "ready") {
      log.info("unloading an idle model", { model: entry.name, idleMs: Math.round(idleMs) });
      return resident.unload();
    }
    await clock.sleep(Math.max(1, afterMs - idleMs), stopped).catch(() => {});
  }
}
