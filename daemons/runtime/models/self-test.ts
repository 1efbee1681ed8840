import { timeoutSignal } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { grammarOf, type Worker } from "../between/index.ts";

const schema = {
  type: "object",
  properties: { ready: { type: "boolean" } },
  required: ["ready"],
  additionalProperties: false,
};

const question = {
  messages: [{ role: "user", content: "Are you ready? Answer in JSON." }],
  truncate: false,
  maxTokens: 64,
  topK: 40,
  topP: 0.95,
  minP: 0.05,
  seed: 1,
  stop: [],
} as const;

/** One try each: the likeliest answer first, then others. */
const temperatures = [0, 0.4, 0.8];

/** A try that takes longer is given up. */
const tryTimeoutMs = 60_000;

/**
 * Proves that a loaded model is of use: a test prompt under a grammar must give JSON that fits, within three tries; a model
 * that embeds must give a vector. Throws UNAVAILABLE with what the last try gave.
 */
export async function selfTest(worker: Pick<Worker, "generate" | "embed" | "kind">, name: string): Promise<void> {
  const problem = worker.kind === "embedding" ? await embeds(worker) : await answers(worker);
  if (problem === undefined) return;
  throw new AiosError("UNAVAILABLE", {
    act: "test model",
    object: name,
    reason: problem,
    next: "choose another model in [models] of /etc/aios/config.toml",
  });
}

async function embeds(worker: Pick<Worker, "embed">): Promise<string | undefined> {
  return worker.embed(["ready"], 0, true).then(() => undefined, messageOf);
}

async function answers(worker: Pick<Worker, "generate">): Promise<string | undefined> {
  const grammar = grammarOf(JSON.stringify(schema));
  let problem = "";
  for (const temperature of temperatures) {
    try {
      let text = "";
      const generation = { ...question, temperature, grammar };
      const hear = (part: string) => {
        text += part;
        return undefined;
      };
      await worker.generate(generation, hear, timeoutSignal(tryTimeoutMs));
      if (fits(text)) return undefined;
      problem = `the answer to the test prompt is ${JSON.stringify(text)}`;
    } catch (error) {
      problem = messageOf(error);
    }
  }
  return `${temperatures.length} tries failed; ${problem}`;
}

/** By hand, since loading Ajv for this one answer would cost each boot as much as the answer itself. */
function fits(text: string): boolean {
  try {
    const answer: unknown = JSON.parse(text);
    if (typeof answer !== "object" || answer === null) return false;
    return Object.keys(answer).join() === "ready" && typeof Object.values(answer)[0] === "boolean";
  } catch {
    return false;
  }
}
