import { describe, expect, it } from "vitest";
import { planByProcedure } from "./procedure-source.ts";
import { readProcedures } from "./procedures.ts";

const shipped = readProcedures(new URL("../../../../rootfs/etc/aios/procedures", import.meta.url).pathname);
const planOf = (description: string) => planByProcedure(description, shipped.procedures, shipped.faults);

describe("a value", () => {
  it.each([
    ["delete the file /srv/build/libx.a now", { path: "/srv/build/libx.a" }],
    ["delete the folder /srv/app-a now please", { path: "/srv/app-a" }],
    ["please delete the file /srv/a now", { path: "/srv/a" }],
    ["move /srv/the-me to /srv/please.now", { source: "/srv/the-me", destination: "/srv/please.now" }],
    ['delete the file "/srv/please delete me now"', { path: "/srv/please delete me now" }],
    ["delete '/srv/a  b'", { path: "/srv/a  b" }],
    ["stop the a-team service now", { name: "a-team" }],
    ['stop service "now"', { name: "now" }],
    ["install libstdc++6", { name: "libstdc++6" }],
    ['create file /srv/q with content "a" and "b"', { path: "/srv/q", content: '"a" and "b"' }],
    ['create file /srv/q with content "a and b"', { path: "/srv/q", content: "a and b" }],
    ["create file /srv/q with content 'it's'", { path: "/srv/q", content: "'it's'" }],
    ["create file /srv/q with content the now please", { path: "/srv/q", content: "the now please" }],
    ["create a file /srv/it's with the content a  b.", { path: "/srv/it's", content: "a  b." }],
    ["append the line the a to b please to /srv/l please", { line: "the a to b please", path: "/srv/l" }],
    ["raise an alert: the disk is full and slow.", { title: "the disk is full and slow." }],
    ["restart 'it'", { name: "it" }],
    ["restart service system now", { name: "system" }],
    ["show the logs of system", { name: "system" }],
    ["clone git@git.example.org:a/b.git to /srv/b now", { url: "git@git.example.org:a/b.git", path: "/srv/b" }],
    ["clone the repository ssh://git@b.example/c to /srv/c.", { url: "ssh://git@b.example/c", path: "/srv/c" }],
    ["clone '/srv/my repo' into /srv/c", { url: "/srv/my repo", path: "/srv/c" }],
    ["find files named *.log in /srv", { pattern: "*.log", path: "/srv" }],
    ["find all files named 'my file' in /srv now", { pattern: "my file", path: "/srv" }],
    ["append 磁盘 满了 to /srv/日 志", undefined],
    ["append 磁盘 满了 to /srv/日志", { line: "磁盘 满了", path: "/srv/日志" }],
  ])("of %j is what was said", (goal, parameters) => {
    const plan = planOf(goal);
    if (parameters === undefined) expect(plan).toHaveProperty("reason");
    else expect(plan).toMatchObject({ parameters });
  });

  it.each([
    ["rename /srv/a/x to y", "/srv/a/y"],
    ["rename /srv/a/x/ to 'the y'", "/srv/a/the y"],
    ["rename the file /x to y.txt now", "/y.txt"],
    ["rename /srv/a/x to /srv/b/y", "/srv/b/y"],
    ["rename /srv/a/x to b/y", undefined],
    ["rename /srv/a/x to ..", undefined],
    ["move /srv/a/x to y", undefined],
  ])("of %j is a name in the same folder where that is declared", (goal, destination) => {
    const plan = planOf(goal);
    if (destination === undefined) expect(plan).toEqual({ reason: expect.stringContaining("not an absolute path") });
    else expect(plan).toMatchObject({ procedure: "file-rename", parameters: { destination } });
  });

  it.each([
    "stop service now",
    "restart it",
    "install everything",
    "restart the machine",
    "is that installed",
    "clone /srv/a to x",
    "clone a.git to /srv/a",
    "restart please",
    "uninstall package now",
    "delete the file now",
    "delete the file /srv/a b",
  ])("is none in %j", (goal) => {
    expect(planOf(goal)).toHaveProperty("reason");
  });
});

