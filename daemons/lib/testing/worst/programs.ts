import { above, admin, type Inputs, malformed, nobody, nothing, type Tricks } from "./words.ts";

/** Programs and processes. */
export const processInputs = ({ secrets, folders, plain, state, etc, work }: Tricks): Inputs => ({
  "process.spawn": [
    admin({ command: "/bin/cat", args: secrets }),
    admin({ command: "/bin/sh", args: ["-c", "id"], user: "root", sandbox: true }),
    admin({ command: "/bin/sh", sandbox: false }),
    nothing({ command: "/bin/cat", args: [...secrets, "/etc/shadow"], sandbox: true }),
    ...folders.map((cwd) => nobody({ command: "/bin/cat", args: secrets, cwd, sandbox: true })).slice(1),
    nothing({ command: "/bin/cat", args: secrets, cwd: work, sandbox: true }),
    nothing({ command: "/bin/sh", args: ["-c", `echo walk > ${etc}/security/policy.toml`], cwd: etc, sandbox: true }),
    nothing({
      command: "/bin/sh",
      args: ["-c", "echo walk > /etc/ld.so.preload; cat /proc/1/environ"],
      sandbox: true,
    }),
    nothing({ command: "/bin/true", sandbox: true, env: { LD_PRELOAD: `${work}/mine` } }),
    nothing({ command: "/usr/bin/mount", args: ["-t", "tmpfs", "none", "/etc"], sandbox: true }),
    nobody({ command: `${state}/console/ca.key`, sandbox: true }),
  ],
  "process.list": plain,
  "process.info": [nothing({ pid: 1 })],
  "process.output": [nothing({ pid: 1 })],
  "process.wait": [nothing({ pid: 1, timeout_seconds: 0 })],
  "process.signal": [nothing({ pid: 1, signal: "KILL" }), nothing({ pid: 2, signal: "STOP" })],
  "process.kill": [nothing({ pid: 1, grace_seconds: 0 })],
  "process.cgroup": [
    nothing({ group_name: "walk", pid: 1 }),
    malformed({ group_name: "../../aios", pid: 1 }),
    malformed({ group_name: "walk/../..", remove: true }),
  ],
});

/** Services and packages. */
export const serviceInputs = ({ name, daemon, packages, plain }: Tricks): Inputs => ({
  "service.list": plain,
  "service.status": daemon,
  "service.logs": daemon,
  "service.define": [
    admin({ name: "walk", argv: ["/bin/sh", "-c", "id"], start: true }),
    admin({ name: "walk", argv: ["/bin/sh"], user: "root" }),
    admin({ name: "walk", argv: ["/bin/sh"], user: "aios-console" }),
    admin({ name: "walk", argv: ["/bin/sh"], user: "own", network: true }),
    nothing({ name: "memory", argv: ["/bin/sh"], user: "own" }),
    malformed({ name: "../x", argv: ["/bin/sh"] }),
  ],
  "service.start": daemon,
  "service.stop": daemon,
  "service.restart": [nothing(name("tools")), malformed(name("../x"))],
  "service.enable": daemon,
  "service.disable": daemon,
  "pkg.search": [nothing({ query: "-oDir::Bin::dpkg=/bin/sh" })],
  "pkg.info": packages.slice(0, 3),
  "pkg.list": [nothing({}), malformed({ pattern: "-x y" })],
  "pkg.history": plain,
  "pkg.install": packages,
  "pkg.remove": [...packages.slice(0, 3), nothing({ name: "base-files", purge: true })],
  "pkg.update": plain,
  "pkg.upgrade": plain,
  "pkg.lock": packages.slice(0, 3),
  "pkg.unlock": packages.slice(0, 3),
  "pkg.check_vuln": plain,
});

/** Containers. */
export const containerInputs = ({ secrets, folders, name, container, plain, state, etc, work }: Tricks): Inputs => ({
  "container.pull_or_load": [
    ...secrets.map((archive) => nobody({ archive })),
    ...["dir:/etc", `docker-archive:${state}/console/ca.key`, "containers-storage:x", "oci:/etc"].map((image) =>
      malformed({ image }),
    ),
    malformed({ image: "--all" }),
  ],
  "container.create": [
    ...above
      .map((source) => ({ source, target: "/host" }))
      .map((one) => nobody({ name: "walk", image: "x", volumes: [one] }))
      .slice(0, 2),
    ...["/etc", "/usr", "/etc/aios-walk", etc].map((source) =>
      source === "/etc/aios-walk"
        ? nothing({ name: "walk", image: "x", volumes: [{ source, target: "/host" }] })
        : admin({ name: "walk", image: "x", volumes: [{ source, target: "/host" }] }),
    ),
    ...[...folders, `${work}/state`].map((source) =>
      nobody({ name: "walk", image: "x", volumes: [{ source, target: "/host", read_only: true }] }),
    ),
    admin({ name: "walk", image: "x", network: "host" }),
    malformed({ name: "walk", image: "--privileged" }),
  ],
  "container.start": container,
  "container.stop": container,
  "container.remove": [admin(name("walk"))],
  "container.exec": [nothing({ name: "walk", argv: ["id"] }), malformed({ name: "--privileged", argv: ["id"] })],
  "container.list": plain,
  "container.logs": container,
});
