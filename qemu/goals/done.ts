import type { Probe } from "./probe.ts";
import { lacks, type SampleGoal } from "./sample.ts";

export const folder = "/srv/goals";
const reports = "/var/lib/aios/reports";

/** A file of the machine must hold just this. */
const holds = async (machine: Probe, path: string, wanted: string) => {
  const content = await machine.content(path);
  return content === wanted ? "" : `${path} holds ${JSON.stringify(content.slice(0, 200))}`;
};

const write = async (machine: Probe, path: string, content: string) =>
  void (await machine.call("fs.write", { path, content }));

/** Fifteen goals that are reached, over all eight agents. What is said of each is compared with the machine. */
export const done: readonly SampleGoal[] = [
  {
    name: "create-file",
    description: `create file ${folder}/note.txt with content it works`,
    expect: "done",
    agents: ["system"],
    check: (machine) => holds(machine, `${folder}/note.txt`, "it works"),
  },
  {
    name: "copy-file",
    description: `copy ${folder}/from.txt to ${folder}/to.txt`,
    expect: "done",
    agents: ["system"],
    prepare: (machine) => write(machine, `${folder}/from.txt`, "copied"),
    check: (machine) => holds(machine, `${folder}/to.txt`, "copied"),
  },
  {
    name: "serve-folder",
    description: `serve the files in ${folder}/site on port 8090`,
    expect: "done",
    agents: ["system", "network", "monitor"],
    prepare: (machine) => write(machine, `${folder}/site/page.txt`, "served"),
    check: async (machine) => {
      const { status, body } = await machine.call("web.http_request", { url: "http://127.0.0.1:8090/page.txt" });
      if (status !== 200 || body !== "served") return `it answers ${status}: ${body}`;
      return lacks(JSON.stringify(await machine.call("monitor.watchlist", {})), "site-8090");
    },
  },
  {
    name: "cpu-report",
    description: `report cpu usage to ${reports}/cpu.txt`,
    expect: "done",
    agents: ["monitor", "system"],
    check: async (machine) => {
      const { cores } = await machine.call("hw.info", {});
      return lacks(await machine.content(`${reports}/cpu.txt`), "busy", "load", `cores  ${cores}\n`);
    },
  },
  {
    name: "system-health",
    description: "check system health",
    expect: "done",
    agents: ["monitor", "system"],
    check: async (machine, { result }) => {
      const { total_mb } = await machine.call("monitor.memory", {});
      const { services } = (await machine.call("service.list", {})) as { services: { name: string; status: string }[] };
      return lacks(result, `of ${total_mb} MiB`, ...services.map(({ name, status }) => `  ${name}  ${status}`));
    },
  },
  {
    name: "port-check",
    description: "check whether port 9090 is open",
    expect: "done",
    agents: ["network"],
    check: async (machine, { result }) => {
      const open = async (port: number) => (await machine.call("net.check_port", { host: "127.0.0.1", port }))["open"];
      if (await open(9)) return "a port that nothing listens on is said to be open";
      return lacks(result, `Port 9090 of this machine is ${(await open(9090)) ? "open" : "closed"}.`);
    },
  },
  {
    name: "network-report",
    description: `report the network to ${reports}/network.txt`,
    expect: "done",
    agents: ["network", "system"],
    check: async (machine) => {
      const { interfaces } = (await machine.call("net.interfaces", {})) as {
        interfaces: { name: string; status: string; addresses: string[] }[];
      };
      const lines = interfaces.map(({ name, status, addresses }) => `  ${name} ${status} ${addresses.join(", ")}`);
      return lacks(await machine.content(`${reports}/network.txt`), ...lines);
    },
  },
  {
    name: "security-report",
    description: `report the security to ${reports}/security.txt`,
    expect: "done",
    agents: ["security", "system"],
    check: async (machine) => {
      const { risk_level, total } = await machine.call("sec.scan", {});
      const content = await machine.content(`${reports}/security.txt`);
      return lacks(content, `Security: risk ${risk_level}, ${total} findings`, "entries, valid");
    },
  },
  {
    name: "integrity-baseline",
    description: "take a baseline of /etc/aios/agents",
    expect: "done",
    agents: ["security"],
    check: async (machine, { result }) => {
      const path = "/etc/aios/agents";
      const { checked, differences } = await machine.call("sec.file_integrity", { mode: "check", path });
      if (differences !== 0) return `${differences} differences`;
      return lacks(result, `Remembered ${checked} files`);
    },
  },
  {
    name: "ledger-check",
    description: "verify the ledger",
    expect: "done",
    agents: ["security"],
    check: async (machine, { result }) => {
      const told = Number(/is whole: (\d+) entries/.exec(result)?.[1]);
      const { valid, entries } = await machine.call("sec.verify_ledger", { full: true });
      return valid === true && told > 0 && told <= Number(entries)
        ? ""
        : `${told} of ${entries} entries, valid ${valid}`;
    },
  },
  {
    name: "package-version",
    description: "which version of libc6 is installed",
    expect: "done",
    agents: ["package"],
    check: async (machine, { result }) => {
      const list = await machine.content("/usr/share/aios/packages.lock");
      const version = /^libc6 (\S+)/m.exec(list)?.[1];
      return lacks(result, `libc6 is installed in version ${version}.`);
    },
  },
  {
    name: "backup",
    description: `back up ${folder}/kept`,
    expect: "done",
    agents: ["storage"],
    prepare: (machine) => write(machine, `${folder}/kept/a.txt`, "to be kept"),
    check: async (machine, { result }) => {
      const { backups } = (await machine.call("backup.list", { path: `${folder}/kept` })) as {
        backups: { id: string }[];
      };
      const [id = "none"] = backups.map((backup) => backup.id);
      await machine.call("backup.restore", { id, destination: `${folder}/again` });
      return (await holds(machine, `${folder}/again/a.txt`, "to be kept")) || lacks(result, `(backup ${id})`);
    },
  },
  {
    name: "folder-size",
    description: "how large is /etc/aios",
    expect: "done",
    agents: ["storage"],
    check: async (machine, { result }) => {
      const { size_bytes, entries } = await machine.call("fs.disk_usage", { path: "/etc/aios" });
      return lacks(result, `/etc/aios holds ${size_bytes} bytes in ${entries} entries.`);
    },
  },
  {
    name: "git-repository",
    description: `create a git repository in ${folder}/project`,
    expect: "done",
    agents: ["dev"],
    check: async (machine, { result }) => {
      const { commits } = (await machine.call("git.log", { path: `${folder}/project` })) as {
        commits: { id: string }[];
      };
      return commits.length === 1 ? lacks(result, commits[0]?.id) : `${commits.length} commits`;
    },
  },
  {
    name: "planned-by-a-model",
    description: `note kernel and memory of this machine in ${folder}/task.txt`,
    expect: "done",
    agents: ["task"],
    check: async (machine) => {
      const { kernel } = await machine.call("self.version", {});
      const { total_mb } = await machine.call("monitor.memory", {});
      return holds(machine, `${folder}/task.txt`, `kernel ${kernel}, ${total_mb} MiB`);
    },
  },
];
