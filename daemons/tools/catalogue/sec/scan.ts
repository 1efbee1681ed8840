import * as Type from "typebox";
import { reads } from "../../tool.ts";
import { type KernelFolders, object } from "../shared/index.ts";
import { type Check, checks, severities } from "./checks.ts";

/** Findings that are told at most. */
const findingsMax = 1_000;

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
