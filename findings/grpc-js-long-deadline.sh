#!/bin/sh
# The guess: a deadline far in the future is as good as none; a server waits until it passes, or for ever.
# What is so: @grpc/grpc-js's server reads grpc-timeout into 32 bits (milliseconds modulo 2^32, signed). A client of any
# language that allows a call 30 days is answered DEADLINE_EXCEEDED at once, and one that allows 50 days gets another time.
# Its own client hides it only for timers: it sends the header all the same.
# Seen with @grpc/grpc-js 1.14.7 on Node 20 and 26, November 2026. Source: this run; build/src/server-interceptors.js, where
# the header is parsed.
set -eu
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
npm init --yes >/dev/null
npm install --silent --no-audit --no-fund @grpc/grpc-js@1.14.7
cat >look.cjs <<'JS'
const grpc = require("@grpc/grpc-js");
const bytes = (message) => message;
const method = { path: "/t.T/Wait", requestStream: false, responseStream: false, requestSerialize: bytes,
  requestDeserialize: bytes, responseSerialize: bytes, responseDeserialize: bytes };
const server = new grpc.Server();
// Answers after half a second: every deadline below is days away.
server.addService({ wait: method }, { wait: (_, done) => setTimeout(() => done(null, Buffer.from("answered")), 500) });
server.bindAsync("127.0.0.1:0", grpc.ServerCredentials.createInsecure(), async (error, port) => {
  if (error) throw error;
  const client = new grpc.Client(`127.0.0.1:${port}`, grpc.credentials.createInsecure());
  const call = (days) => new Promise((resolve) => {
    const deadline = Date.now() + days * 86_400_000;
    client.makeUnaryRequest(method.path, bytes, bytes, Buffer.alloc(0), new grpc.Metadata(), { deadline },
      (failed, answer) => resolve(failed ? grpc.status[failed.code] : String(answer)));
  });
  const seen = {};
  for (const days of [1, 24, 30]) seen[days] = await call(days);
  console.log(`@grpc/grpc-js ${require("@grpc/grpc-js/package.json").version}, node ${process.version}`);
  for (const [days, outcome] of Object.entries(seen)) console.log(`deadline in ${days} days: ${outcome}`);
  client.close();
  server.forceShutdown();
  const expected = { 1: "answered", 24: "answered", 30: "DEADLINE_EXCEEDED" };
  if (JSON.stringify(seen) !== JSON.stringify(expected)) {
    console.error("this has changed: expected " + JSON.stringify(expected));
    process.exitCode = 1;
  }
});
JS
node look.cjs
