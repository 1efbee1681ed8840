/** Tools of alert: what the machine's operators are to see, raised, listed and acknowledged. For the catalogue. */
export { alertTools } from "./alerts.ts";
