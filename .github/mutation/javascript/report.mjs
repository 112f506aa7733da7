// What StrykerJS found, as a table: `node report.mjs REPORT.json`. The status is 1 if a mutant is left open.

import { readFileSync } from "node:fs";

const EQUIVALENT = JSON.parse(readFileSync(new URL("equivalent.json", import.meta.url), "utf8"));

/** The line of a mutant, before and after the change. */
function lines(source, { location: { start, end }, replacement }) {
  const all = source.split("\n");
  const changed = all.slice(start.line - 1, end.line);
  const head = changed[0].slice(0, start.column - 1);
  const tail = changed.at(-1).slice(end.column - 1);
  const joined = (text) => text.replace(/\s+/g, " ").trim();
  return { before: joined(changed.join("\n")), after: joined(head + (replacement ?? "") + tail) };
}

const isListed = (file, { before, after }) =>
  EQUIVALENT.some((row) => row.file === file && before.includes(row.before) && after.includes(row.after));

const { files } = JSON.parse(readFileSync(process.argv[2], "utf8"));
const rows = [];
const open = [];
for (const [path, { source, mutants }] of Object.entries(files)) {
  const file = path.split("/").at(-1);
  const tried = mutants.filter(({ status }) => status !== "Ignored");
  const left = tried.filter(({ status }) => status === "Survived" || status === "NoCoverage");
  const found = left.map((mutant) => lines(source, mutant));
  const unlisted = found.filter((mutant) => !isListed(file, mutant));
  const counts = [tried.length, tried.length - left.length, found.length - unlisted.length, unlisted.length];
  rows.push(`| \`${file}\` | ${counts.join(" | ")} |`);
  const cell = (line) => `\`${line.replaceAll("|", "\\|")}\``;
  open.push(...unlisted.map(({ before, after }) => `| ${cell(file)} | ${cell(before)} | ${cell(after)} |`));
}

console.log("| file | mutants | killed | equivalent | open |\n|---|---:|---:|---:|---:|");
console.log(rows.join("\n"));
if (open.length > 0) console.log(`\n| open in | before | after |\n|---|---|---|\n${open.join("\n")}`);
process.exitCode = open.length > 0 ? 1 : 0;
