import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { writeBringUpModel } from "../model/bring-up.ts";
import type { Step } from "../step.ts";

export const bringUpModel = "aios-bringup-5m.gguf";

/** The bring-up model (`aios-bringup-5m.gguf`): random weights, there to prove that loading and generation work. */
export function modelStep(): Step {
  return {
    name: "model",
    files: ["image/steps/model.ts", "image/model"],
    params: {},
    needs: [],
    run: async ({ out }) => {
      mkdirSync(out, { recursive: true });
      writeBringUpModel(join(out, bringUpModel));
    },
  };
}
