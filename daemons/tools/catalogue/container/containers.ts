import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import type { Identity } from "#lib/rpc/service";
import type { Protection } from "../../access/index.ts";
import { resolvePath } from "../../files/index.ts";
import { changes, reads, type Tool, type ToolCall, type Undo } from "../../tool.ts";
import { absolutePath, type Outbound, object } from "../shared/index.ts";
import { need } from "./images.ts";
import { agentLabel, containerName, imageName, type Podman, refused } from "./podman.ts";

const outputMaxBytes = 262_144;
const linesMax = 2_000;

const argv = Type.Array(Type.String({ maxLength: 4096, pattern: "^[^\\x00]*$" }), { minItems: 1, maxItems: 128 });

const volume = object({
  source: absolutePath,
  target: Type.String({ pattern: "^/[^\\x00,:]{1,1023}$", description: "an absolute path in the container" }),
  read_only: Type.Optional(Type.Boolean()),
});

const facts = {
  exclusive: "containers",
  risk: "medium",
  timeoutMs: 120_000,
  idempotent: true,
  capabilities: ["container:control:{name}"],
} as const;

const input = object({ name: containerName });
const output = object({ name: Type.String(), running: Type.Boolean() });

export function containersTools(podman: Podman, protection: Protection, outbound: Outbound): readonly Tool[] {
  const start = changes({
    ...facts,
    name: "container.start",
    summary: "Starts a container.",
    input,
    output,
    undo: undoRunning(podman),
    run: async ({ input: { name }, caller, signal }) => {
      await existing(podman, "start", name, signal);
      for (const { source, readOnly } of await podman.lent(name, { signal }))
        await checkLent("start", protection, source, readOnly, caller);
      await podman.start(name, { signal });
      return { name, running: (await existing(podman, "start", name, signal)).running };
    },
  });

  const stop = changes({
    ...facts,
    name: "container.stop",
    summary: "Stops a container: asks it to end, and kills it after ten seconds.",
    input,
    output,
    whenFull: "as ever",
    undo: undoRunning(podman),
    run: async ({ input: { name }, signal }) => {
      await existing(podman, "stop", name, signal);
      await podman.run(["container", "stop", "--time=10", name], { signal });
      return { name, running: (await existing(podman, "stop", name, signal)).running };
    },
  });

  const remove = changes({
    ...facts,
    name: "container.remove",
    summary: "Removes a container that is stopped, with what it wrote to its own file system.",
    input,
    output: object({ removed: Type.Boolean({ description: "there was one" }) }),
    whenFull: "as ever",
    risk: "critical",
    confirmation: true,
    irreversible: "what it wrote to its own file system is gone with it",
    preview: async ({ input: { name }, signal }) => {
      const found = await podman.container(name, { signal });
      return found === undefined
        ? `there is no container ${name}`
        : `removes container ${name} (${found.id.slice(0, 12)})`;
    },
    run: async ({ input: { name }, signal }) => {
      const found = await podman.container(name, { signal });
      if (found?.running) throw refused("remove", name, "it runs", "stop it first");
      if (found !== undefined) await podman.run(["container", "rm", "--volumes", found.id], { signal });
      return { removed: found !== undefined };
    },
  });

  const exec = changes({
    ...facts,
    name: "container.exec",
    summary: "Runs a program in a running container and gives back what it said, at most 256 KiB of each stream.",
    input: object({ name: containerName, argv }),
    output: object({
      exit_code: Type.Integer(),
      stdout: Type.String(),
      stderr: Type.String(),
      truncated: Type.Boolean(),
    }),
    capabilities: ["container:exec:{name}"],
    risk: "high",
    idempotent: false,
    confirmation: true,
    irreversible: "what a program does in a container is not recorded",
    preview: async ({ input: { name, argv: command } }) => `in container ${name} runs ${JSON.stringify(command)}`,
    run: async ({ input: { name, argv: command }, signal }) => {
      if (!(await existing(podman, "run a program in", name, signal)).running) {
        throw refused("run a program in", name, "it does not run", "start it first");
      }
      const options = { signal, timeoutMs: 110_000, stdoutMaxBytes: outputMaxBytes, stderrMaxBytes: outputMaxBytes };
      const ended = await podman.ask(["container", "exec", name, ...command], options);
      const { exitCode, stdout, stderr, truncated } = ended;
      return { exit_code: exitCode ?? -1, stdout, stderr, truncated };
    },
  });

  return [creating(podman, protection, outbound), start, stop, remove, exec, ...containerReads(podman)];
}

