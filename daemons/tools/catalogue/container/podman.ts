/**
 * The line of `sh -c` is one of two in the house (the other: a service's). podman must be in its control group before
 * it begins, or what it forks at once stays outside. The constant line writes its own number into the group's file and
 * becomes the program; group, program and arguments are its parameters, which a shell never reads as words of its own.
 */
import { existsSync, mkdirSync } from "node:fs";
import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { type Argv, type Ended, type ProgramOptions, programFailed, runProgram } from "../shared/index.ts";

export const containerName = Type.String({
  pattern: "^[a-z0-9][a-z0-9_.-]{0,63}$",
  description: "a container's name",
});

/** The words that podman takes for another way to an image than a registry (containers-transports(5)). */
const transports =
  "containers-storage|dir|docker|docker-archive|docker-daemon|oci|oci-archive|ostree|sif|tarball|atomic";

/** `registry/name:tag`, or an image's id. Nothing that podman would take for an option, or for a path of this machine. */
export const imageName = Type.String({
  pattern: `^(?!(${transports}):)[A-Za-z0-9][A-Za-z0-9._/:@-]{0,255}$`,
  description: "an image's name, or its id",
});

/** The control group of what watches over containers: in the daemon's own it would end with the daemon, whatever podman says. */
const watchersGroup = "/sys/fs/cgroup/aios-containers";

/**
 * Joins a group and becomes podman, so that what podman leaves behind is in there too: nothing else starts a process in a
 * group. The line is constant, and what follows are its parameters: no shell reads them as words.
 */
const joinGroup = 'echo 0 > "$1/cgroup.procs" && shift && exec "$@"';

export interface Podman {
  /** Starts a container, so that it outlives this daemon. */
  start(name: string, options: ProgramOptions): Promise<void>;
  /** Runs podman; must succeed. */
  run(args: readonly string[], options: ProgramOptions): Promise<string>;
  /** Runs podman; any exit status but "not installed" resolves. */
  ask(args: readonly string[], options: ProgramOptions): Promise<Ended>;
  /** What podman knows of a container; undefined when there is none. */
  container(name: string, options: ProgramOptions): Promise<ContainerFacts | undefined>;
  /** Pauses what agents made and runs, or lets it go on. Does nothing where podman is not installed. */
  hold(held: boolean): Promise<void>;
  /** The machine's files and folders that a container sees. */
  lent(name: string, options: ProgramOptions): Promise<readonly Lent[]>;
  /** The id of an image; undefined when it is not on this machine. */
  image(name: string, options: ProgramOptions): Promise<string | undefined>;
}

interface ContainerFacts {
  readonly id: string;
  readonly running: boolean;
  readonly exitCode: number;
}

/** A stop is answered within a second; what takes longer ends by itself. */
const holdTimeoutMs = 30_000;

/** A container's label that says which agent made it; people's have none. */
export const agentLabel = "aios.agent";

interface Lent {
  readonly source: string;
  readonly readOnly: boolean;
}

/** A line for each of a container's bind mounts, in a template of Go's as podman-inspect(1) has it. */
const lentFormat = '{{range .Mounts}}{{if eq .Type "bind"}}{{.RW}} {{.Source}}{{"\\n"}}{{end}}{{end}}';

/**
 * Podman with its images and containers in `folder`, which lies on the data volume: the root is an overlay, and overlays
 * do not stack. No systemd is there, so that control groups are podman's own.
 */
export function openPodman(folder: string): Podman {
  const settings = [
    ...[`--root=${folder}/storage`, `--runroot=/run/containers`, "--cgroup-manager=cgroupfs"],
    ...["--events-backend=none", "--log-level=error"],
  ];
  const ask: Podman["ask"] = async (args, options) => {
    const argv: Argv = ["podman", ...settings, ...args];
    try {
      return await runProgram(argv, options);
    } catch (error) {
      throw isMissing(error) ? notInstalled() : error;
    }
  };
  const run: Podman["run"] = async (args, options) => {
    const ended = await ask(args, options);
    if (ended.exitCode === 0) return ended.stdout;
    throw programFailed(["podman", ...args], ended);
  };
  return {
    ask,
    run,
    start: async (name, options) => {
      // Asked first: without podman the shell's complaint would be the answer.
      await ask(["version", "--format={{.Client.Version}}"], options);
      const words = ["podman", ...settings, "container", "start", name] as const;
      const joined = existsSync("/sys/fs/cgroup/cgroup.procs");
      if (joined) mkdirSync(watchersGroup, { recursive: true });
      const argv: Argv = joined ? ["/bin/sh", "-c", joinGroup, "sh", watchersGroup, ...words] : words;
      const ended = await runProgram(argv, options);
      if (ended.exitCode !== 0) throw programFailed(words, ended);
    },
    container: async (name, options) => {
      const format = "--format={{.Id}} {{.State.Running}} {{.State.ExitCode}}";
      const found = await ask(["container", "inspect", format, name], options);
      const [, id, running, exitCode] = /^([0-9a-f]+) (true|false) (-?\d+)$/m.exec(found.stdout) ?? [];
      if (found.exitCode !== 0 || id === undefined) return undefined;
      return { id, running: running === "true", exitCode: Number(exitCode) };
    },
    hold: async (held) => {
      const [act, from] = held ? ["pause", "running"] : ["unpause", "paused"];
      const options = { signal: timeoutSignal(holdTimeoutMs) };
      const words = ["container", "ls", "--quiet", `--filter=label=${agentLabel}`, `--filter=status=${from}`];
      const found = await runProgram(["podman", ...settings, ...words], options).catch((error) => {
        if (isMissing(error)) return undefined;
        throw error;
      });
      if (found === undefined) return;
      if (found.exitCode !== 0) throw programFailed(["podman", ...words], found);
      const ids = found.stdout.split("\n").filter((line) => line !== "");
      if (ids.length > 0) await run(["container", act, ...ids], options);
    },
    lent: async (name, options) => {
      const text = await run(["container", "inspect", `--format=${lentFormat}`, name], options);
      const lines = [...text.matchAll(/^(true|false) (\/.*)$/gm)];
      return lines.map(([, writable, source = ""]) => ({ source, readOnly: writable === "false" }));
    },
    image: async (name, options) => {
      const found = await ask(["image", "inspect", "--format={{.Id}}", name], options);
      return found.exitCode === 0 ? found.stdout.trim() : undefined;
    },
  };
}

const isMissing = (error: unknown) =>
  error instanceof AiosError && error.message.includes("there is no such program on this machine");

function notInstalled(): AiosError {
  return new AiosError("FAILED_PRECONDITION", {
    act: "run",
    object: "podman",
    reason: "it is not installed: the image leaves it to machines that want it",
    next: 'install it with pkg.install {"name":"podman"}',
  });
}

export function refused(act: string, name: string, reason: string, next?: string): AiosError {
  const fault = { act, object: `container ${name}`, reason };
  return new AiosError("FAILED_PRECONDITION", next === undefined ? fault : { ...fault, next });
}
