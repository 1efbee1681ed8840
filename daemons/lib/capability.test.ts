import { describe, expect, it } from "vitest";
import {
  capabilityText,
  covers,
  fillTemplate,
  globMatches,
  isWithin,
  literal,
  parseCapability,
  thingOf,
} from "./capability.ts";

describe("globs", () => {
  it.each([
    ["/etc/nginx/*", "/etc/nginx/a.conf", true],
    ["/etc/nginx/*", "/etc/nginx/sub/a.conf", false],
    ["/etc/nginx/*", "/etc/nginx", false],
    ["/etc/nginx/**", "/etc/nginx/sub/a.conf", true],
    ["/etc/nginx/**", "/etc/nginxx", false],
    ["/etc/**/a", "/etc/b/c/a", true],
    ["/a?c", "/abc", true],
    ["/a?c", "/a/c", false],
    ["/a*c*e", "/abcde", true],
    ["/a*c*e", "/abcdef", false],
    ["/a\\*", "/a*", true],
    ["/a\\*", "/ab", false],
    ["/a.c", "/abc", false],
    ["/[ab]", "/a", false],
    ["/**", "/", true],
    ["", "", true],
    ["/A", "/a", false],
  ])("%s and %s: %s", (glob, text, matches) => {
    expect(globMatches(glob, text)).toBe(matches);
  });

  it("take no more time than the product of the lengths", () => {
    const started = performance.now();
    expect(globMatches(`/${"**a".repeat(200)}c`, `/${"a".repeat(3000)}b`)).toBe(false);
    expect(performance.now() - started).toBeLessThan(10_000);
  });
});

describe("capabilities", () => {
  it("cover what they name and nothing else", () => {
    const does = (granted: string, needed: string) => covers(parseCapability(granted), parseCapability(needed));
    expect(does("fs:read:/a/*", "fs:read:/a/b")).toBe(true);
    expect(does("fs:read:/a/*", "fs:write:/a/b")).toBe(false);
    expect(does("fs:read", "fs:read:/a")).toBe(false);
    expect(does("monitor:read", "monitor:read")).toBe(true);
    expect(does("monitor:read:**", "monitor:read")).toBe(false);
  });

  it("are filled from fields, whose colons and stars mean nothing", () => {
    const filled = fillTemplate("fs:write:{path}", () => "/a:b/*");
    expect(capabilityText(filled)).toBe("fs:write:/a:b/*");
    expect(covers(parseCapability("fs:write:/a:b/\\*"), filled)).toBe(true);
    expect(covers(parseCapability("fs:write:/a:b/c"), filled)).toBe(false);
  });

  it.each(["", "fs", "fs:", ":read", "FS:read", "fs:read:", "fs read:x", "fs:read:\0"])("are not: %j", (text) => {
    expect(() => parseCapability(text)).toThrow("expected namespace:action");
  });

  it.each([
    ["fs:read:/var/log/a/b", true],
    ["fs:read:/var/log/**", true],
    ["fs:read:/var/log/", false],
    ["fs:read:/var/logs", false],
    ["fs:read:/var/log/../../etc/shadow", false],
    ["fs:read:/var/log/\\.\\./../etc/shadow", false],
    ["fs:read:/var/log/\\./a", false],
    ["fs:write:/var/log/a", false],
  ])("%s is within fs:read:/var/log/**: %s", (asked, within) => {
    expect(isWithin("fs:read:/var/log/**", asked)).toBe(within);
  });

  it.each([
    ["fs:read:/a\\*", "fs:read:/a*"],
    ["fs:read:/a/b", "fs:read:/a/b"],
    ["sec:read", "sec:read"],
    ["fs:read:/a/*", undefined],
    ["fs:read:/a?", undefined],
  ])("%s is a grant of the one thing %s", (text, thing) => {
    const found = thingOf(parseCapability(text));
    expect(found && capabilityText(found)).toBe(thing);
  });

  it.each(["/a*", "/a?\\", "/**/\\*", "a b"])("of %j as a literal are of that alone", (text) => {
    expect(globMatches(literal(text), text)).toBe(true);
    expect(thingOf(parseCapability(`fs:read:${literal(text)}`))?.resource).toBe(text);
  });
});
