import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { systemClock } from "#lib/clock";
import { silentLog } from "#lib/log";
import type { Tool } from "../daemons/tools/tool.ts";
import { openTools } from "../daemons/tools/tools.ts";

/** Every tool of the image, as the daemon registers them: it is opened over an empty folder and closed again. */
export async function catalogueTools(): Promise<readonly Tool[]> {
  const folder = mkdtempSync(join(tmpdir(), "aios-catalogue-"));
  try {
    const at = (name: string) => join(folder, name);
    for (const name of ["run", "etc"]) mkdirSync(at(name));
    const paths = { run: at("run"), state: at("state"), etc: at("etc") };
    const opened = await openTools({ paths, init: {} as never, clock: systemClock, log: silentLog });
    try {
      return opened.registry.list("");
    } finally {
      opened.close();
    }
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
