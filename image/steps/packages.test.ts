import { describe, expect, it } from "vitest";
import { parseList, withoutDependencies } from "./packages.ts";

describe("the list of packages", () => {
  it("names one a line, and what it is not to bring along", () => {
    expect(parseList("# a comment\nbash  # the shell\n\ngit without perl  liberror-perl\n")).toEqual([
      { name: "bash", without: [] },
      { name: "git", without: ["perl", "liberror-perl"] },
    ]);
    expect(() => parseList("git perl\n")).toThrow("git perl: expected NAME without OTHERS");
  });

  it("takes what is left out from the dependencies of that package alone", () => {
    const status = [
      "Package: git\nVersion: 1\nDepends: libc6 (>= 2.38), perl, liberror-perl, perl-base | none\nDescription: x",
      "Package: other\nDepends: perl",
      "",
    ].join("\n\n");
    expect(withoutDependencies(status, [{ name: "git", without: ["perl", "liberror-perl"] }])).toBe(
      status.replace("perl, liberror-perl, perl-base", "perl-base"),
    );
  });
});
