// Stochastic gradient descent: one call, stage by stage.
//
// An array is { dtype, shape, values }, with numbers in row-major order; a missing gradient is null.

import { promoted, rounded, smallestNormal } from "./bits.mjs";
import { euclideanNorm } from "./norm.mjs";
import { scheduledRate } from "./schedules.mjs";

// Every operation is rounded once to the dtype. Carried out in double and then rounded it gives the bits
// of an operation of the dtype itself: a double has more than twice the bits of float32, plus two.
const add = (dtype, a, b) => rounded(dtype, a + b);
const subtract = (dtype, a, b) => rounded(dtype, a - b);
const multiply = (dtype, a, b) => rounded(dtype, a * b);
const divide = (dtype, a, b) => rounded(dtype, a / b);

// A setting is rounded once to the dtype in which it is used.
const setting = rounded;

const copyOf = (array) => ({ ...array, values: [...array.values] });
const withValues = (array, value) => ({ ...array, values: array.values.map(value) });
const zerosLike = (array) => withValues(array, () => 0);
const ifPresent = (stage) => (array, index) => array && stage(array, index);

export function iterations({ settings, calls }) {
  return Math.floor(calls / (settings.gradient_accumulation_steps ?? 1));
}

/** The learning rate of the next call, where no callable gives it: a float32. */
export function learningRate({ settings, calls }) {
  const rate = settings.learning_rate;
  return typeof rate === "object" ? scheduledRate(rate, calls) : Math.fround(rate);
}

/** One call. Gradients are dense, of the dtype of their variable, or null. */
export function apply(optimizer, gradients, rate) {
  const { settings } = optimizer;
  if (!settings.loss_scaling) {
    step(optimizer, gradients, rate, settings.loss_scale_factor);
    optimizer.calls += 1;
  } else if (gradients.every((g) => g === null || g.values.every(Number.isFinite))) {
    step(optimizer, gradients, rate, optimizer.lossScale);
    optimizer.calls += 1;
    grow(optimizer);
  } else {
    shrink(optimizer); // and nothing else: no count, no state
  }
}

/** The averages become the variables, once training has ended. */
export function finalize(optimizer) {
  if (optimizer.settings.use_ema && iterations(optimizer) > 0) {
    optimizer.variables = optimizer.averages.map(copyOf);
  }
}

/** The dense equivalent of sparse rows, in a dtype that holds their values. */
export function dense(dtype, { indices, values: rows, shape }) {
  const size = shape.reduce((product, length) => product * length, 1);
  const width = indices.length ? rows.values.length / indices.length : 0;
  const values = new Array(size).fill(0);
  const written = new Set();
  indices.forEach((index, row) => {
    for (let i = 0; i < width; i += 1) {
      const value = rows.values[row * width + i];
      const place = index * width + i;
      // The first row is copied: 0 + -0 would be +0.
      values[place] = written.has(index) ? add(dtype, values[place], value) : value;
    }
    written.add(index);
  });
  return { dtype, shape, values };
}

function step(optimizer, given, rate, lossScale) {
  const { settings } = optimizer;
  const steps = settings.gradient_accumulation_steps;
  let gradients = given;
  if (lossScale !== null) gradients = gradients.map(ifPresent((g) => unscale(g, lossScale)));
  if (steps !== null) {
    if ((optimizer.calls + 1) % steps !== 0) {
      optimizer.accumulators = optimizer.accumulators.map((sum, k) => accumulate(sum, gradients[k]));
      return;
    }
    gradients = gradients.map(ifPresent((g, k) => meanOfAccumulated(g, optimizer.accumulators[k], steps)));
    optimizer.accumulators = optimizer.accumulators.map(zerosLike);
  }
  gradients = clip(gradients, settings);
  gradients.forEach(ifPresent((g, k) => update(optimizer, k, g, rate)));
  if (settings.use_ema) averageAndOverwrite(optimizer);
}

function unscale(g, lossScale) {
  const wide = promoted(g.dtype, "float32");
  const factor = setting(wide, lossScale);
  return withValues(g, (x) => rounded(g.dtype, divide(wide, x, factor)));
}

function accumulate(accumulator, g) {
  if (g === null) return accumulator;
  return withValues(g, (x, i) => add(g.dtype, x, accumulator.values[i]));
}

