// Numbers with 1024 binary digits after the point, as BigInts: x stands for x / 2**1024.
//
// Sums are exact; products, quotients and functions are cut off, at less than 2**-900 in all.

import { decomposed, roundedInteger } from "./bits.mjs";

const DIGITS = 1024n;
const NOISE = 200n; // digits at the end that rounding errors may have reached
export const ONE = 1n << DIGITS;

export function fixed(value) {
  const [integer, exponent] = decomposed(value);
  const shift = DIGITS + BigInt(exponent);
  return shift >= 0n ? integer << shift : integer >> -shift;
}

export const multiply = (a, b) => (a * b) >> DIGITS;
export const divide = (a, b) => (a << DIGITS) / b;
export const floor = (a) => (a >> DIGITS) << DIGITS;

/** Rounded once to float32. */
export function toFloat32(a) {
  // What lies half way between two floats has no digits down there: what is there is noise.
  const known = (a + (1n << (NOISE - 1n))) >> NOISE;
  return roundedInteger("float32", known, Number(NOISE - DIGITS));
}

/** base ** exponent, both 0 or more; 0 ** 0 is 1. Beyond 2**440 and 2**-440 it is only known to be so. */
export function power(base, exponent) {
  if (exponent === 0n) return ONE;
  if (base === 0n) return 0n;
  const product = multiply(exponent, logarithm(base));
  if (product > 305n * ONE) return ONE << 440n;
  // What vanishes in float32 keeps the sign of what it is multiplied by, and so is not zero.
  return product < -305n * ONE ? ONE >> 440n : exponential(product);
}

/** cos(pi * x) for 0 <= x <= 1. */
export function cosineOfPiTimes(x) {
  if (2n * x > ONE) return -cosineOfPiTimes(ONE - x);
  const angle = multiply(PI, x);
  const square = multiply(angle, angle);
  let total = 0n;
  let term = ONE;
  for (let n = 1n; term !== 0n; n += 2n) {
    total += term;
    term = -multiply(term, square) / (n * (n + 1n));
  }
  return total;
}

function exponential(x) {
  const doublings = floor(divide(x, LN_2)) / ONE;
  const rest = x - doublings * LN_2;
  let total = 0n;
  let term = ONE;
  for (let n = 1n; term !== 0n; n += 1n) {
    total += term;
    term = multiply(term, rest) / n;
  }
  return doublings >= 0n ? total << doublings : total >> -doublings;
}

/** log(x) = doublings * log(2) + 2 artanh((m - 1) / (m + 1)) for x = m * 2**doublings, 1 <= m < 2. */
function logarithm(x) {
  const doublings = BigInt(x.toString(2).length) - 1n - DIGITS;
  const m = doublings >= 0n ? x >> doublings : x << -doublings;
  return doublings * LN_2 + 2n * inverseHyperbolicTangent(divide(m - ONE, m + ONE));
}

function inverseHyperbolicTangent(x) {
  const square = multiply(x, x);
  let total = 0n;
  for (let odd = 1n, odds = x; odds !== 0n; odd += 2n, odds = multiply(odds, square)) total += odds / odd;
  return total;
}

function arctangentOfReciprocal(n) {
  let total = 0n;
  for (let odd = 1n, odds = ONE / n; odds !== 0n; odd += 2n, odds /= -n * n) total += odds / odd;
  return total;
}

const LN_2 = 2n * inverseHyperbolicTangent(ONE / 3n);
// Machin's formula.
const PI = 16n * arctangentOfReciprocal(5n) - 4n * arctangentOfReciprocal(239n);
