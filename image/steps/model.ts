import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { bringUpFile, writeBringUpModel } from "../model/bring-up.ts";
import type { Step } from "../step.ts";

export const bringUpModel = bringUpFile;

/** The bring-up model (`aios-bringup.gguf`): random weights, there to prove that loading and generation work. */
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
