import { writeBringUpModel } from "./bring-up.ts";

const path = process.argv[2];
if (path === undefined)
  throw new Error("write the bring-up model: no path given; run it as: node image/model/write.ts FILE");
writeBringUpModel(path);