describe("a text without quotes", () => {
  it.each([
    "hello and make it readable only by root",
    "hello and then restart nginx",
    "hello; then stop it",
    "hello. Also delete /srv/y",
    "hello. Besides, nginx is not needed",
    "hello, and restart the service nginx",
    "hello and purge the package nginx",
    "hello, destroy the folder /srv/b",
    "hello but keep the old one",
    "hello with mode 0600",
    "hello readable only by root",
    "hello only if it is not there",
    "hello. Restart nginx",
    "hello and rerun the backup",
    "hello and frob it",
    "hello & restart nginx",
    "hello and a file /srv/y with content bye",
    "hello and another one at /srv/y",
    "hello and only root may read it",
    "hello and nobody else can read it",
    "hello so that root alone can read it",
    "hello and executable",
    "hello belonging to alice",
    "hello encoded as UTF-16",
    "hello chmod it to 600",
    "hello unless the disk is full",
    "hello if nginx runs",
    "hello before restarting nginx",
    "hello after the first line",
    "hello as a new line",
    "hello three times",
    "hello when idle",
    "hello (dry run)",
    "hello > /srv/y",
    "hello | tee /srv/y",
    "hello\nreboot",
    "of /srv/y",
    "from /srv/y",
    "the first line of /srv/y",
    "the output of uptime",
    "/srv/y",
    "today's date",
    "it",
    "when the disk is full",
    "every hour",
  ])("does not swallow what goes on: %s", (content) => {
    const goal = (text: string) => `create a file /srv/x with content ${text}`;
    expect(planOf(goal(content))).toEqual({ reason: expect.stringMatching(/: put the text in quotes$/) });
    expect(planOf(goal(`"${content}"`))).toMatchObject({ parameters: { path: "/srv/x", content } });
    expect(planOf(`raise an alert: ${content}`)).toEqual({ reason: expect.stringMatching(/put the text in quotes$/) });
  });

  it.each(["append hello to /srv/a and bye to /srv/b", "append hello to /srv/a and then append bye to /srv/b"])(
    "ends where it can be told: %s",
    (goal) => {
      expect(planOf(goal)).toEqual({ reason: expect.stringMatching(/could end before .*: put the text in quotes$/) });
    },
  );

  it.each(["hello every night", "hello at 17:00", "hello in 10 minutes", "hello tomorrow.", "hello once a day"])(
    "ends before a time, unless a colon introduced it: %s",
    (content) => {
      const reason = { reason: expect.stringMatching(/could end before .*: put the text in quotes$/) };
      expect(planOf(`create a file /srv/x with content ${content}`)).toEqual(reason);
      expect(planOf(`raise an alert ${content}`)).toEqual(reason);
      expect(planOf(`raise an alert: ${content}`)).toMatchObject({ parameters: { title: content } });
    },
  );

  it.each([
    "find files named *.log and *.txt in /srv",
    "find files named core larger than 1 MB in /srv",
    "put the text of /srv/a into /srv/b",
    "append the contents of /srv/a to /srv/b",
    "append hello every day to /srv/log",
    "raise an alert when the disk is full",
    "raise an alert about the disk",
    "append not the line hello to /srv/b",
    "append all of the line hello to /srv/b",
  ])("is not taken for all that it could be: %s", (goal) => {
    expect(planOf(goal)).toEqual({ reason: expect.stringMatching(/: put the text in quotes$/) });
  });

  it.each([
    "call mum",
    "see /etc/hosts",
    "127.0.0.1 localhost",
    "0 3 * * * root /usr/bin/x",
    "eggs, milk and bread",
    "a=1; b=2",
    '{"a": 1, "b": [2, 3]}',
    "the disk of web1 is full",
    "backup failed, exit code 3",
    "dear bob, how are you?",
    "date and place",
    "nameserver 1.1.1.1",
    "PermitRootLogin no",
    "a > b",
    "the line is drawn",
    "salt and pepper",
    "to be or not to be",
    "it works",
    "a list, and one more: a b",
    "first\n  second",
  ])("that goes on with nothing else is taken whole: %s", (content) => {
    expect(planOf(`create a file /srv/x with content ${content}`)).toMatchObject({ parameters: { content } });
  });
});
