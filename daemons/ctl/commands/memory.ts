import { createReadStream, createWriteStream } from "node:fs";
import { access, constants, rename, rm } from "node:fs/promises";
import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { AiosError, messageOf } from "#lib/errors";
import { type BackupInfo, MemoryAdminService, type StoreStats } from "#proto/aios/memory_admin";
import { type Command, type Context, exit, text, UsageError } from "../command.ts";
import { fromBytes } from "../out.ts";
import { count, duration, moment, size } from "../words.ts";
import { sinceOf } from "./audit.ts";

/** A backup copies and checks every store: some minutes for many GB. */
const backupTimeoutMs = 1_800_000;

/** After a restore memory starts again; a large backup is copied meanwhile. */
const backAgainMs = 60_000;
const lookMs = 500;

/** Bytes of a file that are sent at once. */
const pieceBytes = 262_144;

const admin = (context: Context) => context.target().client(MemoryAdminService, "memory");

export const memoryStats: Command = {
  name: "memory stats",
  summary: "what is remembered, where, and how the stores are",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl memory stats", "aiosctl memory stats --json | jq '.stores[] | {name, state, fileBytes}'"],
  async run(context) {
    const { out } = context;
    const stats = await admin(context).getStats({});
    out.line(
      `events ${stats.operationalEvents} (${size(stats.operationalBytes)}), metrics ${stats.metrics}, watchers ${stats.eventWatchers}, subscribers ${stats.journalSubscribers}`,
    );
    out.line(`takes ${size(stats.residentBytes)} of memory; up for ${duration(stats.uptimeMs)}`);
    out.line();
    const head = ["store", "state", "size", "log", "free", "schema", "writes", "last backup (utc)"];
    out.table(head, stats.stores.map(storeRow));
    for (const { name, detail } of stats.stores) if (detail !== "") out.line(`${name}: ${detail}`);
    out.line();
    const rows = stats.stores.flatMap(({ name, tables }) =>
      tables.map((table) => [name, table.name, `${table.rows}${table.more ? "+" : ""}`]),
    );
    out.table(["store", "table", "rows"], rows);
    out.document(stats);
    return exit.ok;
  },
};

function storeRow(store: StoreStats): string[] {
  return [
    ...[store.name, store.state, size(store.fileBytes), size(store.walBytes), size(store.freeBytes)],
    ...[String(store.schemaVersion), String(store.writes), moment(store.lastBackupAt)],
  ];
}

export const memoryBackup: Command = {
  name: "memory backup",
  summary: "copy every store while it is in use, and check the copies",
  usage: "[--to FILE]",
  args: [0, 0],
  options: { to: { type: "string", value: "FILE", about: "write the backup here too, as a tar archive" } },
  examples: ["aiosctl memory backup", "aiosctl memory backup --to memory.tar"],
  async run(context) {
    const { out } = context;
    const backup = await admin(context).backup({}, { timeoutMs: backupTimeoutMs });
    const file = text(context, "to");
    if (file !== undefined) await download(context, backup.name, file);
    out.line(`${backup.name}: ${size(backup.bytes)}, ${backup.stores.join(", ")}${file ? `, in ${file}` : ""}`);
    out.document({ ...backup, ...(file && { file }) });
    return exit.ok;
  },
};

/** Whole or not at all: a transfer that breaks leaves no file behind. */
async function download(context: Context, name: string, file: string): Promise<void> {
  const client = admin(context);
  const chunks = async function* () {
    for await (const { data } of client.readBackup({ name }, { signal: context.signal })) yield data;
  };
  const temporary = `${file}.part`;
  try {
    await pipeline(Readable.from(chunks()), createWriteStream(temporary, { mode: 0o600 }));
    await rename(temporary, file);
  } catch (error) {
    await rm(temporary, { force: true });
    throw error;
  }
}

