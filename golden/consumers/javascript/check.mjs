// Golden files against what this program computes.

import { readFileSync } from "node:fs";

import { fromPattern, toPattern } from "./bits.mjs";
import { readArray, readNumber, records } from "./case.mjs";
import { euclideanNorm } from "./norm.mjs";
import { scheduledRate } from "./schedules.mjs";
import { Refusal } from "./settings.mjs";

const GRADES = ["exact", "rounding", "diverge", "skipped"];

/** Prints the counts of all grades and returns the exit status. */
export function checkFiles(paths) {
  const counts = Object.fromEntries(GRADES.map((grade) => [grade, 0]));
  for (const path of paths) {
    for (const grade of gradesOf(path)) counts[grade] += 1;
  }
  console.log(GRADES.map((grade) => `${counts[grade]} ${grade}`).join(", "));
  return counts.diverge > 0 ? 1 : 0;
}

/** The grades of the entries of a file, one after the other. */
export function* gradesOf(path) {
  const { format, kind, entries } = JSON.parse(readFileSync(path, "utf8"));
  if (format !== 4) throw new Error(`${path}: no golden file of format 4`);
  for (const entry of entries) yield CHECKS[kind]?.(entry) ?? "skipped";
}

const CHECKS = {
  trajectory(entry) {
    const found = [...records(entry.case)];
    if (found.length !== entry.expected.length) throw new Error(`${entry.case.id}: records are missing`);
    const grades = found.map((record, index) => {
      const grade = gradeOfRecord(entry.expected[index], entry.bounds?.[index], record);
      if (grade === "diverge") console.log(`${entry.case.id}: record ${index} diverges`);
      return grade;
    });
    return worst(grades);
  },

  schedule({ id, schedule, steps, expected }) {
    const bits = steps.map((step) => toPattern("float32", scheduledRate(schedule, step))).join(" ");
    return said(id, gradeOfArray(expected, null, { ...expected, bits }));
  },

  stage({ id, stage, arguments: { arrays }, expected }) {
    if (stage !== "norm") return "skipped"; // it is no function of its own here
    const bits = toPattern(expected.dtype, euclideanNorm(expected.dtype, arrays.map(readArray)));
    return said(id, gradeOfArray(expected, null, { ...expected, bits }));
  },

  /** Nothing is computed here; what counts is that it is refused, and in which way. */
  rejection({ id, config, loss_scaling, names, variables, call, category }) {
    const document = { names, variables, excluded_from_weight_decay: [], finalize: false };
    document.config = decoded(config);
    document.loss_scaling = decoded(loss_scaling);
    document.gradients = call ? [call.gradients] : [];
    try {
      Array.from(records(document));
    } catch (error) {
      if (!(error instanceof Refusal)) throw error; // a mistake of this program
      const expected = { type: "TypeError", value: "ValueError" }[category];
      return said(id, error.kind === expected ? "exact" : "diverge");
    }
    return said(id, "diverge");
  },
};

function said(id, grade) {
  if (grade === "diverge") console.log(`${id} diverges`);
  return grade;
}

/** Settings with the numbers that JSON has not, which stand there as arrays of shape []. */
function decoded(value) {
  if (Array.isArray(value)) return value.map(decoded);
  if (typeof value !== "object" || value === null) return value;
  if ("bits" in value) return readNumber(value);
  return Object.fromEntries(Object.entries(value).map(([name, part]) => [name, decoded(part)]));
}

function worst(grades) {
  return GRADES[Math.max(0, ...grades.map((grade) => GRADES.indexOf(grade)))];
}

/** What a record leaves out is not compared; one that is left out has no keys. */
function gradeOfRecord(expected, bounds, observed) {
  return worst(
    Object.entries(expected).map(([quantity, wanted]) => {
      const got = observed[quantity];
      if (typeof wanted === "number") return wanted === got ? "exact" : "diverge";
      if (!Array.isArray(wanted)) return gradeOfArray(wanted, bounds?.[quantity], got);
      if (wanted.length !== got.length) return "diverge";
      return worst(wanted.map((array, k) => gradeOfArray(array, bounds?.[quantity]?.[k], got[k])));
    }),
  );
}

/** The expected bits are exact, and NaN is one value; else the bound decides, if there is one. */
function gradeOfArray(expected, bound, observed) {
  const { dtype, bits, hash, window } = expected;
  if (hash !== undefined) return hash === observed.hash && window === observed.window ? "exact" : "diverge";
  const numbers = (text) => (text ? text.split(" ").map((pattern) => fromPattern(dtype, pattern)) : []);
  if (dtype !== observed?.dtype) return "diverge";
  const wanted = numbers(bits);
  // In a bound, leading digits are left out that are those of the expected pattern.
  const patterns = bits.split(" ");
  const end = (digits, i) => patterns[i].slice(0, patterns[i].length - digits.length) + digits;
  const lower = numbers(bound?.lower.split(" ").map(end).join(" "));
  const upper = numbers(bound?.upper.split(" ").map(end).join(" "));
  return worst(
    numbers(observed.bits).map((value, i) => {
      if (Object.is(value, wanted[i])) return "exact"; // it tells the zeros apart, and knows one NaN
      const isInside = Number.isNaN(value) ? bound?.nan.includes(i) : lower[i] <= value && value <= upper[i];
      return isInside ? "rounding" : "diverge";
    }),
  );
}
