/**
 * What runs held: makes each attempt and prints what came of it, as JSON. It is sent as text, so all that it uses is in it.
 */
export async function inside(attempts: readonly string[]): Promise<void> {
  process.emitWarning = () => {};
  const load = process.getBuiltinModule;
  const { connect } = load("node:net");
  const { openSync, closeSync, readdirSync, writeFileSync } = load("node:fs");
  const { spawnSync } = load("node:child_process");

  const connected = (to: string | number) =>
    new Promise<string>((resolve) => {
      const socket = typeof to === "number" ? connect(to, "127.0.0.1") : connect(to);
      socket.on("connect", () => resolve("ok"));
      socket.on("error", (error: NodeJS.ErrnoException) => resolve(error.code ?? error.message));
    });
  const acts: Record<string, (to: string) => Promise<string> | string> = {
    connect: connected,
    port: (to) => connected(Number(to)),
    read: (path) => {
      closeSync(openSync(path, "r"));
      return "ok";
    },
    list: (path) => {
      readdirSync(path);
      return "ok";
    },
    write: (path) => {
      writeFileSync(path, "x");
      return "ok";
    },
    // Opens it alone.
    set: (path) => {
      closeSync(openSync(path, "r+"));
      return "ok";
    },
    execute: (path) => {
      const { error, status } = spawnSync(path, ["--version"], { timeout: 10_000 });
      return (error as NodeJS.ErrnoException | undefined)?.code ?? (status === 0 ? "ok" : `ended with ${status}`);
    },
    // io_uring_setup, by number: it makes what seccomp cannot see.
    ring: () => {
      const { dlopen, getInt32 } = load("node:ffi");
      const { functions } = dlopen(null, {
        syscall: { arguments: ["int64", "int64", "int64"], return: "int64" },
        __errno_location: { arguments: [], return: "pointer" },
      });
      const made = (functions["syscall"] as (...words: bigint[]) => bigint)(425n, 1n, 0n);
      const errno = getInt32((functions["__errno_location"] as () => bigint)(), 0);
      return made >= 0n ? "ok" : (load("node:util").getSystemErrorName(-errno) as string);
    },
  };
  const results: Record<string, string> = {};
  for (const attempt of attempts) {
    const [act = "", to = ""] = attempt.split(" ");
    try {
      results[attempt] = (await acts[act]?.(to)) ?? "no such attempt";
    } catch (error) {
      results[attempt] = (error as NodeJS.ErrnoException).code ?? String(error);
    }
  }
  process.stdout.write(JSON.stringify(results), () => process.exit(0));
}
