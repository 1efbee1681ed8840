import { expect, test } from "vitest";
import { openReading } from "./reading.ts";

/** What a log's lines count to, and which of them are kept. */
function readAll(text: string) {
  const reading = openReading();
  const kept = text.split("\n").filter((line) => !reading.read(line));
  return { count: reading.count, kept };
}

test("the kernel's make: objects, not the tools that it makes for itself; errors and warnings are kept", () => {
  // As make -C /src O=/out/build -j2 of Linux 6.12 prints it.
  const said = `make: Entering directory '/src'
make[1]: Entering directory '/out/build'
  HOSTCC  scripts/basic/fixdep
  SYSHDR  arch/x86/include/generated/uapi/asm/unistd_64.h
  HOSTCC  scripts/kallsyms.o
  CC      scripts/mod/empty.o
  AS      arch/x86/entry/entry_64.o
  CC [M]  drivers/gpu/drm/drm_auth.o
  CC      kernel/fork.o
kernel/fork.c:31:10: fatal error: linux/nothing.h: No such file or directory
  AR      kernel/built-in.a
make[3]: *** [/src/scripts/Makefile.build:229: kernel/fork.o] Error 1
make[1]: Leaving directory '/out/build'`;
  const { count, kept } = readAll(said);
  expect(count).toEqual({ unit: "objects", done: 4, total: undefined });
  expect(kept).toEqual([expect.stringMatching(/^kernel\/fork\.c/), expect.stringMatching(/^make\[3\]: \*\*\*/)]);
});

/** As mmdebstrap 1.3.5 and 1.5.7 --verbose print it, shortened. */
const rounds = [
  `I: running apt-get update...
Get:1 http://mirror.example/debian trixie InRelease [140 kB]
Get:2 http://mirror.example/debian trixie/main amd64 Packages [9,672 kB]
Fetched 9812 kB in 8s (1272 kB/s)`,
  `I: downloading packages with apt...
0 upgraded, 69 newly installed, 0 to remove and 0 not upgraded.
Need to get 30.3 MB of archives.
After this operation, 114 MB of additional disk space will be used.
Get:1 http://mirror.example/debian trixie/main amd64 gcc-14-base amd64 14.2.0-19 [49.4 kB]
Get:2 http://mirror.example/debian trixie/main amd64 libc6 amd64 2.41-12 [2,847 kB]`,
  "I: extracting archives...",
  `I: installing essential packages...
Unpacking gcc-14-base:amd64 (14.2.0-19) ...
Unpacking libc6:amd64 (2.41-12) ...
Setting up gcc-14-base:amd64 (14.2.0-19) ...
Setting up libc6:amd64 (2.41-12) ...`,
  `I: installing remaining packages inside the chroot...
0 upgraded, 6 newly installed, 0 to remove and 0 not upgraded.
Need to get 752 kB/1,200 kB of archives.
Get:1 http://mirror.example/debian trixie/main amd64 bc amd64 1.07.1 [110 kB]
Unpacking bc (1.07.1-4) ...
Setting up bc (1.07.1-4) ...`,
];

test("mmdebstrap: megabytes while it fetches, packages while it sets up, both rounds from their start", () => {
  const counts = rounds.map((_, index) => readAll(rounds.slice(0, index + 1).join("\n")).count);
  expect(counts).toMatchObject([
    { unit: "MB", done: expect.closeTo(9.812, 3), total: undefined },
    { unit: "MB", done: expect.closeTo(2.8964, 3), total: 30.3 },
    { unit: "packages", done: 0, total: 69 },
    { unit: "packages", done: 2, total: 69 },
    { unit: "packages", done: 1, total: 6 },
  ]);
  expect(readAll(rounds.join("\n")).kept).toHaveLength(rounds.join("\n").split("\n").length);
});

test("apt-get download with a status of its own: how much of one large file is there", () => {
  // As apt 3.0 prints it with -o APT::Status-Fd=2, after an update that fetched something else.
  const said = `in the build root: env --chdir=/out apt-get update
Get:1 http://mirror.example/debian trixie/main amd64 Packages [9,672 kB]
in the build root: env --chdir=/out apt-get download linux-source-6.12=6.12.117-1
Get:1 http://mirror.example/debian trixie/main amd64 linux-source-6.12 all 6.12.117-1 [150 MB]
dlstatus:1:0.0000:Retrieving file 1 of 1
dlstatus:1:20.5157:Retrieving file 1 of 1 (3s remaining)`;
  const { count, kept } = readAll(said);
  expect(count).toEqual({ unit: "MB", done: expect.closeTo(30.77, 2), total: 150 });
  expect(kept).toHaveLength(4);
});

test("a step's own words", () => {
  expect(readAll("3 of 20 bundles: usr/lib/aios/tools.mjs: 1,100 bytes").count).toEqual({
    unit: "bundles",
    done: 3,
    total: 20,
  });
  expect(readAll("12.5 of 1,640.0 MB: mine downloading").count).toEqual({ unit: "MB", done: 12.5, total: 1640 });
  expect(readAll("nothing of the kind").count).toBeUndefined();
});
