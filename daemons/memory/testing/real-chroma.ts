import { existsSync, realpathSync } from "node:fs";
import { fileURLToPath } from "node:url";

const here = (path: string) => fileURLToPath(new URL(path, import.meta.url));

/** Chroma's binding needs this C library. */
const glibcMin = [2, 38];

/**
 * How the real Chroma can be started for tests: by this Node where the host's C library is new enough, else inside the root of an
 * image that was built here (`out/root`). Undefined where neither is: the stand-in is tested alone, and the lanes test the real one.
 */
export function realChroma(): { readonly command: readonly string[]; readonly program: string } | undefined {
  const program = here("../../../node_modules/chromadb/dist/cli.mjs");
  const { glibcVersionRuntime = "0.0" } = (process.report.getReport() as { header: { glibcVersionRuntime?: string } })
    .header;
  const [major = 0, minor = 0] = glibcVersionRuntime.split(".").map(Number);
  if (major > (glibcMin[0] ?? 0) || (major === glibcMin[0] && minor >= (glibcMin[1] ?? 0)))
    return { command: [process.execPath], program };
  const root = here("../../../out/root");
  if (!existsSync(root)) return undefined;
  const tree = realpathSync(root);
  return {
    command: [
      `${tree}/usr/lib64/ld-linux-x86-64.so.2`,
      "--library-path",
      `${tree}/usr/lib/x86_64-linux-gnu`,
      `${tree}/usr/bin/node`,
    ],
    program: `${tree}/usr/lib/aios/node_modules/chromadb/dist/cli.mjs`,
  };
}
