import { messageOf } from "#lib/errors";
import type { Sampling } from "../between/index.ts";
import type { Binding, Model, Sampler } from "./binding.ts";
import { Refusal } from "./refusal.ts";

/**
 * Opens the sampler that chooses the tokens of one answer. To be disposed of. INVALID_ARGUMENT when llama.cpp does not
 * take the grammar.
 */
export function openSampler(
  binding: Binding,
  model: Model,
  sampling: Sampling & { readonly grammar: string },
): Sampler {
  const { temperature, topK, topP, minP, seed, grammar } = sampling;
  const state = grammar === "" ? undefined : grammarState(binding, model, grammar);
  const sampler = new binding.AddonSampler(model);
  sampler.applyConfig({
    temperature,
    topK,
    topP,
    minP,
    seed,
    ...(state !== undefined && { grammarEvaluationState: state }),
  });
  return sampler;
}

function grammarState(binding: Binding, model: Model, grammar: string) {
  try {
    const compiled = new binding.AddonGrammar(grammar, { addonExports: binding, rootRuleName: "root" });
    return new binding.AddonGrammarEvaluationState(model, compiled);
  } catch (error) {
    throw new Refusal("INVALID_ARGUMENT", `json_schema: llama.cpp does not take its grammar: ${messageOf(error)}`);
  }
}
