// An example of a custom tool, in plain JavaScript, by the published proto alone: greet.hello, which writes a greeting to a
// file and can take it back. Usage: node example.mjs PROTO SOCKET FOLDER
import { readFileSync, rmSync, writeFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";
import { loadSync } from "@grpc/proto-loader";

const [proto, socket, folder] = process.argv.slice(2);
const { aios } = grpc.loadPackageDefinition(loadSync(proto, { keepCase: true, defaults: true }));

const check = (_, answer) => answer(null, { ready: true });

function run({ request }, answer) {
  const { name } = JSON.parse(request.input_json);
  if (name === "nobody") return answer(null, { success: false, error: "greet nobody: there is nobody; name somebody" });
  if (name === "exit") process.exit(1);
  if (name === "hang") return;
  const greeting = `Hello, ${name}, from ${request.caller}`;
  writeFileSync(`${folder}/${request.execution_id}`, greeting);
  const output = name === "liar" ? { wrong: true } : { greeting };
  answer(null, { success: true, output_json: Buffer.from(JSON.stringify(output)) });
}

function undo({ request }, answer) {
  const file = `${folder}/${request.execution_id}`;
  try {
    readFileSync(file);
    rmSync(file);
    answer(null, { success: true });
  } catch (error) {
    answer(null, { success: false, error: `remove ${file}: ${error.code}` });
  }
}

const server = new grpc.Server();
server.addService(aios.tools.ToolHandler.service, { Check: check, Run: run, Undo: undo });
server.bindAsync(`unix:${socket}`, grpc.ServerCredentials.createInsecure(), (error) => {
  if (error) throw error;
  console.log("ready");
});
