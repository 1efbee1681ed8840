/** Tools of hw: what the machine is made of. For the catalogue; what measures reads the same devices. */
import type { Tool } from "../../tool.ts";
import type { KernelFolders } from "../shared/index.ts";
import { deviceTools } from "./devices.ts";
import { infoTool } from "./info.ts";

export { readSensors } from "./devices.ts";
export { readGpus } from "./gpu.ts";

export const hwTools = ({ kernel }: { readonly kernel: KernelFolders }): readonly Tool[] => [
  infoTool(kernel),
  ...deviceTools(kernel),
];
