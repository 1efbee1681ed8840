import { fsInputs, gitInputs, keptInputs } from "./worst/files.ts";
import { containerInputs, processInputs, serviceInputs } from "./worst/programs.ts";
import { netInputs, secInputs, settingInputs, type Ticket } from "./worst/settings.ts";
import { type Ground, type Inputs, tricksOn } from "./worst/words.ts";

export type { Held, Worst } from "./worst/words.ts";

/**
 * The worst that a caller can say to each tool of the catalogue to have what is root's: change what the machine stands on or goes
 * by, read its secrets, run a program as root.
 */
export function worstInputs(ground: Ground, ticket: Ticket): Inputs {
  const tricks = tricksOn(ground);
  return {
    ...fsInputs(tricks),
    ...processInputs(tricks),
    ...settingInputs(tricks),
    ...keptInputs(tricks),
    ...serviceInputs(tricks),
    ...gitInputs(tricks),
    ...containerInputs(tricks),
    ...netInputs(tricks),
    ...secInputs(tricks, ticket),
  };
}
