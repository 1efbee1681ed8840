import { expect, it } from "vitest";
import { faultOf, retryAfterOf, tidy } from "./fault.ts";

it.each([
  ["Incorrect API key provided: AIzaSyD-123456789abc.", "Incorrect API key provided: [key]."],
  ["key AIzaSy******9abc is wrong", "key [key] is wrong"],
  ["Bearer abcdefgh", "Bearer [key]"],
  ["another's sk-proj-abcdefghijkl", "another's [key]"],
  ["two\nlines\u0000 and  blanks", "two lines and blanks"],
])("tells %j without the key", (text, told) => {
  expect(tidy(text, "AIzaSyD-123456789abc")).toBe(told);
});

it("is short", () => {
  expect(tidy("x".repeat(10_000), undefined)).toHaveLength(300);
});

it.each([
  [{}, undefined],
  [{ "retry-after": "1.5" }, 1_500],
  [{ "retry-after": "999999999999" }, 3_600_000],
  [{ "retry-after": "soon" }, undefined],
  [{ "retry-after": "" }, undefined],
  [{ "retry-after": "-3" }, undefined],
  [{ "retry-after": "Thu, 01 Jan 1970 00:00:05 GMT" }, 4_000],
  [{ "retry-after": "Thu, 01 Jan 1970 00:00:00 GMT" }, 0],
  [{ "retry-after-ms": "20", "retry-after": "9" }, 20],
])("reads %j", (headers, ms) => {
  expect(retryAfterOf(new Headers(headers), 1_000)).toBe(ms);
});

it.each([
  [{ status: 401 }, "key"],
  [{ status: 403 }, "key"],
  [{ status: 429 }, "limited"],
  [{ status: 400 }, "request"],
  [{ status: 404 }, "model"],
  [{ status: 413 }, "request"],
  [{ status: 408 }, "unreachable"],
  [{ status: 529 }, "unreachable"],
  [{ status: 504 }, "slow"],
  [{ code: "Z_DATA_ERROR" }, "cut"],
  [{ code: "HPE_INVALID_CHUNK_SIZE" }, "cut"],
  [{ code: "ETIMEDOUT" }, "cut"],
  [{ code: "ETIMEDOUT", syscall: "connect" }, "unreachable"],
  [{ code: "ERR_SSL_WRONG_VERSION_NUMBER" }, "unreachable"],
  [{ error: { error: { type: "overloaded_error" } } }, "unreachable"],
  [{ error: { type: "rate_limit_error" } }, "limited"],
  [{ error: { type: "authentication_error" } }, "key"],
  [{ error: { type: "invalid_request_error" } }, "request"],
  [{}, "unreachable"],
])("takes %j for %s", (more, kind) => {
  expect(faultOf(Object.assign(new Error("x"), more), 0, undefined).kind).toBe(kind);
});
