/**
 * The registries of podman and apt's sources are an admin's word, in protected files: the rule of addresses holds for
 * what a call names (a pull's registry), not for them. podman looks a registry's name up once more by itself, so that a
 * name which changes meanwhile is not held.
 */
import * as Type from "typebox";
import { timeoutSignal } from "#lib/clock";
import { AiosError } from "#lib/errors";
import { changes, type Tool, type ToolCall } from "../../tool.ts";
import { absolutePath, type Outbound, object, reachable } from "../shared/index.ts";
import { imageName, type Podman } from "./podman.ts";

const timeoutMs = 900_000;

interface ImagePlan {
  /** The images that were there before, by id: what is new is taken away again. */
  readonly before: readonly string[];
  /** The image's name, and the id that it stood for: "" when it stood for none. */
  readonly name: string;
  readonly was: string;
}

/** Brings images to the machine. */
export function imageTools(podman: Podman, outbound: Outbound): readonly Tool[] {
  const pull = changes({
    name: "container.pull_or_load",
    summary:
      "Brings an image to the machine: from its registry by name, or from a local archive (docker or OCI) by path.",
    input: object({ image: Type.Optional(imageName), archive: Type.Optional(absolutePath) }),
    output: object({ images: Type.Array(Type.String(), { description: "names, or ids, of what was brought" }) }),
    resources: { archive: "path" },
    uses: { archive: "read" },
    capabilities: ["container:image"],
    alsoNeeds: ["container:pull:{image}", "net:local:{address}", "fs:read:{archive}"],
    exclusive: "container images",
    risk: "medium",
    timeoutMs,
    idempotent: true,
    undo: {
      prepare: async ({ input: { image = "" }, signal }): Promise<ImagePlan> => ({
        before: await ids(podman, signal),
        name: image,
        was: image === "" ? "" : ((await podman.image(image, { signal })) ?? ""),
      }),
      restore: async ({ before, name, was }) => {
        const signal = timeoutSignal(60_000);
        const fresh = (await ids(podman, signal)).filter((id) => !before.includes(id));
        // Refused by podman while a container is made of it: that is to be removed first.
        if (fresh.length > 0) await podman.run(["image", "rm", ...fresh], { signal });
        if (was !== "" && (await podman.image(name, { signal })) !== was) {
          await podman.run(["image", "tag", was, name], { signal });
        }
      },
    },
    run: async ({ input, resources: { archive }, permits, signal }) => {
      const options = { signal, timeoutMs };
      if ((input.image === undefined) === (archive === undefined)) throw eitherOr();
      if (archive !== undefined) {
        const { path } = archive;
        need(permits, `fs:read:${path}`);
        const said = await podman.run(["image", "load", "--quiet", `--input=${path}`], options);
        return { images: [...said.matchAll(/^Loaded image: (\S+)$/gm)].map(([, name = ""]) => name) };
      }
      const name = input.image ?? "";
      need(permits, `container:pull:${name}`);
      const registry = registryOf(name);
      if (registry === undefined) outbound.check("pull image from", "the registries of podman");
      else await reachable(registry, permits, outbound, signal);
      await podman.run(["image", "pull", "--quiet", "--", name], options);
      return { images: [name] };
    },
  });
  return [pull];
}

/**
 * The host that podman asks for an image; undefined for a name without one: it is looked for at the registries of podman's
 * configuration, which is an admin's.
 */
function registryOf(image: string): string | undefined {
  const [first = "", ...rest] = image.split("/");
  return rest.length > 0 && /[.:]|^localhost$/.test(first) ? first.replace(/:\d+$/, "") : undefined;
}

async function ids(podman: Podman, signal: AbortSignal): Promise<string[]> {
  const text = await podman.run(["image", "ls", "--all", "--no-trunc", "--quiet"], { signal });
  return [...new Set(text.split("\n").filter((line) => line !== ""))];
}

export function need(permits: ToolCall<unknown, object>["permits"], capability: string): void {
  if (permits(capability)) return;
  throw new AiosError("PERMISSION_DENIED", {
    act: "use",
    object: capability.slice(capability.indexOf(":", capability.indexOf(":") + 1) + 1),
    reason: "it was not granted",
    next: `it needs a grant of ${capability}`,
  });
}

function eitherOr(): AiosError {
  return new AiosError("INVALID_ARGUMENT", {
    act: "bring",
    object: "an image",
    reason: "expected either image or archive",
    next: "name an image of a registry, or the path of an archive on this machine",
  });
}
