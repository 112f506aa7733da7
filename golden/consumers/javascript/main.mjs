import { checkFiles } from "./check.mjs";
import { serve } from "./protocol.mjs";

const [option, ...paths] = process.argv.slice(2);
if (option === undefined) {
  await serve();
} else if (option === "--check" && paths.length > 0) {
  process.exitCode = checkFiles(paths);
} else {
  console.error("usage: node main.mjs                   answer to cases on standard input");
  console.error("       node main.mjs --check FILE...   compare with golden files");
  process.exitCode = 2;
}
