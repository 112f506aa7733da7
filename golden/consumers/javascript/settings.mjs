// The settings of a case, checked.

import { promoted, rounded, smallestNormal } from "./bits.mjs";

/** What an optimizer refuses; `kind` is "TypeError" or "ValueError". */
export class Refusal extends Error {
  constructor(kind, message) {
    super(message);
    this.kind = kind;
  }
}

function refuse(condition, kind, message) {
  if (condition) throw new Refusal(kind, message);
}

const isObject = (value) => typeof value === "object" && value !== null && !Array.isArray(value);

// Ranges of numbers: whether a number is in it.
const finite = () => true;
const unit = (x) => x >= 0 && x <= 1;
const positive = (x) => x > 0;
const notNegative = (x) => x >= 0;
const fromOne = (x) => x >= 1;
const fromTwo = (x) => x >= 2;

function checkReal(name, x, isInRange) {
  refuse(typeof x !== "number", "TypeError", `${name} must be a real number, got ${JSON.stringify(x)}`);
  refuse(!Number.isFinite(x) || !isInRange(x), "ValueError", `${name} is out of its range, got ${x}`);
}

function checkName(name) {
  refuse(typeof name !== "string", "TypeError", `name must be a string, got ${JSON.stringify(name)}`);
  refuse(name === "" || name.includes("/"), "ValueError", "name must not be empty and have no slash");
}

/** A rate, or a setting of a schedule, is used in float32. */
function checkSingle(name, x, isInRange) {
  checkReal(name, x, isInRange);
  const narrow = Math.fround(x);
  refuse(
    !Number.isFinite(narrow) || (isInRange === positive && narrow === 0),
    "ValueError",
    `${name} must be in range as a float32, got ${x}`,
  );
}

function checkInteger(name, x, isInRange) {
  refuse(!Number.isInteger(x), "TypeError", `${name} must be an integer, got ${JSON.stringify(x)}`);
  checkReal(name, x, isInRange);
}

function checkBoolean(name, x) {
  refuse(typeof x !== "boolean", "TypeError", `${name} must be true or false, got ${JSON.stringify(x)}`);
}

function checkKnown(config, names) {
  refuse(!isObject(config), "TypeError", "a config must be an object");
  const unknown = Object.keys(config).filter((name) => !names.includes(name));
  refuse(unknown.length > 0, "ValueError", `config has unknown keys: ${unknown}`);
}

const DEFAULTS = {
  learning_rate: 0.01,
  momentum: 0,
  nesterov: false,
  weight_decay: null,
  clipnorm: null,
  clipvalue: null,
  global_clipnorm: null,
  use_ema: false,
  ema_momentum: 0.99,
  ema_overwrite_frequency: null,
  name: "SGD",
  loss_scale_factor: null,
  gradient_accumulation_steps: null,
};

const REALS = { momentum: unit, ema_momentum: unit };
const OPTIONAL_REALS = {
  weight_decay: finite,
  clipnorm: positive,
  clipvalue: positive,
  global_clipnorm: positive,
  loss_scale_factor: positive,
};
const OPTIONAL_INTEGERS = { ema_overwrite_frequency: fromOne, gradient_accumulation_steps: fromTwo };

const REQUIRED_OF_SCHEDULES = {
  ExponentialDecay: ["initial_learning_rate", "decay_steps", "decay_rate"],
  InverseTimeDecay: ["initial_learning_rate", "decay_steps", "decay_rate"],
  PolynomialDecay: ["initial_learning_rate", "decay_steps"],
  CosineDecay: ["initial_learning_rate", "decay_steps"],
  CosineDecayRestarts: ["initial_learning_rate", "first_decay_steps"],
  PiecewiseConstantDecay: ["boundaries", "values"],
};
const OPTIONAL_OF_SCHEDULES = {
  ExponentialDecay: ["staircase", "name"],
  InverseTimeDecay: ["staircase", "name"],
  PolynomialDecay: ["end_learning_rate", "power", "cycle", "name"],
  CosineDecay: ["alpha", "warmup_target", "warmup_steps", "name"],
  CosineDecayRestarts: ["t_mul", "m_mul", "alpha", "name"],
  PiecewiseConstantDecay: ["name"],
};
const REALS_OF_SCHEDULES = {
  initial_learning_rate: finite,
  end_learning_rate: finite,
  alpha: finite,
  warmup_target: finite,
  decay_steps: positive,
  first_decay_steps: positive,
  warmup_steps: notNegative,
  decay_rate: notNegative,
  power: notNegative,
  m_mul: notNegative,
  t_mul: fromOne,
};

