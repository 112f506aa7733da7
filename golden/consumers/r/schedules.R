# The learning-rate schedules: the float32 nearest to the formula.

# The rate of the call before which `step` calls were made.
scheduled_rate <- function(schedule, step) {
  config <- schedule$config
  if (schedule$class_name == "PiecewiseConstantDecay") return(piecewise_constant_decay(config, step))
  is_number <- vapply(config, is.numeric, TRUE)
  config[is_number] <- lapply(config[is_number], function(x) rounded("float32", as.numeric(x)))
  dd_to_float32(formulas[[schedule$class_name]](config, step))
}

piecewise_constant_decay <- function(config, step) {
  piece <- sum(step > unlist(config$boundaries)) + 1
  value <- as.numeric(config$values[[piece]])
  if (value == 0) 0 else rounded("float32", value) # a -0 among the settings is the number 0
}

or <- function(value, otherwise) if (is.null(value)) otherwise else value

# floor(a / b), also where the rounded quotient is an integer and the exact one below it.
floor_of_quotient <- function(a, b) {
  whole <- dd_floor(dd_divide(dd(a), dd(b)))
  product <- dd_multiply(whole, dd(b))
  if (dd_compare(product, dd(a)) > 0) return(dd_subtract(whole, dd(1)))
  if (dd_compare(dd_add(product, dd(b)), dd(a)) <= 0) return(dd_add(whole, dd(1)))
  whole
}

decays_done <- function(config, step) {
  if (isTRUE(config$staircase)) return(floor_of_quotient(step, config$decay_steps))
  dd_divide(dd(step), dd(config$decay_steps))
}

# (1 - alpha) * height * (1 + cos(pi * p)) / 2 + alpha
cosine_decayed <- function(p, alpha, height) {
  decayed <- dd_multiply(height, dd_add(dd(1), dd_cosine_of_pi_times(p))) / 2
  dd_add(dd_multiply(dd_subtract(dd(1), dd(alpha)), decayed), dd(alpha))
}

formulas <- list(
  ExponentialDecay = function(config, step) {
    dd_multiply(dd(config$initial_learning_rate), dd_power(dd(config$decay_rate), decays_done(config, step)))
  },
  InverseTimeDecay = function(config, step) {
    divisor <- dd_add(dd(1), dd_multiply(dd(config$decay_rate), decays_done(config, step)))
    dd_divide(dd(config$initial_learning_rate), divisor)
  },
  PolynomialDecay = function(config, step) {
    length <- dd(config$decay_steps)
    if (isTRUE(config$cycle) && step > config$decay_steps) {
      cycles <- floor_of_quotient(step, config$decay_steps)
      if (dd_compare(dd_multiply(cycles, length), dd(step)) < 0) cycles <- dd_add(cycles, dd(1))
      length <- dd_multiply(cycles, length)
    }
    p <- if (dd_compare(dd(step), length) >= 0) dd(1) else dd_divide(dd(step), length)
    end <- dd(or(config$end_learning_rate, rounded("float32", 0.0001)))
    power <- dd_power(dd_subtract(dd(1), p), dd(or(config$power, 1)))
    dd_add(dd_multiply(dd_subtract(dd(config$initial_learning_rate), end), power), end)
  },
  CosineDecay = function(config, step) {
    start <- config$initial_learning_rate
    since <- dd(step)
    if (!is.null(config$warmup_target)) {
      warmup_steps <- or(config$warmup_steps, 0)
      if (step < warmup_steps) {
        delta <- dd_subtract(dd(config$warmup_target), dd(start))
        return(dd_add(dd_multiply(dd_divide(dd(step), dd(warmup_steps)), delta), dd(start)))
      }
      start <- config$warmup_target
      since <- dd_subtract(since, dd(warmup_steps))
    }
    decay_steps <- dd(config$decay_steps)
    p <- if (dd_compare(since, decay_steps) >= 0) dd(1) else dd_divide(since, decay_steps)
    dd_multiply(dd(start), cosine_decayed(p, or(config$alpha, 0), dd(1)))
  },
  CosineDecayRestarts = function(config, step) {
    t_mul <- or(config$t_mul, 2)
    length <- dd(config$first_decay_steps)
    since <- dd(step)
    restarts <- dd(0)
    if (t_mul == 1) {
      restarts <- floor_of_quotient(step, config$first_decay_steps)
      since <- dd_subtract(since, dd_multiply(restarts, length))
    }
    while (dd_compare(since, length) >= 0) {
      since <- dd_subtract(since, length)
      length <- dd_multiply(length, dd(t_mul))
      restarts <- dd_add(restarts, dd(1))
    }
    height <- dd_power(dd(or(config$m_mul, 1)), restarts)
    decayed <- cosine_decayed(dd_divide(since, length), or(config$alpha, 0), height)
    dd_multiply(dd(config$initial_learning_rate), decayed)
  }
)
