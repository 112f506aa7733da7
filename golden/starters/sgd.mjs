// An SGD optimizer for `sgd-ref conform -- node sgd.mjs`: replace `step`, and say in OFFERS what it can do.
// Needs nothing but Node. Every number is held as a number of JavaScript, and `rounded` rounds it to a dtype.

import { createInterface } from "node:readline";

const OFFERS = "float32 float64 float16 bfloat16 mixed momentum piecewise callable missing sparse".split(" ");

// YOURS. It updates the arrays w (variable) and v (velocity) by the gradient g of one call. All numbers are
// of `dtype`, but for `rate` and the settings in `config`. Throw an Error to refuse.
function step(w, v, g, rate, config, dtype) {
  const learningRate = rounded(dtype, rate);
  const momentum = rounded(dtype, config.momentum);
  for (let i = 0; i < w.length; i += 1) {
    const descent = rounded(dtype, learningRate * g[i]);
    if (config.momentum === 0) {
      w[i] = rounded(dtype, w[i] - descent);
    } else {
      v[i] = rounded(dtype, rounded(dtype, momentum * v[i]) - descent);
      w[i] = rounded(dtype, w[i] + v[i]);
    }
  }
}

// The rest needs no change.

const FORMATS = {
  float16: { digits: 4, precision: 11, lowest: -14 },
  bfloat16: { digits: 4, precision: 8, lowest: -126 },
  float32: { digits: 8, precision: 24, lowest: -126 },
  float64: { digits: 16, precision: 53, lowest: -1022 },
};

const view = new DataView(new ArrayBuffer(8));

/** The exponent of the leading bit, or the smallest exponent of a dtype. */
function exponentOf(x, lowest) {
  view.setFloat64(0, x);
  return Math.max(((view.getUint16(0) >> 4) & 0x7ff) - 1023, lowest);
}

const isNegative = (x) => x < 0 || Object.is(x, -0);

/** x rounded to nearest, ties to even. */
function rounded(dtype, x) {
  if (dtype === "float64" || x === 0 || !Number.isFinite(x)) return x;
  if (dtype === "float32") return Math.fround(x);
  const { precision, lowest } = FORMATS[dtype];
  const unit = 2 ** (exponentOf(x, lowest) - precision + 1);
  // Beside 2^52 a double has room for no fraction.
  const nearest = (Math.abs(x) / unit + 2 ** 52 - 2 ** 52) * unit;
  const magnitude = nearest > (2 - 2 ** (1 - precision)) * 2 ** (1 - lowest) ? Infinity : nearest;
  return isNegative(x) ? -magnitude : magnitude;
}

function fromBits(dtype, word) {
  const { digits, precision, lowest } = FORMATS[dtype];
  if (digits === 16) {
    view.setBigUint64(0, BigInt(`0x${word}`));
    return view.getFloat64(0);
  }
  const pattern = parseInt(word, 16);
  const sign = 2 ** (4 * digits - 1);
  const hidden = 2 ** (precision - 1);
  const magnitude = pattern % sign;
  const field = Math.floor(magnitude / hidden);
  let value = (magnitude % hidden + (field > 0 ? hidden : 0)) * 2 ** (Math.max(field, 1) + lowest - precision);
  if (magnitude >= sign - hidden) value = magnitude === sign - hidden ? Infinity : NaN;
  return pattern >= sign ? -value : value;
}

function toBits(dtype, value) {
  const { digits, precision, lowest } = FORMATS[dtype];
  if (digits === 16) {
    view.setFloat64(0, value);
    return view.getBigUint64(0).toString(16).padStart(16, "0");
  }
  const sign = 2 ** (4 * digits - 1);
  const hidden = 2 ** (precision - 1);
  const exponent = exponentOf(value, lowest);
  let pattern = (exponent - lowest) * hidden + Math.abs(value) * 2 ** (precision - 1 - exponent);
  if (!Number.isFinite(value)) pattern = sign - hidden + (Number.isNaN(value) ? 1 : 0);
  return (pattern + (isNegative(value) ? sign : 0)).toString(16).padStart(digits, "0");
}

function valuesOf({ dtype, bits }) {
  return bits === "" ? [] : bits.split(" ").map((word) => fromBits(dtype, word));
}

function arrayOf(dtype, shape, values) {
  return { dtype, shape, bits: values.map((value) => toBits(dtype, value)).join(" ") };
}

/** The elements of a gradient; those of a narrower dtype are numbers of the wider one, too. */
function dense(gradient, size, dtype) {
  if (!("indices" in gradient)) return valuesOf(gradient);
  const values = valuesOf(gradient.values);
  const width = size / Math.max(gradient.shape[0], 1);
  const elements = new Array(size).fill(0);
  const seen = new Set();
  for (const [j, row] of gradient.indices.entries()) {
    for (let i = 0; i < width; i += 1) {
      const place = row * width + i;
      const element = values[j * width + i];
      elements[place] = seen.has(row) ? rounded(dtype, elements[place] + element) : element;
    }
    seen.add(row);
  }
  return elements;
}

/** The rate of a call: `call` counts from 0 in this case, `calls` from the start of the training. */
function rateOf(document, call, calls) {
  if (document.learning_rate_calls) return Math.fround(valuesOf(document.learning_rate_calls)[call]);
  const given = document.config.learning_rate;
  if (typeof given === "number") return Math.fround(given);
  const { boundaries, values } = given.config;
  return Math.fround(values[boundaries.filter((boundary) => calls > boundary).length]);
}

function trajectoryOf(document, place) {
  const { config, variables: arrays } = document;
  const state = document.state ?? {};
  const variables = arrays.map(valuesOf);
  const velocities = state.velocities?.length
    ? state.velocities.map(valuesOf)
    : variables.map((values) => values.map(() => 0));
  let calls = state.calls ?? 0;
  const written = (lists) => lists.map((values, k) => arrayOf(arrays[k].dtype, arrays[k].shape, values));
  const record = () => ({
    variables: written(variables),
    velocities: config.momentum === 0 ? [] : written(velocities),
    iterations: calls,
    calls,
  });
  const records = [];
  for (const [call, gradients] of document.gradients.entries()) {
    place.call = call;
    const rate = rateOf(document, call, calls);
    for (const [k, { dtype }] of arrays.entries()) {
      const [w, gradient] = [variables[k], gradients[k]];
      if (gradient) step(w, velocities[k], dense(gradient, w.length, dtype), rate, config, dtype);
    }
    calls += 1;
    records.push({ ...record(), learning_rate: arrayOf("float32", [], [rate]) });
  }
  return document.finalize ? [...records, record()] : records;
}

function answer(line) {
  const document = JSON.parse(line);
  const place = { call: null };
  try {
    return { id: document.id, trajectory: trajectoryOf(document, place) };
  } catch (error) {
    return { id: document.id, error: { type: error.name, message: error.message, call: place.call } };
  }
}

const write = (message) => process.stdout.write(`${JSON.stringify(message)}\n`);

write({ protocol: 2, name: "my-sgd", version: "1.0", language: "JavaScript", offers: OFFERS });
for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) write(answer(line));
