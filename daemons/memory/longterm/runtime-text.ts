import { BinaryReader, BinaryWriter } from "@bufbuild/protobuf/wire";
import { connect } from "#lib/client";

/*
 * Two calls of aios.runtime.AIRuntime, as far as the memory uses them: fields by number, so that this part does not depend on
 * the rest of that service. Embed: texts=1, truncate=3, priority=5 → embeddings=1 {values=1}, model_used=2.
 * CountTokens: prompt=2 → tokens=1, model_used=3.
 */

export interface Embedded {
  readonly vectors: readonly Float32Array[];
  /** Name of the model that made them. */
  readonly model: string;
}

/** What the runtime makes of texts. */
export interface RuntimeText {
  /** Vectors of length 1 by the embedding model. Rejects with the runtime's code: there is none, or it is away. */
  embed(texts: readonly string[], priority: "interactive" | "background"): Promise<Embedded>;
  /** Tokens of a prompt in the operational model's chat format. */
  countTokens(prompt: string): Promise<number>;
  close(): void;
}

const interactiveTimeoutMs = 1_000;
const backgroundTimeoutMs = 120_000;
const countTimeoutMs = 300;

interface EmbedRequest {
  readonly texts: readonly string[];
  readonly priority: string;
}

const definition = {
  embed: {
    path: "/aios.runtime.AIRuntime/Embed" as const,
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: ({ texts, priority }: EmbedRequest): Buffer => {
      const writer = new BinaryWriter();
      for (const text of texts) writer.tag(1, 2).string(text);
      writer.tag(3, 0).bool(true);
      writer.tag(5, 2).string(priority);
      return Buffer.from(writer.finish());
    },
    requestDeserialize: (value: Buffer): EmbedRequest => {
      const texts: string[] = [];
      let priority = "";
      eachField(value, (field, reader) => {
        if (field === 1) texts.push(reader.string());
        else if (field === 5) priority = reader.string();
        else return false;
        return true;
      });
      return { texts, priority };
    },
    responseSerialize: ({ vectors, model }: Embedded): Buffer => {
      const writer = new BinaryWriter();
      for (const vector of vectors) {
        writer.tag(1, 2).fork().tag(1, 2).fork();
        for (const value of vector) writer.float(value);
        writer.join().join();
      }
      writer.tag(2, 2).string(model);
      return Buffer.from(writer.finish());
    },
    responseDeserialize: (value: Buffer): Embedded => {
      const vectors: Float32Array[] = [];
      let model = "";
      eachField(value, (field, reader) => {
        if (field === 1) vectors.push(floatsOf(reader.bytes()));
        else if (field === 2) model = reader.string();
        else return false;
        return true;
      });
      return { vectors, model };
    },
  },
  countTokens: {
    path: "/aios.runtime.AIRuntime/CountTokens" as const,
    requestStream: false as const,
    responseStream: false as const,
    requestSerialize: (prompt: string): Buffer => Buffer.from(new BinaryWriter().tag(2, 2).string(prompt).finish()),
    requestDeserialize: (value: Buffer): string => {
      let prompt = "";
      eachField(value, (field, reader) => {
        if (field !== 2) return false;
        prompt = reader.string();
        return true;
      });
      return prompt;
    },
    responseSerialize: (tokens: number): Buffer => Buffer.from(new BinaryWriter().tag(1, 0).int32(tokens).finish()),
    responseDeserialize: (value: Buffer): number => {
      let tokens = 0;
      eachField(value, (field, reader) => {
        if (field !== 1) return false;
        tokens = reader.int32();
        return true;
      });
      return tokens;
    },
  },
};

/** The two calls as a service: what tests stand in for. */
export const runtimeTextDefinition = definition;

/** `target` is the runtime's socket. */
export function runtimeText(target: string): RuntimeText {
  const client = connect(definition, target);
  return {
    embed: (texts, priority) =>
      client.embed(
        { texts, priority },
        { timeoutMs: priority === "interactive" ? interactiveTimeoutMs : backgroundTimeoutMs },
      ),
    countTokens: (prompt) => client.countTokens(prompt, { timeoutMs: countTimeoutMs }),
    close: () => client.close(),
  };
}

/** Calls `read` for each field; what it does not read (false) is skipped. */
function eachField(bytes: Uint8Array, read: (field: number, reader: BinaryReader) => boolean): void {
  const reader = new BinaryReader(bytes);
  while (reader.pos < reader.len) {
    const [field, wireType] = reader.tag();
    if (!read(field, reader)) reader.skip(wireType);
  }
}

/** Embedding { repeated float values = 1; }, packed. */
function floatsOf(message: Uint8Array): Float32Array {
  const values: number[] = [];
  eachField(message, (field, reader) => {
    if (field !== 1) return false;
    const end = reader.uint32() + reader.pos;
    while (reader.pos < end) values.push(reader.float());
    return true;
  });
  return Float32Array.from(values);
}
