import { AiosError } from "#lib/errors";
import type { Routed, Wanted } from "../between/index.ts";
import { type Catalogue, type KnownModel, modelName, readModelHeader } from "../files/index.ts";

/** The configuration of a level. */
interface Level {
  /** File name of its model. */
  readonly file: string;
  readonly maxTokens: number;
  readonly temperature: number;
}

export interface Levels {
  readonly operational: Level;
  readonly tactical: (Level & { readonly unloadAfterIdleMs: number; readonly loadOnDemand: boolean }) | undefined;
}

/** The name of a level's model: its entry's, or its file's without the ending. */
export function levelModel(catalogue: Catalogue, { file }: Level): string {
  return catalogue.find(file)?.entry.name ?? modelName(file);
}

/** Picks the model for a request, as configured; see ModelPool.route. `operational` is its model's name. */
export function routeTo({ model, level }: Wanted, operational: string, levels: Levels, catalogue: Catalogue): Routed {
  if (model !== "" && model !== "auto") return routeByName(model, operational, levels, catalogue);
  if (level === "" || level === "operational") return routeOf(levels.operational, operational);
  if (level === "tactical") return tactical(levels, catalogue);
  throw new AiosError("INVALID_ARGUMENT", {
    act: "ask level",
    object: level,
    reason: "no local model answers at this level",
    next: 'ask "operational" or "tactical"; strategic questions go to the gateway, and reactive ones need no model',
  });
}

function routeByName(model: string, operational: string, levels: Levels, catalogue: Catalogue): Routed {
  const isOperational = model === operational || model === levels.operational.file || modelName(model) === operational;
  if (isOperational) return routeOf(levels.operational, operational);
  const known = catalogue.find(model);
  if (known === undefined) {
    throw new AiosError("NOT_FOUND", {
      act: "ask model",
      object: model,
      reason: "this machine knows no model of this name",
      next: `ask "auto" or ${operational}; "aiosctl models" lists them`,
    });
  }
  const isTactical = levels.tactical !== undefined && known.entry.file === levels.tactical.file;
  return routeOf(isTactical && levels.tactical ? levels.tactical : levels.operational, known.entry.name);
}

function tactical({ tactical: level }: Levels, catalogue: Catalogue): Routed {
  const known = level === undefined ? undefined : catalogue.find(level.file);
  if (level === undefined || known?.path === undefined) {
    throw new AiosError("FAILED_PRECONDITION", {
      act: "ask level",
      object: "tactical",
      reason:
        level === undefined
          ? "the configuration names no model for it"
          : `its model ${level.file} is not on this machine`,
      next: nextFor(level, known),
    });
  }
  return routeOf(level, known.entry.name);
}

function nextFor(level: Level | undefined, known: KnownModel | undefined): string {
  if (level === undefined) return 'name one in [models.tactical] of /etc/aios/config.toml, or ask "operational"';
  const fetch =
    known !== undefined && known.entry.url !== ""
      ? `"aiosctl models pull ${known.entry.name}" fetches it`
      : `put it into the models' folder ("aiosctl models add" and "pull")`;
  return `${fetch}; until then ask "operational", or "strategic" at the gateway`;
}

function routeOf({ maxTokens, temperature }: Level, model: string): Routed {
  return { model, maxTokens, temperature };
}

/**
 * The first model with the role embedding that has a file, else one without a role that can do nothing else. Throws
 * FAILED_PRECONDITION when there is none.
 */
export function embedderIn(catalogue: Catalogue): string {
  const there = catalogue.all().filter(({ path }) => path !== undefined);
  const known =
    there.find(({ entry }) => entry.role === "embedding") ??
    there.find(({ entry, path = "" }) => entry.role === "" && onlyReads(path));
  if (known !== undefined) return known.entry.name;
  throw new AiosError("FAILED_PRECONDITION", {
    act: "make vectors of",
    object: "texts",
    reason: "this machine has no model with the role embedding",
    next: "aiosctl models add NAME --role embedding --url ADDRESS --sha256 HASH, then aiosctl models pull NAME",
  });
}

function onlyReads(path: string): boolean {
  try {
    return !readModelHeader(path).generates;
  } catch {
    return false;
  }
}