function checkPiecewise({ boundaries, values }) {
  const areLists = Array.isArray(boundaries) && Array.isArray(values);
  refuse(!areLists, "TypeError", "boundaries and values must be lists");
  boundaries.forEach((boundary) => checkSingle("boundaries", boundary, notNegative));
  values.forEach((value) => checkSingle("values", value, finite));
  const isIncreasing = boundaries.every((boundary, i) => i === 0 || boundary > boundaries[i - 1]);
  refuse(!isIncreasing || boundaries.length === 0, "ValueError", "boundaries must be strictly increasing");
  refuse(values.length !== boundaries.length + 1, "ValueError", "values must be one more than boundaries");
}

function checkSchedule({ class_name, config }) {
  refuse(typeof class_name !== "string", "TypeError", "a schedule must have a class_name");
  const required = REQUIRED_OF_SCHEDULES[class_name];
  refuse(!required, "ValueError", `class_name must be one of the six schedules, got ${class_name}`);
  checkKnown(config, [...required, ...OPTIONAL_OF_SCHEDULES[class_name]]);
  const missing = required.filter((name) => !(name in config));
  refuse(missing.length > 0, "ValueError", `config of ${class_name} must have ${missing}`);
  if (class_name === "PiecewiseConstantDecay") checkPiecewise(config);
  for (const [name, isInRange] of Object.entries(REALS_OF_SCHEDULES)) {
    const isAbsent = !(name in config) || (name === "warmup_target" && config[name] === null);
    if (!isAbsent) checkSingle(name, config[name], isInRange);
  }
  for (const name of ["staircase", "cycle"]) if (name in config) checkBoolean(name, config[name]);
}

/** A limit or a scale that overflows or vanishes in the dtype where it is used is refused. */
function checkNormal(name, value, dtype) {
  if (value === null) return;
  const used = rounded(dtype, value);
  const isNormal = Number.isFinite(used) && used >= smallestNormal(dtype);
  refuse(!isNormal, "ValueError", `${name} must be finite and normal in ${dtype}, got ${value}`);
}

function checkDtypes(settings, dtypes) {
  for (const dtype of dtypes) {
    for (const name of ["clipnorm", "clipvalue", "global_clipnorm"]) checkNormal(name, settings[name], dtype);
    checkNormal("loss_scale_factor", settings.loss_scale_factor, promoted(dtype, "float32"));
    const steps = rounded(dtype, settings.gradient_accumulation_steps ?? 1);
    refuse(!Number.isFinite(steps), "ValueError", `gradient_accumulation_steps must be finite in ${dtype}`);
  }
  if (dtypes.length > 0) checkNormal("global_clipnorm", settings.global_clipnorm, dtypes.reduce(promoted));
}

function checkLossScaling({ initial_scale, dynamic_growth_steps }, settings) {
  checkReal("initial_scale", initial_scale, positive);
  checkNormal("initial_scale", initial_scale, "float32");
  checkInteger("dynamic_growth_steps", dynamic_growth_steps, fromOne);
  refuse(settings.loss_scale_factor !== null, "ValueError", "loss_scale_factor must not be set here");
}

/** The settings of a case whose variables have the given dtypes. */
export function checkedSettings({ config, loss_scaling, learning_rate_calls }, dtypes) {
  checkKnown(config, Object.keys(DEFAULTS));
  const settings = { ...DEFAULTS, ...config };
  const rate = settings.learning_rate;
  if (!learning_rate_calls) {
    refuse(rate === null, "ValueError", "learning_rate is missing");
    if (isObject(rate)) checkSchedule(rate);
    else checkSingle("learning_rate", rate, finite);
  }
  checkName(settings.name);
  for (const name of ["nesterov", "use_ema"]) checkBoolean(name, settings[name]);
  for (const [name, isInRange] of Object.entries(REALS)) checkReal(name, settings[name], isInRange);
  for (const [name, isInRange] of Object.entries(OPTIONAL_REALS)) {
    if (settings[name] !== null) checkReal(name, settings[name], isInRange);
  }
  for (const [name, isInRange] of Object.entries(OPTIONAL_INTEGERS)) {
    if (settings[name] !== null) checkInteger(name, settings[name], isInRange);
  }
  const clippings = ["clipnorm", "clipvalue", "global_clipnorm"].filter((name) => settings[name] !== null);
  refuse(clippings.length > 1, "ValueError", `at most one clipping may be set, got ${clippings}`);
  if (loss_scaling) checkLossScaling(loss_scaling, settings);
  checkDtypes(settings, dtypes);
  return { ...settings, loss_scaling };
}
