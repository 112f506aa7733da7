// The learning-rate schedules: the float32 nearest to the formula.

import { cosineOfPiTimes, divide, fixed, multiply, ONE, power, toFloat32 } from "./fixed-point.mjs";

/** The rate of the call before which `step` calls were made. */
export function scheduledRate({ class_name, config }, step) {
  if (class_name === "PiecewiseConstantDecay") return piecewiseConstantDecay(config, step);
  return toFloat32(FORMULAS[class_name](settingsOf(config), fixed(step)));
}

const FORMULAS = {
  ExponentialDecay(s, step) {
    return multiply(s.initial_learning_rate, power(s.decay_rate, decaysDone(s, step)));
  },

  InverseTimeDecay(s, step) {
    return divide(s.initial_learning_rate, ONE + multiply(s.decay_rate, decaysDone(s, step)));
  },

  PolynomialDecay(s, step) {
    let length = s.decay_steps;
    // The quotient of two numbers of this arithmetic is cut off; that of their BigInts knows its remainder.
    if (s.cycle && step > 0n) length *= step / length + (step % length ? 1n : 0n);
    const p = step >= length ? ONE : divide(step, length);
    const end = s.end_learning_rate ?? fixed(Math.fround(0.0001));
    return multiply(s.initial_learning_rate - end, power(ONE - p, s.power ?? ONE)) + end;
  },

  CosineDecay(s, step) {
    let start = s.initial_learning_rate;
    let since = step;
    if (s.warmup_target !== undefined) {
      const warmupSteps = s.warmup_steps ?? 0n;
      if (step < warmupSteps) return multiply(divide(step, warmupSteps), s.warmup_target - start) + start;
      start = s.warmup_target;
      since -= warmupSteps;
    }
    const p = since >= s.decay_steps ? ONE : divide(since, s.decay_steps);
    return multiply(start, cosineDecayed(p, s.alpha, ONE));
  },

  CosineDecayRestarts(s, step) {
    const factor = s.t_mul ?? 2n * ONE;
    let length = s.first_decay_steps;
    let since = step;
    let restarts = 0n;
    if (factor === ONE) {
      restarts = since / length;
      since %= length;
    }
    while (since >= length) {
      since -= length;
      length = multiply(length, factor);
      restarts += 1n;
    }
    const height = power(s.m_mul ?? ONE, restarts * ONE);
    return multiply(s.initial_learning_rate, cosineDecayed(divide(since, length), s.alpha, height));
  },
};

function piecewiseConstantDecay({ boundaries, values }, step) {
  const piece = boundaries.findIndex((boundary) => step <= boundary);
  const value = values.at(piece); // at(-1), the last one, where no boundary was found
  return value === 0 ? 0 : Math.fround(value); // a -0 among the settings is the number 0
}

/** The settings, numbers rounded to float32; those that are null are left out. */
function settingsOf(config) {
  const settings = {};
  for (const [name, value] of Object.entries(config)) {
    if (value !== null) settings[name] = typeof value === "number" ? fixed(Math.fround(value)) : value;
  }
  return settings;
}

function decaysDone({ decay_steps, staircase }, step) {
  return staircase ? (step / decay_steps) * ONE : divide(step, decay_steps);
}

/** (1 - alpha) * height * (1 + cos(pi * p)) / 2 + alpha */
function cosineDecayed(p, alpha = 0n, height) {
  const decayed = multiply(height, ONE + cosineOfPiTimes(p)) / 2n;
  return multiply(ONE - alpha, decayed) + alpha;
}
