# Stochastic gradient descent: one call, stage by stage.
#
# An array is list(dtype, shape, values), with numbers in row-major order; a missing gradient is NULL.

# Every operation is rounded once to the dtype. Carried out in double and then rounded it gives the bits of
# an operation of the dtype itself: a double has more than twice the bits of float32, plus two.
add <- function(dtype, a, b) rounded(dtype, a + b)
subtract <- function(dtype, a, b) rounded(dtype, a - b)
multiply <- function(dtype, a, b) rounded(dtype, a * b)
divide <- function(dtype, a, b) rounded(dtype, a / b)

# A setting is rounded once to the dtype in which it is used.
setting <- function(dtype, x) rounded(dtype, as.numeric(x))

with_values <- function(array, values) {
  array$values <- values
  array
}

zeros_like <- function(array) with_values(array, 0 * seq_along(array$values))

for_present <- function(gradients, stage) lapply(gradients, function(g) if (is.null(g)) NULL else stage(g))

iterations <- function(optimizer) {
  optimizer$calls %/% or(optimizer$config$gradient_accumulation_steps, 1)
}

# The learning rate of the next call, where no callable gives it: a float32.
learning_rate <- function(optimizer) {
  rate <- optimizer$config$learning_rate
  if (is.list(rate)) scheduled_rate(rate, optimizer$calls) else setting("float32", rate)
}

# One call; returns the optimizer after it. Gradients are dense and of the dtype of their variable.
apply_gradients <- function(optimizer, gradients, rate) {
  if (is.null(optimizer$loss_scaling)) {
    optimizer <- step(optimizer, gradients, rate, optimizer$config$loss_scale_factor)
    optimizer$calls <- optimizer$calls + 1
    return(optimizer)
  }
  are_finite <- all(vapply(gradients, function(g) all(is.finite(g$values)), TRUE))
  if (!are_finite) return(shrink(optimizer)) # and nothing else: no count, no state
  optimizer <- step(optimizer, gradients, rate, optimizer$loss_scale)
  optimizer$calls <- optimizer$calls + 1
  grow(optimizer)
}

# The averages become the variables, once training has ended.
finalize <- function(optimizer) {
  if (optimizer$config$use_ema && iterations(optimizer) > 0) optimizer$variables <- optimizer$averages
  optimizer
}

# The dense equivalent of sparse rows, whose values are in a dtype that holds them.
dense <- function(dtype, indices, rows, shape) {
  width <- prod(shape[-1])
  values <- numeric(prod(shape))
  written <- c()
  for (row in seq_along(indices)) {
    places <- indices[row] * width + seq_len(width)
    new <- rows[(row - 1) * width + seq_len(width)]
    # The first row is copied: 0 + -0 would be +0.
    values[places] <- if (indices[row] %in% written) add(dtype, values[places], new) else new
    written <- c(written, indices[row])
  }
  list(dtype = dtype, shape = shape, values = values)
}

step <- function(optimizer, gradients, rate, loss_scale) {
  steps <- optimizer$config$gradient_accumulation_steps
  present <- which(!vapply(gradients, is.null, TRUE))
  if (!is.null(loss_scale)) gradients <- for_present(gradients, function(g) unscale(g, loss_scale))
  if (!is.null(steps)) {
    is_accumulating <- (optimizer$calls + 1) %% steps != 0
    for (k in present) {
      g <- gradients[[k]]
      total <- add(g$dtype, g$values, optimizer$accumulators[[k]]$values)
      if (is_accumulating) optimizer$accumulators[[k]]$values <- total
      gradients[[k]]$values <- divide(g$dtype, total, setting(g$dtype, steps))
    }
    if (is_accumulating) return(optimizer)
    optimizer$accumulators <- lapply(optimizer$accumulators, zeros_like)
  }
  gradients <- clip(gradients, optimizer$config)
  for (k in present) optimizer <- update(optimizer, k, gradients[[k]], rate)
  if (optimizer$config$use_ema) average_and_overwrite(optimizer) else optimizer
}

unscale <- function(g, loss_scale) {
  wide <- promoted(g$dtype, "float32")
  with_values(g, rounded(g$dtype, divide(wide, g$values, setting(wide, loss_scale))))
}

