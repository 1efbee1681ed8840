/**
 * The part of @anthropic-ai/sdk that we use: the client, and the one resource that is asked. A bundle of its own in the
 * image (image/steps/bundles.ts), which the gateway loads when a question goes out: until then nothing of it is read.
 */
export { BaseAnthropic } from "@anthropic-ai/sdk/client";
export { Messages } from "@anthropic-ai/sdk/resources/messages/messages";
