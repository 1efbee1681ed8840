import { defineConfig } from "vitest/config";

/** unit: beside the code, seconds. machine: boots the system; one file at a time, since each takes the whole machine. */
export default defineConfig({
  test: {
    projects: [
      {
        test: {
          name: "unit",
          include: ["{daemons,image,qemu,ci}/**/*.test.ts"],
          exclude: ["qemu/tests/**"],
          // An end to what hangs, also where the machine is busy with others.
          testTimeout: 60_000,
          hookTimeout: 60_000,
        },
      },
      {
        test: {
          name: "machine",
          include: ["qemu/tests/**/*.test.ts"],
          testTimeout: 300_000,
          hookTimeout: 3_600_000,
          fileParallelism: false,
        },
      },
    ],
  },
});
