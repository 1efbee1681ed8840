/**
 * Makes the image's own knowledge: `node daemons/memory/shelve/main.ts OUT ROOTFS TOOLS.json COMMANDS.json [MANUALS.json]`.
 * Runs when the image is built, so that words and vectors are there at the first boot.
 */
import { readFileSync } from "node:fs";
import {
  commandRecords,
  helpRecords,
  type Manual,
  manualRecords,
  procedureRecords,
  settingRecords,
  toolRecords,
} from "./records.ts";
import { writeShelf } from "./write.ts";

const [out = "", rootfs = "", tools = "", commands = "", manuals] = process.argv.slice(2);
const json = (file: string) => JSON.parse(readFileSync(file, "utf8"));

const written = writeShelf(out, [
  ...helpRecords(`${rootfs}/usr/share/aios/knowledge`),
  ...toolRecords(json(tools)),
  ...commandRecords(json(commands)),
  ...settingRecords(rootfs, ["etc/aios/config.toml", "etc/aios/security/policy.toml"]),
  ...procedureRecords(`${rootfs}/etc/aios/procedures`),
  ...(manuals === undefined ? [] : manualRecords(json(manuals) as Manual[])),
]);
console.log(`${written.records} records in ${written.chunks} chunks, shelf ${written.id}`);
