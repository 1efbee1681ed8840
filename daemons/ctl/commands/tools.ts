import { AiosError, messageOf } from "#lib/errors";
import { uuidv7 } from "#lib/ids";
import { approvalHeader, executionHeader, irreversibleHeader } from "#lib/rpc/service";
import { ToolRolesService } from "#proto/aios/tool_roles";
import { ToolRegistryService } from "#proto/aios/tools";
import { type Command, type Context, exit, text, UsageError } from "../command.ts";
import { fromBytes } from "../out.ts";
import { duration } from "../words.ts";

const rolesOf = async (context: Context) => {
  const { tools } = await context.target().client(ToolRolesService, "tools").listRoles({});
  return new Map(tools.map((tool) => [tool.name, tool]));
};

const client = (context: Context) => context.target().client(ToolRegistryService, "tools");

export const toolsList: Command = {
  name: "tools",
  summary: "the tools that agents work with",
  usage: "[NAMESPACE]",
  args: [0, 1],
  examples: ["aiosctl tools", "aiosctl tools fs"],
  async run(context) {
    const { out, args } = context;
    const { tools } = await client(context).listTools({ namespace: args[0] ?? "" });
    const roles = await rolesOf(context);
    const rows = tools.map((tool) => [
      tool.name,
      roles.get(tool.name)?.role ?? "-",
      tool.riskLevel,
      tool.reversible ? "yes" : "no",
      tool.requiredCapabilities.join(" ") || "-",
      tool.description,
    ]);
    out.table(["tool", "role", "risk", "undo", "needs", "what it does"], rows);
    out.document({ tools: tools.map((tool) => ({ ...tool, role: roles.get(tool.name)?.role ?? "" })) });
    return exit.ok;
  },
};

/** A protected place, as sec.protected tells of it. */
interface Place {
  readonly paths: readonly string[];
  readonly change: keyof typeof changers;
  readonly read: string;
  readonly holds: string;
  readonly breaks: string;
  readonly way: string;
}

/** The changer of a place by its path, as people read it. */
const changers = {
  granted: "an admin, and agents that were granted it",
  admin: "an admin, who is asked",
  nobody: "nobody",
} as const;

export const toolsProtected: Command = {
  name: "tools protected",
  summary: "the places that the machine stands on: who may change each, what that breaks, what changes it instead",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl tools protected", "aiosctl tools protected --json | jq -r .places[].paths[]"],
  async run(context) {
    const { out } = context;
    const { places } = (await callTool(context, "sec.protected", {})) as { places: readonly Place[] };
    for (const { paths, change, read, holds, breaks, way } of places) {
      out.line(paths.join(" "));
      out.line(`  holds ${holds}; read by ${read === "granted" ? "whoever was granted it" : read}`);
      out.line(`  changed by path by ${changers[change]}${way && `; or by ${way}`}`);
      out.line(`  a change breaks ${breaks}`);
    }
    out.note("but for what is granted, agents never change these by naming a path");
    out.document({ places });
    return exit.ok;
  },
};

export const toolShow: Command = {
  name: "tool show",
  summary: "one tool, with the schemas of its input and output",
  usage: "NAME",
  args: [1, 1],
  examples: ["aiosctl tool show fs.write", "aiosctl tool show fs.write --json | jq .inputSchema"],
  async run(context) {
    const { out } = context;
    const tool = await client(context).getTool({ name: context.args[0] ?? "" });
    out.line(`${tool.name} ${tool.version}: ${tool.description}`);
    out.line(
      `  needs ${tool.requiredCapabilities.join(", ") || "nothing"}; risk ${tool.riskLevel}; ends after ${duration(tool.timeoutMs)}`,
    );
    const { role, adminWhen, askedWhen } = (await rolesOf(context)).get(tool.name) ?? { role: "unknown" };
    out.line(`  role ${role}${adminWhen ? `; critical, and for an admin, ${adminWhen}` : ""}`);
    if (askedWhen) out.line(`  a person is asked about agents' calls: ${askedWhen}`);
    out.line(
      `  ${tool.reversible ? "can be undone" : "cannot be undone"}; ${tool.idempotent ? "may be repeated" : "is not to be repeated"}`,
    );
    out.line(`input  ${JSON.stringify(fromBytes(tool.inputSchema), null, 2)}`);
    out.line(`output ${JSON.stringify(fromBytes(tool.outputSchema), null, 2)}`);
    out.document({ ...tool, role });
    return exit.ok;
  },
};

