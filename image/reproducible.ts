import { type BuildEvent, buildImage, type ImageRequest, type ImageSettings } from "./image.ts";
import type { Artefact } from "./report.ts";

/** Everything that is made here; the build root, the kernel's source and Debian's packages are taken as they are. */
const rebuilt = (profile: string): string[] => [
  ...["modules", "bundles", "model", "grub"],
  ...["root", "erofs", "disk"].map((name) => `${name}-${profile}`),
];

/** Builds root and disk twice without the cache and compares. Throws naming what differs. */
export async function verifyReproducible(
  request: ImageRequest,
  settings: ImageSettings,
  log: (event: BuildEvent) => void,
): Promise<void> {
  const twice = { ...request, targets: ["erofs", "disk"], force: rebuilt(request.profile) } as const;
  const first = await buildImage(twice, settings, log);
  const second = await buildImage(twice, settings, log);
  const edited = changedKeys(first.keys, second.keys);
  if (edited.length > 0)
    throw new Error(`the inputs of ${edited.join(", ")} were edited between the two builds; run it again`);
  const differing = differences(first.report.artefacts, second.report.artefacts);
  if (differing.length > 0) throw new Error(`not reproducible: ${differing.join(", ")} differ between two builds`);
  for (const { name, sha256 } of second.report.artefacts) console.log(`${name} ${sha256} twice`);
}

type Keys = Readonly<Record<string, string>>;

function changedKeys(first: Keys, second: Keys): string[] {
  return Object.keys(first).filter((name) => first[name] !== second[name]);
}

/** Names of artefacts that are not the same in both builds. */
export function differences(first: readonly Artefact[], second: readonly Artefact[]): string[] {
  return second
    .filter(({ name, sha256 }) => first.find((each) => each.name === name)?.sha256 !== sha256)
    .map(({ name }) => name);
}
