// Big arrays: the rule that makes them, and the digests that stand for them.

import { toPattern } from "./bits.mjs";

const MODULUS = 2147483647;

/** The elements of a big array, from their indices; no product is above 2**53. */
export function madeValues([multiplier, offset], shape) {
  const size = shape.reduce((product, length) => product * length, 1);
  return Array.from({ length: size }, (_, i) => 2 * (((multiplier * i + offset) % MODULUS) % 8) - 7);
}

/** What stands for an array: a hash of all its bits, and the bits of some elements. */
export function digest({ dtype, shape, values }) {
  const window = [];
  let hash = 0;
  let count = 0;
  values.forEach((value, i) => {
    const pattern = toPattern(dtype, value);
    for (let start = 0; start < pattern.length; start += 4) {
      count += 1;
      hash = (hash + count * parseInt(pattern.slice(start, start + 4), 16)) % MODULUS;
    }
    if (i < 4 || (i >= 65534 && i <= 65537) || i >= values.length - 4) window.push(pattern);
  });
  return { dtype, shape, hash, window: window.join(" ") };
}
