import type { Role } from "#lib/identity/role";

/**
 * The rules of the management port: who may call what, and which daemon answers. A call that is in no list is refused.
 * `nobody`: calls that only the machine's own daemons and agents make, on their sockets.
 */
interface Row {
  readonly daemon: string;
  readonly reader?: readonly string[];
  readonly operator?: readonly string[];
  readonly admin?: readonly string[];
  readonly nobody?: readonly string[];
}

/** Full name of a service → its row. */
const table: Readonly<Record<string, Row>> = {
  "aios.orchestrator.Orchestrator": {
    daemon: "orchestrator",
    reader: [
      "GetGoalStatus",
      "ListGoals",
      "ListAgents",
      "GetSystemStatus",
      "ListSchedules",
      "ListNodes",
      "FindService",
    ],
    operator: ["SubmitGoal", "CancelGoal", "CreateSchedule", "DeleteSchedule", "RegisterService"],
    nobody: [
      ...["RegisterAgent", "UnregisterAgent", "Heartbeat", "GetAssignedTask", "ReportTaskResult", "StreamProgress"],
      ...["RequestCapability", "RevokeCapability", "RequestSubTask", "RequestInference"],
      ...["RegisterNode", "NodeHeartbeat"],
    ],
  },
  "aios.orchestrator.GoalControl": {
    daemon: "orchestrator",
    reader: ["WatchGoal", "ExplainGoal", "ListKnownGoals"],
    operator: ["PauseGoal", "ResumeGoal", "AnswerGoal"],
  },
  "aios.orchestrator.Sessions": {
    daemon: "orchestrator",
    reader: ["ListSessions", "GetSession", "FollowSession", "ReplaySession"],
    operator: ["OpenSession", "Say", "InterruptSession", "CloseSession", "ForkSession", "RewindSession"],
  },
  "aios.orchestrator.Autonomy": {
    daemon: "orchestrator",
    reader: ["GetAutonomy"],
    operator: ["EmergencyStop", "EmergencyResume"],
    admin: ["SetAutonomy"],
  },
  "aios.orchestrator.Duties": { daemon: "orchestrator", nobody: ["Report", "GetWatchList", "Listen"] },
  "aios.tools.ToolRegistry": {
    daemon: "tools",
    // Which tools a reader may call the tools say themselves, and refuse the rest.
    reader: ["ListTools", "GetTool", "Execute"],
    operator: ["Rollback"],
    admin: ["Register", "Deregister"],
  },
  "aios.tools.ToolRoles": { daemon: "tools", reader: ["ListRoles"] },
  "aios.tools.Holding": { daemon: "tools", nobody: ["SetHeld"] },
  "aios.tools.ToolHandler": { daemon: "tools", nobody: ["Check", "Run", "Undo"] },
  "aios.runtime.AIRuntime": {
    daemon: "runtime",
    reader: ["ListModels", "HealthCheck", "CountTokens", "GetMetrics"],
    operator: ["Infer", "StreamInfer", "Embed", "LoadModel", "UnloadModel", "PullModel", "VerifyModels"],
    admin: ["AddModel", "RemoveModel"],
  },
  "aios.memory.MemoryService": {
    daemon: "memory",
    reader: [
      ...["GetRecentEvents", "GetMetric", "GetSystemSnapshot", "GetActiveGoals", "GetTasksForGoal", "FindPattern"],
      ...["GetAgentState", "SemanticSearch", "SearchKnowledge", "AssembleContext"],
    ],
    operator: ["AddKnowledge"],
    nobody: [
      ...["PushEvent", "UpdateMetric", "StoreGoal", "UpdateGoal", "StoreTask", "StoreToolCall", "StoreDecision"],
      ...[
        "StorePattern",
        "UpdatePatternStats",
        "StoreAgentState",
        "StoreProcedure",
        "StoreIncident",
        "StoreConfigChange",
      ],
    ],
  },
  "aios.memory.MemoryQuery": {
    daemon: "memory",
    reader: [
      ...["GetGoal", "ListGoals", "SearchStatus", "WatchEvents", "GetMetricHistory", "ListTasks", "ListToolCalls"],
      ...["ListDecisions", "ListPatterns", "ListProcedures", "ListAgentStates", "Search", "GatherContext"],
    ],
    nobody: ["SetDecisionOutcome"],
  },
  "aios.memory.MemoryAdmin": {
    daemon: "memory",
    reader: ["GetStats", "ListBackups"],
    operator: ["Export"],
    admin: ["Backup", "Restore", "RestoreFrom", "ReadBackup"],
  },
  "aios.memory.EventJournal": {
    daemon: "memory",
    reader: ["Read", "Head", "Subscribe", "ListSessions", "ListBranches"],
    nobody: ["Append", "Fork"],
  },
  "aios.api_gateway.ApiGateway": {
    daemon: "gateway",
    reader: ["GetBudget", "GetUsage"],
    operator: ["Infer", "StreamInfer"],
  },
  "aios.api_gateway.Secrets": { daemon: "gateway", admin: ["SetSecret", "ListSecrets", "RemoveSecret"] },
  "aios.init.Init": {
    daemon: "init",
    reader: ["ListUnits", "GetUnit", "WatchUnits", "GetBoot", "GetHardware", "ReadLogs"],
    operator: ["StartUnit", "StopUnit", "RestartUnit", "EnableUnit", "DisableUnit"],
    admin: ["Shutdown", "Reboot"],
    nobody: ["HoldServices", "WatchKeyboard"],
  },
  "aios.agent.Agent": { daemon: "agents", nobody: ["ExecuteTask", "CancelTask", "GetStatus", "Shutdown"] },
  "aios.console.Enrollment": { daemon: "console", nobody: ["Enroll"] },
};

/** One call: its path on the wire, who answers it, and the least role that may make it (undefined: nobody). */
export interface Rule {
  readonly path: string;
  readonly daemon: string;
  readonly least: Role | undefined;
}

/** The table, one rule for each call. */
export const rules: readonly Rule[] = Object.entries(table).flatMap(([service, row]) => {
  const of = (methods: readonly string[] | undefined, least: Role | undefined) =>
    (methods ?? []).map((method) => ({ path: `/${service}/${method}`, daemon: row.daemon, least }));
  return [
    ...of(row.reader, "reader"),
    ...of(row.operator, "operator"),
    ...of(row.admin, "admin"),
    ...of(row.nobody, undefined),
  ];
});

/** The services of which someone may call something, and the daemon of each. */
export const offered: ReadonlyMap<string, string> = new Map(
  Object.entries(table)
    .filter(([, row]) => row.reader ?? row.operator ?? row.admin)
    .map(([service, row]) => [service, row.daemon]),
);
