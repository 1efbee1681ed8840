import { defineConfig } from "vitest/config";
import { BaseSequencer, type TestSpecification } from "vitest/node";
import { filesAtOnce } from "./ci/durations.ts";
import { compiled } from "./daemons/lib/testing/compiled.ts";

/** All files: the slowest first, so that none is waited for alone. Some files: it last, after what is soon known. */
class Order extends BaseSequencer {
  override async sort(files: TestSpecification[]): Promise<TestSpecification[]> {
    const sorted = await super.sort(files);
    const { testFiles = [] } = (await files[0]?.project.globTestFiles()) ?? {};
    return files.length < testFiles.length ? sorted.toReversed() : sorted;
  }
}

/** unit: beside the code, seconds. machine: boots the system; one file at a time, since each takes the whole machine. */
export default defineConfig({
  test: {
    maxWorkers: filesAtOnce,
    sequence: { sequencer: Order },
    projects: [
      {
        test: {
          name: "unit",
          include: ["{daemons,image,qemu,ci}/**/*.test.ts"],
          exclude: ["qemu/tests/**"],
          // For the programs that tests start with their own environment.
          env: compiled,
          // An end to what hangs, also where the machine is busy with others.
          testTimeout: 180_000,
          hookTimeout: 180_000,
          expect: { poll: { timeout: 60_000 } },
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