export const toolCall: Command = {
  name: "tool call",
  summary: "call a tool yourself; it goes into the ledger like any agent's call",
  usage: "NAME [JSON] [--reason TEXT]",
  args: [1, 2],
  options: { reason: { type: "string", value: "TEXT", about: "why, for the ledger" } },
  examples: [
    "aiosctl tool call monitor.memory",
    'aiosctl tool call fs.write \'{"path":"/srv/x","content":"hello"}\'',
    'aiosctl tool call fs.read \'{"path":"/var/lib/aios/reports/disk.txt"}\' --json | jq -r .output.content',
  ],
  async run(context) {
    const { out, args } = context;
    const [toolName = "", input = "{}"] = args;
    const reason = text(context, "reason") ?? "called with aiosctl";
    const request = { toolName, agentId: "", taskId: "", inputJson: json(input), reason };
    let final = "";
    const onTold = (header: (name: string) => string | undefined) => {
      const approval = header(approvalHeader);
      if (approval !== undefined) out.note(`it waits for an approval: aiosctl approvals show ${approval}`);
      final = header(irreversibleHeader) ?? final;
    };
    const options = { ...optionsOf(context, callTimeoutMs), onTold };
    const answer = await client(context).execute(request, options);
    const { executionId } = answer;
    const output = fromBytes(answer.outputJson);
    out.line(answer.success ? JSON.stringify(output, null, 2) : `failed: ${answer.error}`);
    const undo =
      answer.backupId === ""
        ? final && `; it cannot be taken back: ${final}`
        : `; aiosctl rollback ${executionId} takes it back`;
    out.note(`execution ${executionId}, ${duration(answer.durationMs)}${undo}`);
    const ledger = await ledgerEntry(context, executionId);
    out.note(typeof ledger === "string" ? ledger : `ledger entry ${ledger.sequence}, ${ledger.state}, ${ledger.hash}`);
    const entry = typeof ledger === "string" ? null : ledger;
    out.document({ ...answer, outputJson: undefined, output, ledger: entry });
    return answer.success ? exit.ok : exit.failed;
  },
};

interface LedgerEntry {
  readonly sequence: number;
  readonly state: string;
  readonly hash: string;
}

/** The ledger's entry of an execution, or why there is none to show: the call itself is done by then. */
async function ledgerEntry(context: Context, executionId: string): Promise<LedgerEntry | string> {
  try {
    const filter = { execution_id: executionId, limit: 1 };
    const found = (await callTool(context, "sec.audit", filter, "aiosctl tool call")) as { entries: LedgerEntry[] };
    return found.entries[0] ?? "the ledger has no entry of it";
  } catch (error) {
    return `its ledger entry cannot be read: ${messageOf(error)}`;
  }
}

/** Calls a tool for a command and gives back its output. Throws FAILED_PRECONDITION with the tool's error. */
export async function callTool(
  context: Context,
  toolName: string,
  input: object,
  reason = "called with aiosctl",
  timeoutMs = 30_000,
): Promise<unknown> {
  const inputJson = Buffer.from(JSON.stringify(input));
  const request = { toolName, agentId: "", taskId: "", inputJson, reason };
  const answer = await client(context).execute(request, optionsOf(context, timeoutMs));
  if (!answer.success) throw new AiosError("FAILED_PRECONDITION", answer.error);
  return fromBytes(answer.outputJson);
}

/** Each call has an id of its own, whichever way it takes to the tools: there it is begun at most once. */
export function optionsOf({ clock, signal }: Context, timeoutMs: number) {
  return { timeoutMs, signal, headers: { [executionHeader]: uuidv7(clock.now()) } };
}

/** Longer than any tool's own limit: the tool says what took too long, not the line. */
const callTimeoutMs = 660_000;

function json(input: string): Buffer {
  try {
    return Buffer.from(JSON.stringify(JSON.parse(input)));
  } catch (error) {
    throw new UsageError(`the tool's input is not JSON: ${(error as Error).message}`);
  }
}
