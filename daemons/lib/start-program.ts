/** The head of every program that is started with its code cache (image/steps/bundles.ts): loads the program's code. */
import { join } from "node:path";
import { loadCode } from "./load-code.ts";

/** Where the code is, from the program's folder: set when it is bundled. */
declare const code: string;

loadCode(join(__dirname, code));
