import { existsSync, mkdirSync, readFileSync, readlinkSync, statSync, writeFileSync } from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Machine, startMachine, whenAsked } from "../testing/harness.ts";

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine({ autonomy: "manual" });
  work = `${machine.folder}/work`;
  mkdirSync(`${work}/folder/inner`, { recursive: true });
  writeFileSync(`${work}/f`, "a\nb\nc\n");
  writeFileSync(`${work}/folder/one`, "1");
  writeFileSync(`${work}/folder/inner/two`, "22");
  writeFileSync(`${work}/binary`, Buffer.from([0xff, 0, 1]));
  const acts = ["read", "write", "append", "delete", "move", "copy", "chmod", "chown"];
  const capabilities = [...acts.map((act) => `fs:${act}:${work}/**`), "config:write:**", "process:spawn:/usr/bin/true"];
  await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
});
afterEach(() => machine.close());

/** What a person is shown of an agent's call, which is then let through. */
async function shown(tool: string, input: object): Promise<string> {
  const { ticket, answer } = await whenAsked(machine.operator, () => machine.agent("task").call(tool, input));
  const { output } = await machine.operator.call("sec.approve", { id: ticket.id, digest: ticket.digest });
  expect({ tool, error: output.error }).toEqual({ tool, error: "" });
  expect((await answer).success).toBe(true);
  return ticket.preview.replaceAll(work, "");
}

describe("what a person is shown", () => {
  it("of text that is added, what is added", async () => {
    expect(await shown("fs.append", { path: `${work}/f`, content: "d\ne\n" })).toBe("at the end of /f\n+d\n+e");
    expect(await shown("fs.append", { path: `${work}/g`, content: "d\n" })).toContain("--- /dev/null\n+++ /g");
    expect(readFileSync(`${work}/f`, "utf8")).toBe("a\nb\nc\nd\ne\n");
  });

  it("of a deletion, what is lost: a text whole, a folder by what lies in it, other files by their size", async () => {
    const { ticket } = await whenAsked(machine.operator, () =>
      machine.agent("task").call("fs.delete", { path: `${work}/f` }),
    );
    expect(ticket.preview.replaceAll(work, "")).toBe("--- /f\n+++ /dev/null\n@@ -1,3 +0,0 @@\n-a\n-b\n-c");
    expect(existsSync(`${work}/f`)).toBe(true);
    await machine.operator.call("sec.deny", { id: ticket.id });
    expect(await shown("fs.delete", { path: `${work}/folder`, recursive: true })).toBe(
      "- /folder/ (4 entries, 3 bytes)\n- /folder/inner/\n- /folder/inner/two (2 bytes)\n- /folder/one (1 bytes)",
    );
    const gone = await shown("fs.delete", { path: `${work}/binary`, permanent: true });
    expect(gone).toBe("for good, it cannot be taken back:\n- /binary, a file that is no text, 3 bytes");
  });

  it("of a move and a copy, both ends, and what is replaced as a diff", async () => {
    const moved = await shown("fs.move", { source: `${work}/f`, destination: `${work}/g` });
    expect(moved).toBe("- /f\n--- /dev/null\n+++ /g\n@@ -0,0 +1,3 @@\n+a\n+b\n+c");
    writeFileSync(`${work}/h`, "a\nX\nc\n");
    const replaced = await shown("fs.copy", { source: `${work}/g`, destination: `${work}/h`, overwrite: true });
    expect(replaced).toBe("--- /h\n+++ /h\n@@ -1,3 +1,3 @@\n a\n-X\n+b\n c");
    const folder = await shown("fs.copy", { source: `${work}/folder`, destination: `${work}/again` });
    expect(folder).toContain("+ /again/inner/two (2 bytes)");
  });

  it("of modes, folders and links, each that changes", async () => {
    statSync(`${work}/f`);
    expect(await shown("fs.chmod", { path: `${work}/f`, mode: "0600" })).toMatch(/^\/f 06\d\d -> 0600$/);
    const { uid, gid } = statSync(`${work}/f`);
    expect(await shown("fs.chown", { path: `${work}/f`, uid, gid })).toBe("no change");
    expect(await shown("fs.mkdir", { path: `${work}/x/y`, recursive: true })).toBe("+ /x/\n+ /x/y/");
    expect(await shown("fs.symlink", { path: `${work}/l`, target: `${work}/f` })).toBe("+ /l -> /f");
    expect(readlinkSync(`${work}/l`)).toBe(`${work}/f`);
  });

  it("of a key of the configuration, the file's diff; of a program, its words and its sandbox", async () => {
    const image = readFileSync(`${import.meta.dirname}/../../../rootfs/etc/aios/config.toml`, "utf8");
    writeFileSync(`${machine.folder}/etc/config.toml`, image);
    const set = await shown("config.set", { key: "system.log_level", value: "debug" });
    expect(set).toMatch(/^-log_level = "info".*\n\+log_level = "debug"/m);
    const spawned = await shown("process.spawn", { command: "/usr/bin/true", args: ["-x", "a b"] });
    expect(spawned).toMatch(/^runs \["\/usr\/bin\/true","-x","a b"\]\nin \/, sandbox, without network, at most 3600 s/);
  });
});

