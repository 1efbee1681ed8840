/** The check of answers with its library, in a bundle of its own (image/steps/bundles.ts): loaded by the first schema. */
export { answerCheck } from "#lib/answer-check";