export const memoryBackups: Command = {
  name: "memory backups",
  summary: "the backups that the machine keeps, newest first",
  usage: "",
  args: [0, 0],
  examples: ["aiosctl memory backups"],
  async run(context) {
    const { backups } = await admin(context).listBackups({});
    const row = ({ name, createdAt, bytes, stores }: BackupInfo) => [
      name,
      moment(createdAt),
      size(bytes),
      stores.join(" "),
    ];
    context.out.table(["backup", "made (utc)", "size", "stores"], backups.map(row));
    context.out.document({ backups });
    return exit.ok;
  },
};

export const memoryRestore: Command = {
  name: "memory restore",
  summary: "put a backup in the place of what is remembered, which is kept aside",
  usage: "[BACKUP | --from FILE] --yes",
  args: [0, 1],
  options: {
    from: {
      type: "string",
      value: "FILE",
      about: "what memory backup --to has written, here or elsewhere; its goals come back paused",
    },
    yes: { type: "boolean", short: "y", about: "yes, forget what was remembered since" },
  },
  examples: [
    "aiosctl memory restore --yes",
    "aiosctl memory restore 2026-11-21T09-15-02-000Z --yes",
    "aiosctl memory restore --from memory.tar --yes",
  ],
  async run(context) {
    const { args, values, out } = context;
    if (values["yes"] !== true)
      throw new UsageError("what was remembered since the backup is put aside; say --yes if that is meant");
    const file = text(context, "from");
    if (file !== undefined && args[0] !== undefined) throw new UsageError("say a backup or --from FILE, not both");
    if (file !== undefined) await checkReadable(file);
    const client = admin(context);
    const options = { timeoutMs: backupTimeoutMs };
    const restore = () =>
      file === undefined
        ? client.restore({ name: args[0] ?? "" }, options)
        : client.restoreFrom(piecesOf(file), options);
    const { restored } = await restore();
    const stores = await backAgain(context);
    out.line(
      `restored ${restored?.name}: ${count(stores.length, "store")} ${stores.map(({ name }) => name).join(", ")}`,
    );
    for (const { name, state, detail } of stores) out.line(`${name}: ${state}, ${detail}`);
    out.document({ restored, stores: stores.map(({ name, state, detail }) => ({ name, state, detail })) });
    return stores.some(({ state }) => state === "restored") ? exit.ok : exit.failed;
  },
};

/** A stream that breaks tells nobody why. */
async function checkReadable(file: string): Promise<void> {
  try {
    await access(file, constants.R_OK);
  } catch (error) {
    throw new AiosError("NOT_FOUND", {
      act: "read",
      object: file,
      reason: messageOf(error),
      next: "name another file",
    });
  }
}

async function* piecesOf(file: string) {
  for await (const data of createReadStream(file, { highWaterMark: pieceBytes })) yield { data: data as Buffer };
}

/** Waits until the daemon that has started anew answers. */
async function backAgain(context: Context): Promise<readonly StoreStats[]> {
  const { clock, signal } = context;
  const until = clock.monotonic() + backAgainMs;
  for (;;) {
    await clock.sleep(lookMs, signal);
    try {
      const { stores } = await admin(context).getStats({});
      if (stores.some(({ state }) => state === "restored") || clock.monotonic() > until) return stores;
    } catch (error) {
      if (clock.monotonic() > until) throw new Error(`memory does not answer again: ${messageOf(error)}`);
    }
  }
}

export const memoryExport: Command = {
  name: "memory export",
  summary: "every record as a line of JSON",
  usage: "[KIND...] [--since WHEN]",
  args: [0, 32],
  options: { since: { type: "string", value: "WHEN", about: "not older: 30m, 2h, 7d ago, or 2026-01-31T12:00Z" } },
  examples: ["aiosctl memory export > memory.jsonl", "aiosctl memory export goals tasks --since 7d"],
  async run(context) {
    const { args, out, clock, signal } = context;
    const since = sinceOf(text(context, "since"), clock.now());
    let records = 0;
    for await (const { kind, recordJson } of admin(context).export({ kinds: [...args], since }, { signal })) {
      out.line(`{"kind":${JSON.stringify(kind)},"record":${recordJson.toString("utf8")}}`);
      out.document({ kind, record: fromBytes(recordJson) });
      records++;
    }
    out.note(count(records, "record"));
    return exit.ok;
  },
};