function creating(podman: Podman, protection: Protection, outbound: Outbound): Tool {
  return changes({
    ...facts,
    name: "container.create",
    summary:
      "Makes a container of an image that is on the machine, without starting it; without a network unless told otherwise, and never with more rights than it starts with.",
    input: object({
      name: containerName,
      image: imageName,
      argv: Type.Optional(argv),
      env: Type.Optional(
        Type.Record(Type.String({ pattern: "^[A-Za-z_][A-Za-z0-9_]{0,127}$" }), Type.String({ maxLength: 4096 }), {
          additionalProperties: false,
        }),
      ),
      volumes: Type.Optional(Type.Array(volume, { maxItems: 32 })),
      ports: Type.Optional(
        Type.Array(
          object({
            host: Type.Integer({ minimum: 1, maximum: 65_535 }),
            container: Type.Integer({ minimum: 1, maximum: 65_535 }),
          }),
          { maxItems: 32, description: "TCP ports of loopback that lead into it" },
        ),
      ),
      network: Type.Optional(Type.Enum(["none", "bridge", "host"])),
      memory_mib: Type.Optional(Type.Integer({ minimum: 8, maximum: 1_048_576 })),
      pids_max: Type.Optional(Type.Integer({ minimum: 1, maximum: 32_768 })),
    }),
    output: object({ id: Type.String(), name: Type.String() }),
    capabilities: ["container:create:{name}"],
    rootWhen: {
      what: "in the machine's own network",
      holds: async (call) => {
        // What may not be lent shows before anybody is asked.
        await volumesOf(call, protection);
        return call.input.network === "host";
      },
    },
    alsoNeeds: ["container:network:{network}", "fs:read:{source}", "fs:write:{source}"],
    idempotent: false,
    undo: {
      prepare: async ({ input: { name }, signal }) => {
        if ((await podman.container(name, { signal })) !== undefined) throw refused("create", name, "it exists");
        return { name };
      },
      restore: async ({ name }) => {
        const signal = timeoutSignal(60_000);
        const found = await podman.container(name, { signal });
        if (found?.running) throw refused("remove", name, "it runs", "roll back its start first");
        if (found !== undefined) await podman.run(["container", "rm", "--volumes", found.id], { signal });
      },
    },
    run: async (call) => {
      const { name, image, argv: command = [], network = "none" } = call.input;
      const volumes = await volumesOf(call, protection);
      if ((await podman.image(image, { signal: call.signal })) === undefined) {
        throw refused("create", name, `image ${image} is not on this machine`, "bring it with container.pull_or_load");
      }
      if (network !== "none") {
        need(call.permits, `container:network:${network}`);
        outbound.check("make container with", `network ${network}`);
      }
      const words = [...limitsOf(call.input), ...volumes];
      const maker = call.caller.kind === "agent" ? [`--label=${agentLabel}=${call.caller.name}`] : [];
      const fixed = [...maker, "--pull=never", "--log-driver=k8s-file", "--security-opt=no-new-privileges"];
      const made = [
        "container",
        "create",
        `--name=${name}`,
        `--network=${network}`,
        ...fixed,
        ...words,
        image,
        ...command,
      ];
      return { id: (await podman.run(made, { signal: call.signal })).trim(), name };
    },
  });
}

