import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";
import { formatManifest, mergeManifests, modelEntry, parseManifest } from "./model-manifest.ts";

const hash = "ab".repeat(32);
const one = (line: string) => parseManifest(`[[model]]\nname = "m"\nfile = "m.gguf"\n${line}\n`, "models.toml");

describe("a manifest of models", () => {
  it("is read, and written as it was read", () => {
    const entries = [
      modelEntry({
        name: "a",
        url: "https://host/x/a.Q4.gguf?download=1",
        sha256: hash,
        sizeBytes: 5,
        role: "tactical",
      }),
      modelEntry({ name: "b", path: "/srv/b.gguf", contextTokens: 512, gpuLayers: 0 }),
    ];
    expect(entries.map(({ file }) => file)).toEqual(["a.Q4.gguf", "b.gguf"]);
    const text = formatManifest(entries, "written by a test\nin two lines");
    expect(text).toMatch(/^# written by a test\n# in two lines\n\n\[\[model\]\]/);
    expect(parseManifest(text, "models.toml")).toEqual(entries);
    expect(parseManifest(formatManifest([], "none"), "models.toml")).toEqual([]);
  });

  it.each([
    ['sha256 = "ABCD"', /models\.toml: model 1: sha256: "ABCD" is not 64 lower-case/],
    ['url = "ftp://host/m.gguf"', /url: .* is not an http or https address/],
    ['path = "m.gguf"', /path: .* an absolute path/],
    ['role = "boss"', /role: .* operational, tactical, embedding/],
    ["size_bytes = -1", /size_bytes: -1 is not a whole number from 0/],
    ["context_tokens = 1.5", /context_tokens: 1.5/],
    ["gpu_layers = -2", /gpu_layers: -2 is not a whole number from -1/],
    ["weight = 1", /weight: no such key; there are name, file/],
    ['[[model]]\nname = "m"\nfile = "n.gguf"', /name: m is there twice/],
    ['[[model]]\nname = "../etc"\nfile = "n.gguf"', /model 2: name/],
    ['[[model]]\nname = "n"\nfile = "../n.gguf"', /model 2: file/],
    ['[[model]]\nname = "n"', /model 2: file: the key is missing/],
    ["x = ", /models\.toml:4: TOML/],
  ])("with %j is refused, with where and what was expected", (line, message) => {
    expect(() => one(line)).toThrow(message);
  });

  it("is merged by name, field by field, but a hash belongs to its address", () => {
    const image = parseManifest(
      `[[model]]\nname = "m"\nfile = "m.gguf"\nrole = "tactical"\nsha256 = "${hash}"`,
      "image",
    );
    const [same] = mergeManifests(image, [modelEntry({ name: "m", file: "m.gguf", contextTokens: 9 })]);
    expect(same).toMatchObject({ role: "tactical", sha256: hash, contextTokens: 9 });
    const [moved] = mergeManifests(image, [modelEntry({ name: "m", file: "m.gguf", url: "http://elsewhere/m.gguf" })]);
    expect(moved).toMatchObject({ role: "tactical", sha256: "", url: "http://elsewhere/m.gguf" });
    expect(mergeManifests(image, [modelEntry({ name: "n", file: "n.gguf" })]).map(({ name }) => name)).toEqual([
      "m",
      "n",
    ]);
  });

  it("of the image names the public system's models by file and role, without an address", () => {
    const path = new URL("../../rootfs/usr/share/aios/models.toml", import.meta.url);
    const entries = parseManifest(readFileSync(path, "utf8"), "models.toml");
    expect(entries.map(({ name, role, url }) => [name, role, url])).toEqual([
      ["aios-bringup", "bring-up", ""],
      ["tinyllama-1.1b", "operational", ""],
      ["phi-3-3.8b", "tactical", ""],
      ["mistral-7b", "tactical", ""],
      ["llama-13b", "tactical", ""],
    ]);
  });
});
