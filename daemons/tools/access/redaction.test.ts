import { describe, expect, it } from "vitest";
import { type Fields, silentLog } from "#lib/log";
import { strictest } from "./policy.ts";
import { openRedaction, redactedLog, redactedMark } from "./redaction.ts";

const { redaction } = strictest;
const r = redactedMark;

describe("redaction", () => {
  it("takes out fields named after a secret, in any nesting, case and spelling", () => {
    const given = {
      a: [{ dbPassword: "x" }, { API_KEY: ["x"] }],
      "Private-Key": { pem: "x" },
      access_token: 5,
      token: null,
    };
    expect(JSON.parse(redaction.json(JSON.stringify(given)))).toEqual({
      a: [{ dbPassword: r }, { API_KEY: r }],
      "Private-Key": r,
      access_token: r,
      token: null,
    });
  });

  it("leaves everything else as it is, to the letter", () => {
    const given = '{ "path" : "/etc/hosts", "content":"a secretary told of the token ring"}';
    expect(redaction.json('{"path":"/x","n":1.0}')).toBe('{"path":"/x","n":1.0}');
    expect(JSON.parse(redaction.json(given))).toEqual(JSON.parse(given));
  });

  it.each([
    ["password=hunter2 user=me", `password=${r} user=me`],
    ["db_password: hunter2\nport: 1", `db_password: ${r}\nport: 1`],
    ['api_key = "hun ter2"', `api_key = ${r}`],
    ["--api-key hunter2 --port 1", `--api-key ${r} --port 1`],
    ["https://me:hunter2@example.org/x", `https://me:${r}@example.org/x`],
    ["Authorization: Bearer hunter2hunter2", `Authorization: ${r}`],
    ["x -----BEGIN RSA PRIVATE KEY-----\nhunter2\n-----END RSA PRIVATE KEY----- y", `x ${r} y`],
    ['{"inner":{"secret":"hunter2"}}', `{"inner":{"secret":${r}}}`],
  ])("takes a secret out of a text: %s", (given, left) => {
    expect(redaction.text(given)).toBe(left);
    expect(redaction.json(JSON.stringify({ text: given }))).not.toContain("hunter2");
  });

  it("takes out the word after an option", () => {
    expect(redaction.value(["run", "--password", "hunter2", "-v"])).toEqual(["run", "--password", r, "-v"]);
  });

  it("takes secrets out of what is not JSON, and of escaped names", () => {
    expect(redaction.json('{"password":"hunter2"')).not.toContain("hunter2");
    expect(redaction.json('{"p\\u0061ssword":"hunter2"}')).not.toContain("hunter2");
  });

  it("goes by the words it is given", () => {
    expect(openRedaction(["pin_code"]).json('{"pinCode":"1","password":"2"}')).toBe(
      `{"pinCode":"${r}","password":"2"}`,
    );
    expect(openRedaction([]).json('{"password":"2"}')).toBe('{"password":"2"}');
  });

  it("is quick, also with a text made to be slow", () => {
    const started = performance.now();
    for (const slow of [
      "password ".repeat(100_000),
      `password${'"'.repeat(500_000)}`,
      `token${" ".repeat(500_000)}`,
      "://".repeat(300_000),
    ])
      redaction.json(JSON.stringify({ slow }));
    expect(performance.now() - started).toBeLessThan(10_000);
  });

  it("holds for logs", () => {
    const lines: unknown[] = [];
    const log = redactedLog(
      { ...silentLog, warn: (msg: string, fields?: Fields) => void lines.push([msg, fields]) },
      () => redaction,
    );
    log.warn("password=hunter2", { token: "hunter2", error: new Error("secret: hunter2"), n: 1 });
    expect(JSON.stringify(lines)).not.toContain("hunter2");
    expect(lines).toMatchObject([[`password=${r}`, { n: 1 }]]);
  });
});
