/**
 * The part of openai that we use. A bundle of its own in the image (image/steps/bundles.ts), loaded when a question
 * goes out.
 */
export { OpenAI } from "openai";
