// The Euclidean norm, correctly rounded.

import { decomposed, roundedInteger } from "./bits.mjs";

/** The square root of the exact sum of all squares, rounded once to `dtype`. */
export function euclideanNorm(dtype, arrays) {
  const values = arrays.flatMap((array) => array.values);
  if (values.some(Number.isNaN)) return NaN;
  if (values.some((value) => !Number.isFinite(value))) return Infinity;
  const parts = values.filter((value) => value !== 0).map(decomposed);
  // 64 digits below the smallest element are enough for the root to have more than 54 bits.
  const lowest = parts.reduce((least, [, exponent]) => Math.min(least, exponent), 0) - 64;
  let total = 0n;
  for (const [integer, exponent] of parts) total += (integer * integer) << BigInt(2 * (exponent - lowest));
  const root = integerSquareRoot(total);
  return roundedInteger(dtype, root, lowest, root * root !== total);
}

/** The largest integer whose square is not above n, by Newton's method from above. */
function integerSquareRoot(n) {
  if (n === 0n) return 0n;
  let root = 1n << BigInt((n.toString(2).length + 1) >> 1);
  for (;;) {
    const next = (root + n / root) >> 1n;
    if (next >= root) return root;
    root = next;
  }
}
