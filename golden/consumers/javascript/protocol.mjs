// Cases on standard input, trajectories on standard output, one line of JSON each.

import { createInterface } from "node:readline";

import { FORMATS } from "./bits.mjs";
import { records } from "./case.mjs";
import { Refusal } from "./settings.mjs";

export async function serve() {
  write({
    protocol: 1,
    name: "golden-javascript",
    version: "1.0",
    language: "JavaScript",
    dtypes: Object.keys(FORMATS),
    digests: true,
    versions: { node: process.versions.node },
  });
  for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
    const document = JSON.parse(line);
    write({ id: document.id, ...outcome(document) });
  }
}

function write(message) {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}

function outcome(document) {
  try {
    return { trajectory: [...records(document)] };
  } catch (error) {
    if (!(error instanceof Refusal)) throw error; // a mistake of this program
    return { error: { type: error.kind, message: error.message, call: error.call ?? null } };
  }
}
