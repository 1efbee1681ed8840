import { type CommandOptions, command } from "./command.ts";

/** A folder of the host that a command in the build root sees under `at`. */
export interface Mount {
  readonly from: string;
  readonly at: string;
}

/**
 * Enters the build root in its own mount and process name spaces, so that an interrupted build leaves neither mounts nor
 * processes. `$1` is the build root, then pairs FROM AT up to "--", then the command.
 */
const enter = `
set -e
root=$1; shift
mount --make-rprivate /
mount -t proc proc "$root/proc"
mount --rbind /dev "$root/dev"
mount -t sysfs -o ro sysfs "$root/sys"
mount --bind "$(readlink -f /etc/resolv.conf)" "$root/etc/resolv.conf"
while [ "$1" != -- ]; do mkdir -p "$root$2"; mount --rbind "$1" "$root$2"; shift 2; done
shift
exec chroot "$root" "$@"
`;

/** Every step is told this time, so that what it makes does not depend on when (2026-01-01T00:00:00Z). */
export const epochSeconds = 1_767_225_600;

/** Runs a command in the build root and returns its standard output; `mounts` are the folders of the host it works on. */
export async function inBuildRoot(
  root: string,
  argv: readonly string[],
  mounts: readonly Mount[],
  options: CommandOptions = {},
): Promise<string> {
  options.log?.line(`in the build root: ${argv.join(" ")}`);
  const pairs = mounts.flatMap(({ from, at }) => [from, at]);
  const env = {
    SOURCE_DATE_EPOCH: String(epochSeconds),
    TZ: "UTC",
    HOME: "/root",
    PATH: "/usr/sbin:/usr/bin:/sbin:/bin",
    ...options.env,
  };
  return command(
    [
      "unshare",
      "--mount",
      "--pid",
      "--fork",
      "--kill-child",
      "/bin/sh",
      "-c",
      enter,
      "sh",
      root,
      ...pairs,
      "--",
      ...argv,
    ],
    { ...options, env, announce: false },
  );
}
