/**
 * What each process of the machine may reach. One table: init makes the sockets' folders from it.
 * This file imports nothing but the manifest.
 */

/** The daemons that a process calls: each listens for it on a socket of its own. Processes that are not here call none. */
export const calls: Readonly<Record<string, readonly string[]>> = {
  // Starts all, and asks whether they are well.
  init: ["runtime", "memory", "tools", "gateway", "orchestrator", "console"],
  // Vectors and the counting of tokens.
  memory: ["runtime"],
  // The service and system tools.
  tools: ["init"],
  // Budgets that are nearly spent become events.
  gateway: ["memory"],
  orchestrator: ["init", "runtime", "memory", "tools", "gateway"],
  // Passes on what operators call.
  console: ["init", "runtime", "memory", "tools", "gateway", "orchestrator"],
  // A person at the machine's own shell.
  ctl: ["init", "runtime", "memory", "tools", "gateway", "orchestrator"],
};
