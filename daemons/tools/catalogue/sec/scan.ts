import * as Type from "typebox";
import type { Clock } from "#lib/clock";
import { dataUnreadable, keysOutOfReach, momentOf } from "#lib/data/machine-state";
import type { State } from "../../state/state.ts";
import { reads, type Tool } from "../../tool.ts";
import type { KernelFolders } from "../hw/info.ts";
import { object } from "../shared/words.ts";
import { certificateTools } from "./certificates.ts";
import { type Check, checks, severities } from "./checks.ts";
import { integrityTool } from "./integrity.ts";

/** Findings that are told at most. */
const findingsMax = 1_000;

export interface SecurityWorld {
  readonly state: State;
  readonly clock: Clock;
  readonly kernel: KernelFolders;
  /** The machine's folders: the tools' own is below `state`, init's word of the machine in `run`. */
  readonly paths: { readonly run: string; readonly state: string };
}

/** The tools of sec that look after the machine. Those that look after grants and the ledger are in sec.ts. */
export function securityTools({ state, clock, kernel, paths }: SecurityWorld): readonly Tool[] {
  return [
    scanTool(kernel),
    integrityTool(state, clock),
    ...certificateTools(
      `${paths.state}/ledger`,
      () => momentOf(paths.run, clock),
      () => {
        if (dataUnreadable(paths.run)) throw keysOutOfReach("make", "the authority for services");
      },
    ),
  ];
}

/** `root` is the file system that is scanned. */
export const scanTool = (kernel: KernelFolders, root = "") =>
  reads({
    name: "sec.scan",
    summary:
      "Looks for weak accounts, loose files, open ports, strange processes, preloaded libraries and kernel settings.",
    input: object({
      checks: Type.Optional(
        Type.Array(Type.Enum(Object.keys(checks) as Check[]), {
          minItems: 1,
          maxItems: 16,
          description: "all unless told",
        }),
      ),
    }),
    output: object({
      findings: Type.Array(
        object({
          check: Type.String(),
          severity: Type.Enum([...severities]),
          description: Type.String(),
          details: Type.String(),
        }),
      ),
      total: Type.Integer(),
      risk_level: Type.Enum(["none", ...severities], { description: "that of the worst finding" }),
    }),
    capabilities: ["sec:scan"],
    timeoutMs: 120_000,
    run: async ({ input, signal }) => {
      const wanted = new Set(input.checks ?? (Object.keys(checks) as Check[]));
      const found = await Promise.all([...wanted].map((check) => checks[check]({ root, kernel, signal })));
      const rank = (severity: (typeof severities)[number]) => severities.indexOf(severity);
      const findings = found.flat().sort((a, b) => rank(b.severity) - rank(a.severity));
      return {
        findings: findings.slice(0, findingsMax),
        total: findings.length,
        risk_level: findings[0]?.severity ?? ("none" as const),
      };
    },
  });
