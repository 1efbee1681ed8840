import { type Boot, InitService, type Phase } from "#proto/aios/init";
import { type Command, exit } from "../command.ts";
import { columns } from "../out.ts";
import { duration, moment } from "../words.ts";

/** Width of the timeline, characters. */
const barLength = 40;

export const boot: Command = {
  name: "boot",
  summary: "how the machine booted: its phases on a timeline, and what is degraded",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl boot", "aiosctl boot --json | jq .autonomyMs"],
  async run({ target, out }) {
    const boot = await target().client(InitService, "init").getBoot({});
    for (const line of timeline(boot)) out.line(line);
    out.document(boot);
    return exit.ok;
  },
};

/** A boot as people read it. */
function timeline(boot: Boot): string[] {
  const when = boot.autonomyMs > 0 ? `, autonomous ${duration(boot.autonomyMs)} after kernel start` : "";
  const end = Math.max(boot.autonomyMs, ...boot.phases.map((phase) => phase.startedMs + phase.durationMs), 1);
  const rows = boot.phases.map((phase) => row(phase, boot.phases.length, end));
  return [
    `${boot.state}${when}; kernel started ${moment(boot.kernelStartAt)} UTC, version ${boot.version || "unknown"}`,
    `first JavaScript after ${duration(boot.firstJavascriptMs)}`,
    "",
    ...columns(["phase", "start", "took", "state", "timeline"], rows),
    ...boot.phases.filter(({ detail }) => detail !== "").map(({ name, detail }) => `${name}: ${detail}`),
    ...(boot.faults.length > 0 ? ["", "Faults:", ...boot.faults.map((fault) => `  ${fault}`)] : []),
  ];
}

function row(phase: Phase, phases: number, endMs: number): string[] {
  const begun = phase.state !== "pending";
  const from = Math.min(barLength - 1, Math.floor((phase.startedMs / endMs) * barLength));
  const length = Math.min(barLength - from, Math.max(1, Math.round((phase.durationMs / endMs) * barLength)));
  return [
    `${phase.number}/${phases} ${phase.name}`,
    begun ? duration(phase.startedMs) : "-",
    begun ? duration(phase.durationMs) : "-",
    phase.state,
    begun ? " ".repeat(from) + "█".repeat(length) : "",
  ];
}
