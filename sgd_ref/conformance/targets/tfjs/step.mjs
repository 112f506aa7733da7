import * as tf from "@tensorflow/tfjs";

await tf.setBackend("cpu");

// An optimizer and a variable for each list of elements, as long as the list is there.
const kept = new WeakMap();
let made = 0;

function begun(w, v, rate, config) {
  made += 1;
  const name = `w${made}`;
  const variable = tf.variable(tf.tensor1d(w, "float32"), true, name);
  const { momentum, nesterov } = config;
  const optimizer = momentum === 0 ? tf.train.sgd(rate) : tf.train.momentum(rate, momentum, nesterov);
  const entry = { name, variable, optimizer };
  if (momentum !== 0 && v.some((value) => value !== 0 || Object.is(value, -0))) {
    entry.start = tf.tensor1d(v, "float32");
  }
  kept.set(w, entry);
  return entry;
}

function copy(target, source) {
  for (const [i, value] of source.dataSync().entries()) target[i] = value;
}

function step(w, v, g, rate, config) {
  const entry = kept.get(w) ?? begun(w, v, rate, config);
  const { name, variable, optimizer } = entry;
  if (entry.start) {
    optimizer.accumulations = [
      { originalName: `${name}/momentum`, variable: tf.variable(entry.start, false) },
    ];
    delete entry.start;
  }
  optimizer.setLearningRate(rate);
  const gradient = tf.tensor1d(g, "float32");
  optimizer.applyGradients({ [name]: gradient });
  gradient.dispose();
  copy(w, variable);
  if (config.momentum !== 0) copy(v, optimizer.accumulations[0].variable);
}

