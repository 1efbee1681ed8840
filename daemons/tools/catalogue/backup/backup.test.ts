import {
  existsSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  truncateSync,
  writeFileSync,
} from "node:fs";
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import { type Answer, type Machine, startMachine } from "../../testing/harness.ts";

let machine: Machine;
let work: string;

beforeEach(async () => {
  machine = await startMachine();
  work = `${machine.folder}/work`;
  mkdirSync(`${work}/site/sub`, { recursive: true });
  writeFileSync(`${work}/site/index.html`, "<h1>", { mode: 0o640 });
  writeFileSync(`${work}/site/sub/a`, "a");
  symlinkSync("sub/a", `${work}/site/link`);
});

afterEach(() => machine.close());

const call = (tool: string, input: object = {}): Promise<Answer> => machine.core.call(tool, input);
const back = ({ executionId }: Answer) => machine.core.raw.rollback({ executionId, reason: "" });
const done = { success: true, error: "" };

describe("backup", () => {
  it("is made, listed, restored and taken back, over restarts", async () => {
    const made = await call("backup.create", { path: `${work}/site`, note: "before the change" });
    expect(made.output).toMatchObject({ path: `${work}/site`, entries: 5, content_bytes: 5 });
    await machine.restart();
    const { backups } = (await call("backup.list", { path: `${work}/site` })).output;
    expect(backups).toEqual([{ ...made.output, present: true }]);
    expect((await call("backup.list", { path: "/other" })).output.backups).toEqual([]);

    writeFileSync(`${work}/site/index.html`, "broken");
    writeFileSync(`${work}/site/extra`, "");
    const restored = await call("backup.restore", { id: made.output.id, destination: `${work}/site` });
    expect(restored.output).toEqual({ restored: true, entries: 5 });
    expect(readdirSync(`${work}/site`)).toEqual(["index.html", "link", "sub"]);
    expect(readFileSync(`${work}/site/index.html`, "utf8")).toBe("<h1>");
    expect(statSync(`${work}/site/index.html`).mode & 0o777).toBe(0o640);
    expect(readFileSync(`${work}/site/link`, "utf8")).toBe("a");
    await machine.restart();
    expect(await back(restored)).toEqual(done);
    expect(readFileSync(`${work}/site/index.html`, "utf8")).toBe("broken");
    expect(existsSync(`${work}/site/extra`)).toBe(true);
    expect(readdirSync(work)).toEqual(["site"]);
    expect(await back(made)).toEqual(done);
    expect((await call("backup.list")).output.backups).toEqual([]);
  });

  it("is restored where nothing stands, and that is removed again", async () => {
    const made = await call("backup.create", { path: `${work}/site/index.html` });
    const restored = await call("backup.restore", { id: made.output.id, destination: `${work}/copy` });
    expect(readFileSync(`${work}/copy`, "utf8")).toBe("<h1>");
    expect(await back(restored)).toEqual(done);
    expect(readdirSync(work)).toEqual(["site"]);
  });

  it("is not taken back over what was changed since, but by a person who says so: then a copy of that is kept", async () => {
    const made = await call("backup.create", { path: `${work}/site` });
    writeFileSync(`${work}/site/index.html`, "broken");
    for (const destination of ["site", "new"]) {
      const restored = await call("backup.restore", { id: made.output.id, destination: `${work}/${destination}` });
      writeFileSync(`${work}/${destination}/added`, "since");
      const refused = { success: false, error: expect.stringContaining("changed since it was restored") };
      expect(await back(restored)).toMatchObject(refused);
      const request = { executionId: restored.executionId, reason: "" };
      const force = { headers: { "x-aios-force": "yes" } };
      expect(await machine.core.raw.rollback(request, force)).toMatchObject(refused);
      expect(readFileSync(`${work}/${destination}/added`, "utf8")).toBe("since");
      expect(await machine.operator.raw.rollback(request, force)).toEqual(done);
      expect(existsSync(`${work}/${destination}/added`)).toBe(false);
      const { output } = await call("backup.list", { path: `${work}/${destination}` });
      expect(output.backups[0]).toMatchObject({ id: restored.executionId, present: true });
      const kept = { id: restored.executionId, destination: `${work}/kept-${destination}` };
      expect((await call("backup.restore", kept)).success).toBe(true);
      expect(readFileSync(`${work}/kept-${destination}/added`, "utf8")).toBe("since");
    }
    expect(readFileSync(`${work}/site/index.html`, "utf8")).toBe("broken");
    expect(existsSync(`${work}/new`)).toBe(false);
  });

  it("that is damaged changes nothing, and one that is removed is gone", async () => {
    const made = await call("backup.create", { path: `${work}/site` });
    truncateSync(`${machine.folder}/state/backups/${made.output.id}.tar.gz`, 20);
    const restored = await call("backup.restore", { id: made.output.id, destination: `${work}/site` });
    expect(restored).toMatchObject({ success: false, error: expect.stringContaining("SHA-256") });
    expect(readdirSync(`${work}/site`)).toEqual(["index.html", "link", "sub"]);
    const removed = await call("backup.remove", { id: made.output.id });
    expect(removed.output).toMatchObject({ removed: true });
    expect(readdirSync(`${machine.folder}/state/backups`)).toEqual([]);
    expect(await call("backup.remove", { id: made.output.id })).toMatchObject({ success: false });
    expect(await call("backup.create", { path: `${work}/none` })).toMatchObject({ success: false });
  });

  it("is nobody's to read or change by other tools", async () => {
    await call("backup.create", { path: `${work}/site` });
    await expect(call("fs.list", { path: `${machine.folder}/state/backups` })).rejects.toMatchObject({
      code: "PERMISSION_DENIED",
    });
  });
});

describe("storage.snapshot and storage.restore", () => {
  it("pack into a file and put back, and both are taken back", async () => {
    const archive = `${work}/site.tar.gz`;
    const made = await call("storage.snapshot", { path: `${work}/site`, archive });
    expect(made.output).toMatchObject({ entries: 5, bytes: statSync(archive).size });
    expect(await call("storage.snapshot", { path: `${work}/site`, archive })).toMatchObject({ success: false });
    writeFileSync(`${work}/site/index.html`, "broken");
    const restored = await call("storage.restore", { archive, path: `${work}/site` });
    expect(restored.output).toEqual({ restored: true });
    expect(readFileSync(`${work}/site/index.html`, "utf8")).toBe("<h1>");
    writeFileSync(`${work}/site/added`, "since");
    expect(await back(restored)).toMatchObject({ success: false, error: expect.stringContaining("--force") });
    rmSync(`${work}/site/added`);
    expect(await back(restored)).toEqual(done);
    expect(readFileSync(`${work}/site/index.html`, "utf8")).toBe("broken");
    expect(await back(made)).toEqual(done);
    expect(readdirSync(work)).toEqual(["site"]);
  });

  it("unpack no archive that this machine did not make", async () => {
    writeFileSync(`${work}/foreign.tar.gz`, "x");
    expect(await call("storage.restore", { archive: `${work}/foreign.tar.gz`, path: `${work}/site` })).toMatchObject({
      success: false,
      error: expect.stringContaining("no archive that this machine made"),
    });
    const inside = { path: `${work}/site`, archive: `${work}/site/in.tar.gz` };
    expect(await call("storage.snapshot", inside)).toMatchObject({ success: false });
  });
});
