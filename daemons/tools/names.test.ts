import { describe, expect, it } from "vitest";
import { resolveHost, resolveUrl } from "./names.ts";

describe("a host", () => {
  it.each([
    ["Example.ORG.", "example.org"],
    ["127.1", "127.0.0.1"],
    ["0x7f.0.0.1", "127.0.0.1"],
    ["2130706433", "127.0.0.1"],
    ["::FFFF:127.0.0.1", "::ffff:7f00:1"],
    ["2001:DB8:0::1", "2001:db8::1"],
    ["bücher.example", "xn--bcher-kva.example"],
    ["１２７.0.0.1", "127.0.0.1"],
  ])("%s is compared as %s", (given, name) => {
    expect(resolveHost(given)).toEqual({ given, name });
  });

  it.each([
    "",
    ".",
    "a b",
    "a/b",
    "a@b",
    "a:80",
    "a\0b",
    "-o",
    "fe80::1%eth0",
    "a..b",
    "x".repeat(300),
    "1.2.3.4.5",
    "[::1]",
  ])("%j is none", (given) => {
    expect(() => resolveHost(given)).toThrow("it is not a host name or an IP address");
  });
});

describe("a URL", () => {
  it.each([
    ["HTTP://Example.org", "http://example.org/"],
    ["https://example.org:443/a/../b?c=d#e", "https://example.org/b?c=d"],
    ["http://0x7f000001:8080/", "http://127.0.0.1:8080/"],
    ["http://[::ffff:127.0.0.1]/x", "http://[::ffff:7f00:1]/x"],
    ["http:\\\\example.org\\a", "http://example.org/a"],
  ])("%s is compared as %s", (given, name) => {
    expect(resolveUrl(given)).toEqual({ given, name });
  });

  it.each([
    ["file:///etc/passwd", "its scheme is file:"],
    ["https://example.org@evil.example/", "a user name"],
    ["example.org", "it is not a URL"],
    ["http://", "it is not a URL"],
    ["http://*.example/", "its host is not"],
    [`http://a/${"x".repeat(2048)}`, "longer than 2048 characters"],
  ])("%s is refused", (given, reason) => {
    expect(() => resolveUrl(given)).toThrow(reason);
  });
});
