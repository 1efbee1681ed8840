/**
 * Generates proto/gen from proto/: TypeScript by ts-proto, and descriptors.json for server reflection.
 * With --check nothing is written: it fails when proto/gen is not what would be generated.
 */
import { execFileSync } from "node:child_process";
import { cpSync, mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { delimiter, join, resolve } from "node:path";
import { fromBinary, toBinary } from "@bufbuild/protobuf";
import { type DescriptorProto, FileDescriptorProtoSchema, FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";

const root = resolve(import.meta.dirname, "..");
const generated = join(root, "proto/gen");
const env = { ...process.env, PATH: `${join(root, "node_modules/.bin")}${delimiter}${process.env["PATH"] ?? ""}` };

if (process.argv.includes("--check")) check();
else generate(generated);

function buf(...args: string[]): void {
  execFileSync(join(root, "node_modules/.bin/buf"), args, { cwd: root, env, stdio: ["ignore", "inherit", "inherit"] });
}

function generate(out: string): void {
  const template = readFileSync(join(root, "buf.gen.yaml"), "utf8").replace("out: proto/gen", `out: ${out}`);
  const scratch = mkdtempSync(join(tmpdir(), "aios-proto-"));
  try {
    writeFileSync(join(scratch, "buf.gen.yaml"), template);
    buf("generate", "--template", join(scratch, "buf.gen.yaml"));
    buf("build", "--as-file-descriptor-set", "-o", join(scratch, "set.binpb"));
    const set = fromBinary(FileDescriptorSetSchema, readFileSync(join(scratch, "set.binpb")));
    const entries = set.file.map((file) => {
      const types = file.messageType.flatMap((message) => symbols(message, file.package));
      const services = file.service.flatMap((service) => {
        const name = `${file.package}.${service.name}`;
        return [name, ...service.method.map((method) => `${name}.${method.name}`)];
      });
      const enums = file.enumType.map((type) => `${file.package}.${type.name}`);
      file.sourceCodeInfo = undefined as never;
      const descriptor = Buffer.from(toBinary(FileDescriptorProtoSchema, file)).toString("base64");
      return [file.name, { descriptor, imports: file.dependency, symbols: [...services, ...types, ...enums] }];
    });
    writeFileSync(join(out, "descriptors.json"), `${JSON.stringify(Object.fromEntries(entries), null, 1)}\n`);
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function symbols(message: DescriptorProto, scope: string): string[] {
  const name = `${scope}.${message.name}`;
  return [
    name,
    ...message.nestedType.flatMap((nested) => symbols(nested, name)),
    ...message.enumType.map((type) => `${name}.${type.name}`),
  ];
}

/** Lints, compares with the last release's numbers, and with what is committed. */
function check(): void {
  buf("lint");
  const release = lastRelease();
  if (release !== undefined) buf("breaking", "--against", `.git#tag=${release}`);
  const scratch = mkdtempSync(join(tmpdir(), "aios-gen-"));
  try {
    cpSync(generated, scratch, { recursive: true });
    generate(scratch);
    const stale = [...new Set([...tree(generated), ...tree(scratch)])].filter(
      (file) => text(generated, file) !== text(scratch, file),
    );
    if (stale.length > 0) {
      console.error(`proto/gen is stale: ${stale.join(", ")}; run "npm run proto" and commit the result`);
      process.exitCode = 1;
    }
  } finally {
    rmSync(scratch, { recursive: true });
  }
}

function lastRelease(): string | undefined {
  const tags = execFileSync("git", ["tag", "--list", "v*", "--sort=-version:refname"], { cwd: root, encoding: "utf8" });
  return tags.split("\n")[0] || undefined;
}

function tree(folder: string): string[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => join(entry.parentPath, entry.name).slice(folder.length + 1));
}

function text(folder: string, file: string): string | undefined {
  try {
    return readFileSync(join(folder, file), "utf8");
  } catch {
    return undefined;
  }
}
