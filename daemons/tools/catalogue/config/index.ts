/** Tools of config: /etc/aios by key, checked before it is written, with its history. For the catalogue. */
export { configTools } from "./settings.ts";