function containerReads(podman: Podman): readonly Tool[] {
  const list = reads({
    name: "container.list",
    summary: "Lists the containers and the images of the machine.",
    input: object({}),
    output: object({
      containers: Type.Array(object({ name: Type.String(), image: Type.String(), state: Type.String() })),
      images: Type.Array(object({ name: Type.String(), id: Type.String(), size: Type.String() })),
    }),
    capabilities: ["container:read"],
    timeoutMs: 30_000,
    run: async ({ signal }) => {
      const containers = await rows(
        podman,
        ["container", "ls", "--all", "--format={{.Names}}\t{{.Image}}\t{{.State}}"],
        signal,
      );
      const images = await rows(
        podman,
        ["image", "ls", "--format={{.Repository}}:{{.Tag}}\t{{.ID}}\t{{.Size}}"],
        signal,
      );
      return {
        containers: containers.map(([name = "", image = "", state = ""]) => ({ name, image, state })),
        images: images.map(([name = "", id = "", size = ""]) => ({ name, id, size })),
      };
    },
  });
  const logs = reads({
    name: "container.logs",
    summary: "Reads the last lines that a container wrote, 100 unless told otherwise.",
    input: object({ name: containerName, lines: Type.Optional(Type.Integer({ minimum: 1, maximum: linesMax })) }),
    output: object({ stdout: Type.String(), stderr: Type.String(), truncated: Type.Boolean() }),
    capabilities: ["container:logs:{name}"],
    timeoutMs: 30_000,
    run: async ({ input: { name, lines = 100 }, signal }) => {
      await existing(podman, "read logs of", name, signal);
      const options = { signal, stdoutMaxBytes: outputMaxBytes, stderrMaxBytes: outputMaxBytes };
      const { stdout, stderr, truncated } = await podman.ask(["container", "logs", `--tail=${lines}`, name], options);
      return { stdout, stderr, truncated };
    },
  });
  return [list, logs];
}

async function rows(podman: Podman, args: readonly string[], signal: AbortSignal): Promise<string[][]> {
  const text = await podman.run(args, { signal });
  return text
    .split("\n")
    .filter((line) => line !== "")
    .map((line) => line.split("\t"));
}

function limitsOf(given: {
  env?: Readonly<Record<string, string>>;
  ports?: readonly { readonly host: number; readonly container: number }[];
  memory_mib?: number;
  pids_max?: number;
}): string[] {
  const { env = {}, ports = [], memory_mib: memory, pids_max: pids } = given;
  return [
    ...Object.entries(env).map(([name, value]) => `--env=${name}=${value}`),
    ...ports.map(({ host, container }) => `--publish=127.0.0.1:${host}:${container}`),
    ...(memory === undefined ? [] : [`--memory=${memory}m`]),
    // Podman's own limit needs a controller that a machine in name spaces may not have; who asks for one is told.
    `--pids-limit=${pids ?? 0}`,
  ];
}

type VolumeCall = ToolCall<{ volumes?: readonly { source: string; target: string; read_only?: boolean }[] }, object>;

/** A folder of the machine is lent as the caller may use it, and never a protected one, nor one that holds it. */
async function volumesOf(
  { input: { volumes = [] }, permits, caller }: VolumeCall,
  protection: Protection,
): Promise<string[]> {
  const words: string[] = [];
  for (const { source, target, read_only: readOnly = false } of volumes) {
    const { path, exists } = await resolvePath(source);
    if (!exists || /[,:]/.test(path)) throw refused("create", path, "its volume is no folder that can be lent");
    await checkLent("create", protection, path, readOnly, caller);
    need(permits, `fs:${readOnly ? "read" : "write"}:${path}`);
    words.push(`--volume=${path}:${target}${readOnly ? ":ro" : ""}`);
  }
  return words;
}

/** Checks what is lent when the container is made and when it starts: a link may have taken its place meanwhile. */
async function checkLent(act: string, protection: Protection, path: string, readOnly: boolean, caller: Identity) {
  if ((await resolvePath(path)).path !== path) throw refused(act, path, "a link has taken the place of its volume");
  const access = readOnly ? "copy" : "change";
  const [place] = [...protection.check(path, access, caller), ...(await protection.checkFile(path, access, caller))];
  if (place !== undefined) throw refused(act, path, `it is protected: it holds ${place.holds}`);
}

async function existing(podman: Podman, act: string, name: string, signal: AbortSignal) {
  const found = await podman.container(name, { signal });
  if (found === undefined) throw refused(act, name, "there is no such container", "see container.list");
  return found;
}

interface RunningPlan {
  readonly name: string;
  readonly running: boolean;
}

/** Takes a start or a stop back: by the other. */
function undoRunning(podman: Podman): Undo<{ name: string }, object, RunningPlan> {
  return {
    prepare: async ({ input: { name }, signal }) => ({
      name,
      running: (await podman.container(name, { signal }))?.running ?? false,
    }),
    restore: async ({ name, running }) => {
      const signal = timeoutSignal(60_000);
      const found = await podman.container(name, { signal });
      if (found === undefined || found.running === running) return;
      if (running) await podman.start(name, { signal });
      else await podman.run(["container", "stop", "--time=10", name], { signal });
    },
  };
}