clip <- function(gradients, config) {
  if (!is.null(config$clipnorm)) {
    return(for_present(gradients, function(g) clip_by_norm(g, config$clipnorm)))
  }
  if (!is.null(config$clipvalue)) {
    return(for_present(gradients, function(g) clip_by_value(g, config$clipvalue)))
  }
  if (!is.null(config$global_clipnorm)) return(clip_by_global_norm(gradients, config$global_clipnorm))
  gradients
}

clip_by_norm <- function(g, clipnorm) {
  c <- setting(g$dtype, clipnorm)
  larger <- max(euclidean_norm(g$dtype, g$values), c) # NaN where the norm is
  with_values(g, divide(g$dtype, multiply(g$dtype, g$values, c), larger))
}

clip_by_value <- function(g, clipvalue) {
  c <- setting(g$dtype, clipvalue)
  values <- g$values
  values[which(g$values > c)] <- c # which() leaves NaN out
  values[which(g$values < -c)] <- -c
  with_values(g, values)
}

clip_by_global_norm <- function(gradients, clipnorm) {
  present <- Filter(Negate(is.null), gradients)
  wide <- Reduce(promoted, lapply(present, function(g) g$dtype))
  norm <- euclidean_norm(wide, unlist(lapply(present, function(g) g$values)))
  smaller <- min(divide(wide, 1, norm), setting(wide, 1 / clipnorm)) # NaN where the norm is
  # norm - norm is NaN where the norm is not finite.
  factor <- add(wide, multiply(wide, setting(wide, clipnorm), smaller), subtract(wide, norm, norm))
  for_present(gradients, function(g) with_values(g, rounded(g$dtype, multiply(wide, g$values, factor))))
}

update <- function(optimizer, k, g, rate) {
  config <- optimizer$config
  t <- g$dtype
  w <- optimizer$variables[[k]]$values
  lr <- setting(t, rate)
  if (!is.null(config$weight_decay) && optimizer$is_decayed[k]) {
    wd <- setting(t, config$weight_decay)
    w <- subtract(t, w, multiply(t, multiply(t, w, wd), lr))
  }
  scaled <- multiply(t, lr, g$values)
  if (config$momentum == 0) {
    w <- subtract(t, w, scaled)
  } else {
    mu <- setting(t, config$momentum)
    velocity <- subtract(t, multiply(t, mu, optimizer$velocities[[k]]$values), scaled)
    change <- if (config$nesterov) subtract(t, multiply(t, mu, velocity), scaled) else velocity
    optimizer$velocities[[k]]$values <- velocity
    w <- add(t, w, change)
  }
  optimizer$variables[[k]]$values <- w
  optimizer
}

# Averages concern all variables, also those without a gradient in this call.
average_and_overwrite <- function(optimizer) {
  updates_before <- iterations(optimizer)
  frequency <- optimizer$config$ema_overwrite_frequency
  for (k in seq_along(optimizer$variables)) {
    w <- optimizer$variables[[k]]
    old <- optimizer$averages[[k]]$values
    m <- setting(w$dtype, optimizer$config$ema_momentum)
    rest <- multiply(w$dtype, subtract(w$dtype, 1, m), w$values)
    new <- if (updates_before == 0) w$values else add(w$dtype, multiply(w$dtype, m, old), rest)
    optimizer$averages[[k]]$values <- new
  }
  is_overwritten <- !is.null(frequency) && (updates_before + 1) %% frequency == 0
  if (is_overwritten) optimizer$variables <- optimizer$averages
  optimizer
}

grow <- function(optimizer) {
  optimizer$growth_counter <- optimizer$growth_counter + 1
  if (optimizer$growth_counter < optimizer$loss_scaling$dynamic_growth_steps) return(optimizer)
  optimizer$growth_counter <- 0
  doubled <- multiply("float32", optimizer$loss_scale, 2)
  if (is.finite(doubled)) optimizer$loss_scale <- doubled
  optimizer
}

shrink <- function(optimizer) {
  optimizer$growth_counter <- 0
  halved <- multiply("float32", optimizer$loss_scale, 0.5)
  if (halved >= smallest_normal("float32")) optimizer$loss_scale <- halved
  optimizer
}
