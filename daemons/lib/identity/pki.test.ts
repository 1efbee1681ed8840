import { describe, expect, it } from "vitest";
import { roleOf } from "./pki.ts";
import { allows } from "./role.ts";

describe("pki", () => {
  it("reads exactly one role, and none out of a quoted name", () => {
    expect(roleOf("URI:aios:role:admin")).toBe("admin");
    expect(roleOf("DNS:aios, URI:aios:role:reader")).toBe("reader");
    expect(roleOf("URI:aios:role:admin, URI:aios:role:reader")).toBeUndefined();
    expect(roleOf('DNS:"x, URI:aios:role:admin, y"')).toBeUndefined();
    expect(roleOf("URI:aios:role:root")).toBeUndefined();
    expect(roleOf(undefined)).toBeUndefined();
    expect(allows("admin", "reader") && allows("reader", "reader")).toBe(true);
    expect(allows("reader", "operator") || allows("operator", "admin")).toBe(false);
  });
});
