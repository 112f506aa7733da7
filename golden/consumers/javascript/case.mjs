// A case: read from JSON, and run call by call.

import { fromPattern, promoted, toPattern } from "./bits.mjs";
import { digest, madeValues } from "./digest.mjs";
import { checkedSettings, Refusal } from "./settings.mjs";
import { apply, dense, finalize, iterations, learningRate } from "./sgd.mjs";

export function readArray({ dtype, shape, bits, made }) {
  if (made) return { dtype, shape, values: madeValues(made, shape) };
  const values = bits === "" ? [] : bits.split(" ").map((pattern) => fromPattern(dtype, pattern));
  return { dtype, shape, values };
}

export function readNumber(document) {
  return readArray(document).values[0];
}

function writeArray({ dtype, shape, values }) {
  return { dtype, shape, bits: values.map((value) => toPattern(dtype, value)).join(" ") };
}

function writeNumber(value) {
  return writeArray({ dtype: "float32", shape: [], values: [value] });
}

/** The records of a case, one after the other; throws a Refusal, with its call, where one is refused. */
export function* records(document) {
  const optimizer = begin(document);
  for (const [call, given] of document.gradients.entries()) {
    let rate;
    try {
      const gradients = readGradients(given, optimizer.variables);
      rate = optimizer.rates ? Math.fround(optimizer.rates[call]) : learningRate(optimizer);
      if (!Number.isFinite(rate)) throw new Refusal("ValueError", "the rate must be finite in float32");
      apply(optimizer, gradients, rate);
    } catch (error) {
      error.call = call;
      throw error;
    }
    yield { ...record(optimizer), learning_rate: writeNumber(rate) };
  }
  if (document.finalize) {
    finalize(optimizer);
    yield record(optimizer);
  }
}

function begin(document) {
  const variables = document.variables.map(readArray);
  const settings = checkedSettings(document, variables.map((variable) => variable.dtype));
  const namesInFiles = new Set(document.names.map((name) => name.replaceAll("/", "_")));
  if (namesInFiles.size < variables.length) throw new Refusal("ValueError", "names must differ");
  const state = document.state ?? {};
  const slots = (name, isNeeded) => {
    if (!isNeeded) return [];
    if (state[name]?.length) return state[name].map(readArray);
    return variables.map(({ dtype, shape, values }) => ({ dtype, shape, values: values.map(() => 0) }));
  };
  const scale = state.loss_scale ? readNumber(state.loss_scale) : settings.loss_scaling?.initial_scale;
  const excluded = document.excluded_from_weight_decay;
  return {
    settings,
    variables,
    isDecayed: document.names.map((name) => !excluded.some((part) => name.includes(part))),
    velocities: slots("velocities", settings.momentum !== 0),
    averages: slots("averages", settings.use_ema),
    accumulators: slots("accumulators", settings.gradient_accumulation_steps !== null),
    calls: state.calls ?? 0,
    lossScale: Math.fround(scale),
    growthCounter: state.growth_counter ?? 0,
    isBig: document.variables.some((variable) => "made" in variable),
    rates: document.learning_rate_calls && readArray(document.learning_rate_calls).values,
  };
}

function readGradients(given, variables) {
  if (given.length !== variables.length) {
    throw new Refusal("ValueError", "there must be one gradient for each variable");
  }
  if (given.every((gradient) => gradient === null)) {
    throw new Refusal("ValueError", "all gradients are missing");
  }
  return given.map((gradient, k) => gradient && readGradient(gradient, variables[k]));
}

/** The gradient of a variable: dense, and widened to its dtype, which changes no value. */
function readGradient(gradient, { dtype, shape }) {
  const isSparse = "indices" in gradient;
  const values = readArray(isSparse ? gradient.values : gradient);
  if (promoted(values.dtype, dtype) !== dtype) {
    throw new Refusal("TypeError", "a gradient must not be wider than its variable");
  }
  if (gradient.shape.join() !== shape.join()) {
    throw new Refusal("ValueError", "a gradient must have the shape of its variable");
  }
  if (!isSparse) return { ...values, dtype };
  const { indices } = gradient;
  if (!indices.every(Number.isInteger)) throw new Refusal("TypeError", "indices must be integers");
  const isOutside = indices.some((index) => index < 0 || index >= shape[0]);
  if (isOutside || values.shape.join() !== [indices.length, ...shape.slice(1)].join()) {
    throw new Refusal("ValueError", "there must be one row for each index, below the number of rows");
  }
  return dense(dtype, { indices, values, shape });
}

function record(optimizer) {
  const write = optimizer.isBig ? digest : writeArray;
  const written = {
    variables: optimizer.variables.map(write),
    velocities: optimizer.velocities.map(write),
    averages: optimizer.averages.map(write),
    accumulators: optimizer.accumulators.map(write),
    iterations: iterations(optimizer),
    calls: optimizer.calls,
  };
  if (optimizer.settings.loss_scaling) {
    written.loss_scale = writeNumber(optimizer.lossScale);
    written.growth_counter = optimizer.growthCounter;
  }
  return written;
}
