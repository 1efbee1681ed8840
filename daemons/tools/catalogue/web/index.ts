/** Tools of web: requests of any method, pages as text, downloads. For the catalogue. */
import type { Tool } from "../../tool.ts";
import type { Outbound } from "../shared/index.ts";
import { downloadTool } from "./download.ts";
import { requestTool, scrapeTool } from "./requests.ts";

interface WebWorld {
  readonly outbound: Outbound;
  readonly paths: { readonly state: string };
}

export const webTools = ({ outbound, paths }: WebWorld): readonly Tool[] => [
  requestTool(outbound),
  downloadTool(`${paths.state}/ledger/spool`, outbound),
  scrapeTool(outbound),
];
