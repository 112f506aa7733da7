// The four dtypes. Every number of each of them is a number of JavaScript, and is held as one.

// A finite number is integer * 2**exponent with |integer| < 2**precision and
// exponent >= minimumExponent - precision + 1.
export const FORMATS = {
  float16: { digits: 4, precision: 11, minimumExponent: -14 },
  bfloat16: { digits: 4, precision: 8, minimumExponent: -126 },
  float32: { digits: 8, precision: 24, minimumExponent: -126 },
  float64: { digits: 16, precision: 53, minimumExponent: -1022 },
};

const view = new DataView(new ArrayBuffer(8));

export function largest(dtype) {
  const { precision, minimumExponent } = FORMATS[dtype];
  return (2 - 2 ** (1 - precision)) * 2 ** (1 - minimumExponent);
}

export function smallestNormal(dtype) {
  return 2 ** FORMATS[dtype].minimumExponent;
}

/** The narrowest dtype that holds all numbers of both. */
export function promoted(a, b) {
  if (a === b) return a;
  return a === "float64" || b === "float64" ? "float64" : "float32";
}

export function fromPattern(dtype, hexadecimal) {
  if (dtype === "float64") {
    view.setBigUint64(0, BigInt(`0x${hexadecimal}`));
    return view.getFloat64(0);
  }
  const pattern = parseInt(hexadecimal, 16);
  if (dtype === "float16") return fromFloat16(pattern);
  // bfloat16 is the first half of float32.
  return fromFloat32(dtype === "bfloat16" ? pattern * 65536 : pattern);
}

export function toPattern(dtype, value) {
  if (dtype === "float64") {
    view.setFloat64(0, value);
    return view.getBigUint64(0).toString(16).padStart(16, "0");
  }
  const pattern = dtype === "float32" ? toFloat32(value) : toHalf(dtype, value);
  return pattern.toString(16).padStart(FORMATS[dtype].digits, "0");
}

/** A number rounded once to a dtype: to nearest, ties to even. */
export function rounded(dtype, value) {
  if (dtype === "float64") return value;
  if (dtype === "float32") return Math.fround(value);
  const pattern = toHalf(dtype, value);
  return dtype === "float16" ? fromFloat16(pattern) : fromFloat32(pattern * 65536);
}

/** The same for integer * 2**exponent, a BigInt of any length, or for a number a little above it. */
export function roundedInteger(dtype, integer, exponent, isMore = false) {
  if (integer < 0n) return -roundedInteger(dtype, -integer, exponent, isMore);
  if (integer === 0n) return 0;
  const { precision, minimumExponent } = FORMATS[dtype];
  const leading = Math.max(exponent + integer.toString(2).length - 1, minimumExponent);
  const unit = leading - precision + 1;
  const dropped = BigInt(unit - exponent);
  let kept = integer << -dropped;
  if (dropped > 0n) {
    kept = integer >> dropped;
    const rest = integer - (kept << dropped);
    const half = 1n << (dropped - 1n);
    const isTie = rest === half && !isMore;
    if (isTie ? kept % 2n === 1n : rest >= half) kept += 1n;
  }
  // Number(kept) is exact, and so is the product, unless it overflows.
  const value = Number(kept) * 2 ** unit;
  return value > largest(dtype) ? Infinity : value;
}

/** [integer, exponent] of a finite number, which is integer * 2**exponent. */
export function decomposed(value) {
  view.setFloat64(0, value);
  const bits = view.getBigUint64(0);
  const field = Number((bits >> 52n) & 0x7ffn);
  const fraction = bits & ((1n << 52n) - 1n);
  const magnitude = field === 0 ? fraction : fraction + (1n << 52n);
  return [bits >> 63n ? -magnitude : magnitude, Math.max(field, 1) - 1075];
}

function fromFloat32(pattern) {
  view.setUint32(0, pattern);
  return view.getFloat32(0);
}

function toFloat32(value) {
  view.setFloat32(0, value);
  return view.getUint32(0);
}

function fromFloat16(pattern) {
  const field = (pattern >> 10) & 31;
  const fraction = pattern & 1023;
  let magnitude = field === 31 ? (fraction ? NaN : Infinity) : (fraction + 1024) * 2 ** (field - 25);
  if (field === 0) magnitude = fraction * 2 ** -24;
  return pattern & 0x8000 ? -magnitude : magnitude;
}

// The pattern of float32 that is cut off toward zero, with its last bit set where anything was cut off:
// rounding once more, to a dtype that has two bits less or fewer, then equals rounding once.
function toOddFloat32(value) {
  const nearest = Math.fround(value);
  let pattern = toFloat32(value);
  if (nearest === value) return pattern;
  if (Math.abs(nearest) > Math.abs(value)) pattern -= 1;
  return pattern | 1;
}

function toHalf(dtype, value) {
  const { precision, minimumExponent } = FORMATS[dtype];
  const infinity = 0x8000 - 2 ** (precision - 1);
  if (Number.isNaN(value)) return infinity + 2 ** (precision - 2);
  const pattern = toOddFloat32(value);
  const sign = pattern >>> 31 ? 0x8000 : 0;
  const field = (pattern >>> 23) & 255;
  if (field === 255) return sign + infinity;
  const integer = (pattern & 0x7fffff) + (field === 0 ? 0 : 0x800000);
  // integer * 2**(field - 150) is to become kept * 2**(leading - precision + 1).
  const leading = Math.max(Math.max(field, 1) - 127, minimumExponent);
  const quotient = integer / 2 ** (leading - precision + 1 - (Math.max(field, 1) - 150));
  let kept = Math.floor(quotient);
  if (quotient - kept > 0.5 || (quotient - kept === 0.5 && kept % 2 === 1)) kept += 1;
  // The leading bit of a normal number adds one to the field of the exponent; so does a carry.
  return sign + Math.min((leading - minimumExponent) * 2 ** (precision - 1) + kept, infinity);
}