it.each([
  ["fs.symlink", { path: "WORK/f", target: "WORK/binary" }, "it exists already"],
  ["fs.mkdir", { path: "WORK/f" }, "it exists already"],
  ["fs.mkdir", { path: "WORK/folder" }, "it exists already"],
  ["fs.mkdir", { path: "WORK/x/y" }, "does not exist"],
  ["fs.append", { path: "WORK/wide", content: "x" }, "UTF-16"],
  ["fs.append", { path: "WORK/f", content: "x".repeat(2 ** 20 + 1) }, "are written at once"],
  ["fs.write", { path: "WORK/folder", content: "x" }, "not a regular file"],
  ["fs.move", { source: "WORK/f", destination: "WORK/binary" }, "exists already"],
  ["fs.copy", { source: "WORK/none", destination: "WORK/g" }, "does not exist"],
  ["fs.chmod", { path: "WORK/none", mode: "0600" }, "does not exist"],
  ["fs.delete", { path: "WORK/folder" }, "recursive"],
])("nobody is asked about what cannot be done: %s, %#", async (tool, input, why) => {
  writeFileSync(`${work}/wide`, Buffer.from("fffe61000a00", "hex"));
  const placed = JSON.parse(JSON.stringify(input).replaceAll("WORK", work));
  const answer = machine
    .agent("task")
    .call(tool, placed)
    .then(
      ({ error }) => error,
      (error: Error) => error.message,
    );
  expect(await Promise.race([answer, new Promise((resolve) => setTimeout(resolve, 3_000, "asks"))])).toContain(why);
  expect((await machine.operator.call("sec.approvals")).output.waiting).toEqual([]);
});

it("every tool that agents change much with says what it would change", async () => {
  const { openTools } = await import("../tools.ts");
  const { systemClock } = await import("#lib/clock");
  const { silentLog } = await import("#lib/log");
  const at = (name: string) => `${machine.folder}/again/${name}`;
  mkdirSync(at("run"), { recursive: true });
  mkdirSync(at("etc"));
  const paths = { run: at("run"), state: at("state"), etc: at("etc") };
  const tools = await openTools({ paths, init: {} as never, clock: systemClock, log: silentLog });
  const heavy = ({ risk, confirmation }: { risk: string; confirmation: boolean }) =>
    confirmation || risk === "high" || risk === "critical";
  const silent = tools.registry
    .list("")
    .filter(({ effect, callers }) => effect === "change" && callers.includes("agent"))
    .filter((tool) => heavy(tool) || ["fs", "config", "pkg", "service"].includes(tool.namespace))
    .filter(({ preview }) => preview === undefined);
  tools.close();
  // Of the archive's lists and of locks the summary says all there is.
  expect(silent.map(({ name }) => name)).toEqual(["pkg.update", "pkg.lock", "pkg.unlock"]);
});

describe("what a person is shown of a call", () => {
  it("with what cannot be seen, or turns the direction of writing, written out", async () => {
    const content = "safe \u202etxt.exe\u2066 \u200b\ufeff\u001b[2J\r\n\ttab \u00e9 \ud83d\ude00\n";
    const preview = await shown("fs.append", { path: `${work}/f`, content });
    expect(preview).toBe(
      "at the end of /f\n+safe \\u{202e}txt.exe\\u{2066} \\u{200b}\\u{feff}\\u{1b}[2J\\u{d}\n+\ttab \u00e9 \ud83d\ude00",
    );
    expect(readFileSync(`${work}/f`, "utf8")).toContain(content);
  });

  it("of what cannot be taken back, that it cannot; it is critical and asked at every level, and nothing takes it back", async () => {
    machine.close();
    machine = await startMachine({ autonomy: "full" });
    work = `${machine.folder}/work`;
    mkdirSync(work);
    writeFileSync(`${work}/f`, "text");
    const capabilities = [`fs:delete:${work}/**`];
    await machine.core.call("sec.grant", { agent_id: "task", capabilities, reason: "r" });
    const remove = () => machine.agent("task").call("fs.delete", { path: `${work}/f`, permanent: true });
    const { ticket, answer } = await whenAsked(machine.operator, remove);
    expect(ticket).toMatchObject({
      risk: "critical",
      preview: expect.stringMatching(/^for good, it cannot be taken back:/),
      undo: "it cannot be taken back: no copy is kept of what is deleted for good",
    });
    await machine.operator.call("sec.approve", { id: ticket.id, digest: ticket.digest });
    expect(await answer).toMatchObject({ success: true, output: { permanent: true }, backupId: "" });
  });
});
