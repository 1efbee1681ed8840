/**
 * What tools of several namespaces are made of: words, programs and their sandbox, entries of folders, the network.
 * The namespaces come in, and tools.ts for what may leave the machine.
 */
export { reachOf } from "./addresses.ts";
export { diffOfWrite, unifiedDiff } from "./diff.ts";
export {
  changedSince,
  copyEntry,
  type Entry,
  lookAt,
  mountedThere,
  placeFor,
  refused,
  removeEntry,
  temporaryOf,
  withEntry,
} from "./entry.ts";
export { type HttpAnswer, readBody, send } from "./http.ts";
export { keepEntry, putBackEntry, tarKeeps } from "./kept-entry.ts";
export { type KernelFolders, known, linkName, linkTarget, namesIn, numberOf, round, textOf } from "./kernel-files.ts";
export {
  cidr,
  familyOf,
  interfaceName,
  type Link,
  type Route,
  readLink,
  readLinks,
  readRoutes,
  routeWords,
  setByIp,
} from "./links.ts";
export {
  attachedSubnets,
  checkPort,
  dnsRecords,
  measureRates,
  ownHost,
  probeAddresses,
  readCounters,
  readPing,
  recordTypes,
  scanPorts,
  withoutPort,
} from "./network-probes.ts";
export { networkSettings, type Outbound, openOutbound, reachable } from "./outbound.ts";
export {
  type Ended,
  fixedEnvironment,
  type ProgramOptions,
  programFailed,
  runProgram,
  succeed,
  undoSignal,
} from "./program.ts";
export { exchange, removeAside, settleAside } from "./put-aside.ts";
export { alsoLocal, answerFields, answerOf, bodyLimit, headersField, requestOf, urlField } from "./requests.ts";
export { type Argv, type Confinement, filterDescriptor, sandboxCommand, sandboxLimits } from "./sandbox.ts";
export { showArrival, shownMax, showRemoval } from "./shown-entry.ts";
export { holdersOf, readConnections } from "./sockets.ts";
export { eachOnce, type Measure, measure, takenBytes, type Visited, walk } from "./tree.ts";
export { absolutePath, agentName, named, object, serviceName, timestamp } from "./words.ts";
export { contentMaxBytes, placeFile, planWrite, undoWrite, type WritePlan, writeFile } from "./write.ts";
