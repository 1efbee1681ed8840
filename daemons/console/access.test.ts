import { readFileSync } from "node:fs";
import { fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorProtoSchema } from "@bufbuild/protobuf/wkt";
import { describe, expect, it } from "vitest";
import { daemons } from "#manifest";
import { offered, rules } from "./access.ts";

/** Every call of every service of ours, as the protos have it: "/aios.init.Init/GetBoot". */
const descriptors: Record<string, { descriptor: string }> = JSON.parse(
  readFileSync(new URL("../../proto/gen/descriptors.json", import.meta.url), "utf8"),
);
const paths = Object.values(descriptors)
  .map(({ descriptor }) => fromBinary(FileDescriptorProtoSchema, Buffer.from(descriptor, "base64")))
  .filter((file) => file.package.startsWith("aios."))
  .flatMap((file) =>
    file.service.flatMap((service) => service.method.map(({ name }) => `/${file.package}.${service.name}/${name}`)),
  );

describe("the table of who may call what", () => {
  it("has each call of each of our services, once, and no other", () => {
    expect(paths.length).toBeGreaterThan(60);
    expect(rules.map(({ path }) => path).sort()).toEqual([...paths].sort());
  });

  it("sends each call to a daemon of the machine", () => {
    const known = [...daemons.map(({ name }) => name), "init"];
    for (const daemon of offered.values()) expect(known).toContain(daemon);
  });

  it("lets readers change nothing", () => {
    const changing =
      /^(Submit|Cancel|Create|Delete|Execute|Rollback|Start|Stop|Restart|Shutdown|Reboot|Load|Unload|Infer|StreamInfer|Store|Update|Push|Add|Register|Enroll)/;
    const wrong = rules.filter(({ path, least }) => least === "reader" && changing.test(path.split("/")[2] ?? ""));
    // The one call whose effect is not its name's: each tool says who may call it, and aios-tools refuses the rest.
    expect(wrong.map(({ path }) => path)).toEqual(["/aios.tools.ToolRegistry/Execute"]);
  });
});
