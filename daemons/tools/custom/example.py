# An example of a custom tool in another language, by the published proto alone: greet.hello, which writes a greeting to a
# file and can take it back. Usage: python3 example.py DESCRIPTORS SOCKET FOLDER (Debian: python3-grpcio, python3-protobuf)
import base64, concurrent.futures, json, os, sys, time
import grpc
from google.protobuf import descriptor_pool, message_factory

descriptors, socket, folder = sys.argv[1:]
published = json.load(open(descriptors))["aios/tool_handler.proto"]
pool = descriptor_pool.DescriptorPool()
pool.AddSerializedFile(base64.b64decode(published["descriptor"]))
messages = message_factory.MessageFactory(pool)
message = lambda name: messages.GetPrototype(pool.FindMessageTypeByName("aios.tools." + name))

def check(request, context):
    return message("CheckResponse")(ready=True)

def run(request, context):
    name, answer = json.loads(request.input_json)["name"], message("RunResponse")
    if name == "nobody": return answer(error="greet nobody: there is nobody; name somebody")
    if name == "exit": os._exit(1)
    if name == "hang": time.sleep(60)
    greeting = f"Hello, {name}, from {request.caller}"
    with open(f"{folder}/{request.execution_id}", "w") as file: file.write(greeting)
    output = {"wrong": True} if name == "liar" else {"greeting": greeting}
    return answer(success=True, output_json=json.dumps(output).encode())

def undo(request, context):
    file = f"{folder}/{request.execution_id}"
    try:
        os.remove(file)
        return message("UndoResponse")(success=True)
    except OSError as error:
        return message("UndoResponse")(error=f"remove {file}: {error.strerror}")

server = grpc.server(concurrent.futures.ThreadPoolExecutor(4))
method = lambda call, name: grpc.unary_unary_rpc_method_handler(
    call, message(name + "Request").FromString, lambda answer: answer.SerializeToString())
calls = {"Check": method(check, "Check"), "Run": method(run, "Run"), "Undo": method(undo, "Undo")}
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("aios.tools.ToolHandler", calls)])
server.add_insecure_port(f"unix:{socket}")
server.start()
print("ready", flush=True)
server.wait_for_termination()
