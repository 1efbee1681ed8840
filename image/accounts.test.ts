import { expect, test } from "vitest";
import { addAccounts } from "./accounts.ts";

const files = {
  passwd: "root:x:0:0:root:/root:/bin/bash\ndaemon:x:1:1::/:/usr/sbin/nologin\n",
  group: "root:x:0:\ndaemon:x:1:\n",
};

test("accounts are added locked, each with its group", () => {
  const accounts = [
    { name: "root", uid: 0, gid: 0 },
    { name: "aios-memory", uid: 902, gid: 902 },
    { name: "aios-agent-dev", uid: 928, gid: 928 },
  ];
  const after = addAccounts(files, accounts);
  expect(after.passwd).toBe(
    `${files.passwd}aios-memory:*:902:902:aiOS:/nonexistent:/usr/sbin/nologin\naios-agent-dev:*:928:928:aiOS:/nonexistent:/usr/sbin/nologin\n`,
  );
  expect(after.group).toBe(`${files.group}aios-memory:x:902:\naios-agent-dev:x:928:\n`);
  expect(after.passwd.match(/^root:/gm)).toHaveLength(1);
});

test("a number that Debian uses already is refused by name", () => {
  expect(() => addAccounts(files, [{ name: "x", uid: 1, gid: 900 }])).toThrow("uid 1 of x is daemon's already");
  expect(() => addAccounts(files, [{ name: "x", uid: 900, gid: 1 }])).toThrow("gid 1 of x is daemon's already");
});
