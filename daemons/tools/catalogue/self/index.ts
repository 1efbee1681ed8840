/** Tools of self: the machine about itself. For the catalogue. */
export { selfTools } from "./reads.ts";
