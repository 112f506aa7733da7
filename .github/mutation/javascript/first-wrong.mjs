// The consumer in the current folder against the golden files, until its first answer that is not exact.

import { readdirSync, statSync } from "node:fs";
import { fileURLToPath, pathToFileURL } from "node:url";

const golden = fileURLToPath(new URL(process.env.GOLDEN ?? "../../../golden", import.meta.url));
const { gradesOf } = await import(pathToFileURL(`${process.cwd()}/check.mjs`));

const PARTS = ["rejections.json", "schedules", "stages/norm.json", "standard"];
const files = PARTS.flatMap((part) => {
  if (part.endsWith(".json")) return [part];
  const inside = readdirSync(`${golden}/${part}`, { recursive: true }).filter((name) => name.endsWith(".json"));
  return inside.map((name) => `${part}/${name}`);
}).map((name) => `${golden}/${name}`);

// Small files first: a mutant that a small one notices needs no other.
files.sort((a, b) => statSync(a).size - statSync(b).size);

for (const file of files) {
  for (const grade of gradesOf(file)) {
    if (grade === "rounding" || grade === "diverge") process.exit(1);
  }
}
