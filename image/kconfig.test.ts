import { readdirSync, readFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { expect, test } from "vitest";
import { demandsOf, mergedLines, unmet } from "./kconfig.ts";
import { profileSpecs, profiles } from "./profile.ts";

const fragments = resolve(import.meta.dirname, "../kernel-config");

test("demands: values, off, comments", () => {
  const text = '# why\nCONFIG_A=y\nCONFIG_B=m\nCONFIG_C="x y"\n# CONFIG_D is not set\n# CONFIG_E is nice\n';
  expect(demandsOf("f", text).map(({ option, value }) => [option, value])).toEqual([
    ["CONFIG_A", "y"],
    ["CONFIG_B", "m"],
    ["CONFIG_C", '"x y"'],
    ["CONFIG_D", "n"],
  ]);
});

test("the check names the fragment, the option and what became of it", () => {
  const demands = demandsOf(
    "base",
    "CONFIG_A=y\nCONFIG_B=y\nCONFIG_C=512\n# CONFIG_D is not set\n# CONFIG_E is not set\n",
  );
  const config = "CONFIG_A=y\nCONFIG_C=64\nCONFIG_D=y\n";
  expect(unmet(demands, config)).toEqual([
    "base asks for CONFIG_B=y, the kernel has n",
    "base asks for CONFIG_C=512, the kernel has 64",
    "base asks for CONFIG_D=n, the kernel has y",
  ]);
  expect(unmet(demandsOf("base", "CONFIG_A=y"), config)).toEqual([]);
});

test("the last fragment wins in what is merged", () => {
  const demands = [...demandsOf("a", "CONFIG_X=y"), ...demandsOf("b", "# CONFIG_X is not set\nCONFIG_Y=m")];
  expect(mergedLines(demands)).toBe("# CONFIG_X is not set\nCONFIG_Y=m\n");
});

test.each(profiles)("the fragments of %s exist and agree with each other", (profile) => {
  const demands = profileSpecs[profile].fragments.flatMap((name) =>
    demandsOf(name, readFileSync(join(fragments, `${name}.config`), "utf8")),
  );
  const config = mergedLines(demands);
  expect(unmet(demands, config)).toEqual([]);
});

test("every fragment is used by a profile", () => {
  const used = new Set(profiles.flatMap((profile) => profileSpecs[profile].fragments));
  for (const file of readdirSync(fragments).filter((name) => name.endsWith(".config")))
    expect(used).toContain(file.replace(".config", ""));
});
