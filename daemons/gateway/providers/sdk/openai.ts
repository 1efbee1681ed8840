/** What we use of openai. A bundle of its own in the image (image/steps/bundles.ts), loaded when a question goes out. */
export { OpenAI } from "openai";
