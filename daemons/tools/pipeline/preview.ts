import { timeoutSignal } from "#lib/clock";
import { AiosError, messageOf } from "#lib/errors";
import { beginning } from "#lib/text";
import type { AnyCall } from "../tool.ts";
import { visible } from "../visible.ts";
import type { Admitted } from "./gate.ts";

/** The longest preview, characters: a person reads it. */
const previewLengthMax = 20_000;

/** The words about a call for the person who is asked. */
export interface Preview {
  /** What would change; for files a diff. */
  readonly change: string;
  /** How it would be taken back. */
  readonly undo: string;
}

/**
 * Looks at what a call would do, and does nothing. The same call to the same world has the same preview.
 * Throws what the call would fail with where that shows already: nobody is asked about what cannot be done.
 */
export async function previewOf(call: Admitted, executionId: string): Promise<Preview> {
  const { tool, caller, input, resources, permits } = call;
  const signal = timeoutSignal(tool.timeoutMs);
  const forGood = tool.irreversible !== undefined;
  const given = { executionId, caller, input, resources, permits, signal, forGood } as unknown as AnyCall;
  const plain = `${tool.summary}\n${call.needs.join("\n")}`;
  const change = await (tool.preview?.(given) ?? Promise.resolve(plain)).catch((error) => {
    if (error instanceof AiosError && error.code !== "INTERNAL") throw error;
    return `${plain}\nno preview: ${messageOf(error)}`;
  });
  const undo =
    tool.irreversible === undefined
      ? `a rollback of the execution restores what was there; it is prepared before the call acts`
      : `it cannot be taken back: ${tool.irreversible}`;
  const broken = call.places.map(
    ({ paths, holds, breaks }) => `PROTECTED ${paths.join(", ")}: ${holds}; this can break ${breaks}`,
  );
  return { change: shortened(visible([...broken, change].join("\n"))), undo: visible(undo) };
}

function shortened(text: string): string {
  if (text.length <= previewLengthMax) return text;
  return `${beginning(text, previewLengthMax).toWellFormed()}\n… ${text.length - previewLengthMax} characters more`;
}
