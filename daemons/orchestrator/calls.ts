import { AiosError } from "#lib/errors";
import { type CallOptions, type Client, executionHeader, interruptedHeader, withdrawHeader } from "#lib/rpc/service";
import type { ExecuteResponse, ToolRegistryService } from "#proto/aios/tools";
import type { Json } from "./json.ts";

/** A call of a tool, known by the id that whoever decided it gave it. */
export interface Call {
  /** The execution's: a UUID. */
  readonly id: string;
  readonly tool: string;
  readonly input: Json;
  /** For whom it is made, for the ledger. */
  readonly agent: string;
  readonly taskId: string;
  readonly reason: string;
}

/** The end of a call that nothing is heard of. */
export type Fate =
  /** It has not begun, and does not begin any more. */
  | { readonly kind: "never" }
  | { readonly kind: "running" }
  | { readonly kind: "ended"; readonly answer: ExecuteResponse }
  /** aios-tools ended while it ran: it may have had its effect. */
  | { readonly kind: "interrupted" }
  /** It was refused before anything was done. */
  | { readonly kind: "refused"; readonly error: string };

/** A call as the ledger tells it. */
export interface AuditedCall {
  readonly execution_id: string;
  readonly state: "waiting" | "open" | "done" | "failed" | "interrupted" | "refused";
  /** JSON; a long one is its hash and beginning instead. */
  readonly output: string;
  readonly error: string;
  readonly duration_ms: number | null;
  readonly reversible: boolean;
}

/** The tools said no before anything was done. */
export const refusals: ReadonlySet<string> = new Set([
  "INVALID_ARGUMENT",
  "NOT_FOUND",
  "PERMISSION_DENIED",
  "RESOURCE_EXHAUSTED",
  "FAILED_PRECONDITION",
  "ABORTED",
  "OUT_OF_RANGE",
  "UNIMPLEMENTED",
]);

/** The tools' answer to a call. */
interface Answer extends ExecuteResponse {
  /** They ended before it was known what came of it: it may have had its effect. */
  readonly interrupted: boolean;
}

/** Calls of tools under ids: each is begun at most once, and the ledger answers for the id. */
interface Calls {
  /** Makes a call, or hears what came of it when it was made before. Throws what refuses it. */
  make(call: Call, options?: Omit<CallOptions, "onTold">): Promise<Answer>;
  /** Sees to it that a call does not begin any more, unless it has. Throws UNAVAILABLE while that cannot be told. */
  withdraw(call: Call): Promise<Fate>;
  /** Looks up a call in the ledger; undefined = it is not there. `asker`: for whom it is looked up. */
  audited(id: string, asker: Pick<Call, "agent" | "taskId">): Promise<AuditedCall | undefined>;
}

export function callsOver(client: Pick<Client<typeof ToolRegistryService>, "execute">, newId: () => string): Calls {
  const make = async (call: Call, { headers, ...options }: CallOptions = {}): Promise<Answer> => {
    const { id, tool: toolName, agent: agentId, taskId, reason } = call;
    const request = { toolName, agentId, taskId, inputJson: Buffer.from(JSON.stringify(call.input)), reason };
    let interrupted = false;
    const answer = await client.execute(request, {
      ...options,
      headers: { ...headers, [executionHeader]: id },
      onTold(header) {
        interrupted ||= header(interruptedHeader) === "yes";
      },
    });
    return { ...answer, interrupted };
  };
  return {
    make,
    async withdraw(call) {
      try {
        const answer = await make(call, { headers: { [withdrawHeader]: "yes" } });
        return answer.interrupted ? { kind: "interrupted" } : { kind: "ended", answer };
      } catch (error) {
        if (!(error instanceof AiosError)) throw error;
        if (error.code === "ABORTED") return { kind: "never" };
        if (error.code === "FAILED_PRECONDITION") return { kind: "running" };
        if (error.code !== "RESOURCE_EXHAUSTED" && refusals.has(error.code))
          return { kind: "refused", error: error.message };
        throw error;
      }
    },
    async audited(id, asker) {
      const input = { execution_id: id, limit: 1 };
      const call = { ...asker, id: newId(), tool: "sec.audit", input, reason: `what became of ${id}` };
      const answer = await make(call);
      if (!answer.success) throw new AiosError("UNAVAILABLE", `sec.audit: ${answer.error}`);
      const { entries = [] } = JSON.parse(answer.outputJson.toString("utf8")) as { entries?: readonly AuditedCall[] };
      return entries[0];
    },
  };
}

/** The output of a tool, as the ledger gives it; undefined when it was too long to be kept there. */
export function wholeOutput(json: string): string | undefined {
  const value: unknown = JSON.parse(json || "{}");
  const keys = Object.keys(Object(value)).toSorted();
  return keys.join() === "begins,bytes,sha256" ? undefined : json;
}
