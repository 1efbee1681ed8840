import type { Command } from "./command.ts";
import { agents } from "./commands/agents.ts";
import { approvalsApprove, approvalsDeny, approvalsList, approvalsShow } from "./commands/approvals.ts";
import { audit, rollback } from "./commands/audit.ts";
import { auditAcknowledge, auditExport, auditVerify } from "./commands/audit-ledger.ts";
import { autonomy, emergencyResume, emergencyStop } from "./commands/autonomy.ts";
import { boot } from "./commands/boot.ts";
import { chat, chatClose, chatList, chatShow } from "./commands/chat.ts";
import { chatFork, chatReplay, chatRewind } from "./commands/chat-branches.ts";
import { enroll } from "./commands/enroll.ts";
import { goalCancel, goalFollow, goalList, goalShow, goalSubmit } from "./commands/goal/goal.ts";
import { goalAnswer, goalPause, goalResume } from "./commands/goal/goal-control.ts";
import { goalExplain } from "./commands/goal/goal-explain.ts";
import { goalKnown } from "./commands/goal/goal-known.ts";
import { logs } from "./commands/logs.ts";
import { machinesForget, machinesList, machinesUse } from "./commands/machines.ts";
import { memoryBackup, memoryBackups, memoryExport, memoryRestore, memoryStats } from "./commands/memory.ts";
import { memoryContext, memoryIndex, memorySearch } from "./commands/memory-search.ts";
import {
  modelsAdd,
  modelsList,
  modelsLoad,
  modelsPull,
  modelsRemove,
  modelsUnload,
  modelsVerify,
} from "./commands/models.ts";
import { powerOff, powerRestart } from "./commands/power.ts";
import { providers } from "./commands/providers.ts";
import { scheduleAdd, scheduleList, scheduleRemove } from "./commands/schedule.ts";
import { secretsList, secretsRemove, secretsSet } from "./commands/secrets.ts";
import { status } from "./commands/status.ts";
import { toolCall, toolShow, toolsList, toolsProtected } from "./commands/tools.ts";
import { unitsList, unitsRestart, unitsStart, unitsStop } from "./commands/units.ts";

/** Every command, in the order of the help. */
export const commands: readonly Command[] = [
  status,
  goalSubmit,
  goalFollow,
  goalShow,
  goalExplain,
  goalKnown,
  goalList,
  goalPause,
  goalResume,
  goalAnswer,
  goalCancel,
  // What begins with the same word stands before it.
  chatList,
  chatShow,
  chatReplay,
  chatFork,
  chatRewind,
  chatClose,
  chat,
  scheduleAdd,
  scheduleList,
  scheduleRemove,
  autonomy,
  emergencyStop,
  emergencyResume,
  agents,
  toolsProtected,
  toolsList,
  toolShow,
  toolCall,
  rollback,
  approvalsList,
  approvalsShow,
  approvalsApprove,
  approvalsDeny,
  auditVerify,
  auditAcknowledge,
  auditExport,
  audit,
  modelsList,
  modelsPull,
  modelsVerify,
  modelsAdd,
  modelsRemove,
  modelsLoad,
  modelsUnload,
  memorySearch,
  memoryContext,
  memoryIndex,
  memoryStats,
  memoryBackup,
  memoryBackups,
  memoryRestore,
  memoryExport,
  providers,
  secretsList,
  secretsSet,
  secretsRemove,
  boot,
  unitsList,
  unitsStart,
  unitsStop,
  unitsRestart,
  logs,
  powerOff,
  powerRestart,
  enroll,
  machinesList,
  machinesUse,
  machinesForget,
];