function meanOfAccumulated(g, accumulator, accumulationSteps) {
  const steps = setting(g.dtype, accumulationSteps);
  return withValues(g, (x, i) => divide(g.dtype, add(g.dtype, x, accumulator.values[i]), steps));
}

function clip(gradients, { clipnorm, clipvalue, global_clipnorm }) {
  if (clipnorm !== null) return gradients.map(ifPresent((g) => clipByNorm(g, clipnorm)));
  if (clipvalue !== null) return gradients.map(ifPresent((g) => clipByValue(g, clipvalue)));
  if (global_clipnorm !== null) return clipByGlobalNorm(gradients, global_clipnorm);
  return gradients;
}

function clipByNorm(g, clipnorm) {
  const c = setting(g.dtype, clipnorm);
  const larger = Math.max(euclideanNorm(g.dtype, [g]), c); // NaN where the norm is
  return withValues(g, (x) => divide(g.dtype, multiply(g.dtype, x, c), larger));
}

function clipByValue(g, clipvalue) {
  const c = setting(g.dtype, clipvalue);
  return withValues(g, (x) => (x > c ? c : x < -c ? -c : x)); // NaN is neither, and stays
}

function clipByGlobalNorm(gradients, clipnorm) {
  const present = gradients.filter((g) => g !== null);
  const wide = present.map((g) => g.dtype).reduce(promoted);
  const norm = euclideanNorm(wide, present);
  const smaller = Math.min(divide(wide, 1, norm), setting(wide, 1 / clipnorm)); // NaN where the norm is
  // norm - norm is NaN where the norm is not finite.
  const factor = add(wide, multiply(wide, setting(wide, clipnorm), smaller), subtract(wide, norm, norm));
  return gradients.map(ifPresent((g) => withValues(g, (x) => rounded(g.dtype, multiply(wide, x, factor)))));
}

function update(optimizer, k, g, rate) {
  const { settings, isDecayed, variables, velocities } = optimizer;
  const t = g.dtype;
  const lr = setting(t, rate);
  let w = variables[k];
  if (settings.weight_decay !== null && isDecayed[k]) {
    const wd = setting(t, settings.weight_decay);
    w = withValues(w, (x) => subtract(t, x, multiply(t, multiply(t, x, wd), lr)));
  }
  if (settings.momentum === 0) {
    variables[k] = withValues(w, (x, i) => subtract(t, x, multiply(t, lr, g.values[i])));
    return;
  }
  const mu = setting(t, settings.momentum);
  const accelerated = (v, i) => subtract(t, multiply(t, mu, v), multiply(t, lr, g.values[i]));
  const velocity = withValues(velocities[k], accelerated);
  const change = settings.nesterov ? withValues(velocity, accelerated) : velocity;
  velocities[k] = velocity;
  variables[k] = withValues(w, (x, i) => add(t, x, change.values[i]));
}

/** Averages concern all variables, also those without a gradient in this call. */
function averageAndOverwrite(optimizer) {
  const { settings } = optimizer;
  const updatesBefore = iterations(optimizer);
  optimizer.averages = optimizer.variables.map((w, k) =>
    updatesBefore === 0 ? copyOf(w) : average(optimizer.averages[k], w, settings.ema_momentum),
  );
  const frequency = settings.ema_overwrite_frequency;
  if (frequency !== null && (updatesBefore + 1) % frequency === 0) {
    optimizer.variables = optimizer.averages.map(copyOf);
  }
}

function average(old, w, emaMomentum) {
  const m = setting(w.dtype, emaMomentum);
  const rest = subtract(w.dtype, 1, m);
  return withValues(w, (x, i) =>
    add(w.dtype, multiply(w.dtype, m, old.values[i]), multiply(w.dtype, rest, x)),
  );
}

function grow(optimizer) {
  optimizer.growthCounter += 1;
  if (optimizer.growthCounter < optimizer.settings.loss_scaling.dynamic_growth_steps) return;
  optimizer.growthCounter = 0;
  const doubled = multiply("float32", optimizer.lossScale, 2);
  if (Number.isFinite(doubled)) optimizer.lossScale = doubled;
}

function shrink(optimizer) {
  optimizer.growthCounter = 0;
  const halved = multiply("float32", optimizer.lossScale, 0.5);
  if (halved >= smallestNormal("float32")) optimizer.lossScale = halved;
}
