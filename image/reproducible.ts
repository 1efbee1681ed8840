import { buildImage, type ImageRequest, type ImageSettings } from "./image.ts";
import type { Profile } from "./profile.ts";
import type { BuildEvent } from "./progress/index.ts";
import type { Artefact } from "./report.ts";
import { packagesOf } from "./steps/packages.ts";

/** Everything but the compilers' work: the build root and the kernel are taken as they are. */
const rebuilt = (profile: Profile): string[] => [
  ...[packagesOf(profile).step, "modules", "bundles", "model", "grub"],
  ...["root", "erofs", "disk"].map((name) => `${name}-${profile}`),
];

/** Builds root and disk twice without the cache, but for the steps in `reuse`, and compares. Throws naming what differs. */
export async function verifyReproducible(
  request: ImageRequest,
  settings: ImageSettings,
  log: (event: BuildEvent) => void,
  reuse: readonly string[] = [],
): Promise<void> {
  const force = rebuilt(request.profile).filter((step) => !reuse.includes(step));
  const twice = { ...request, targets: ["erofs", "disk"], force } as const;
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
function differences(first: readonly Artefact[], second: readonly Artefact[]): string[] {
  return second
    .filter(({ name, sha256 }) => first.find((each) => each.name === name)?.sha256 !== sha256)
    .map(({ name }) => name);
}
