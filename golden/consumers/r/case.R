# A case: read from JSON, and run call by call. Settings are taken as they are; nothing is refused here.

read_array <- function(document) {
  shape <- as.numeric(unlist(document$shape))
  is_made <- !is.null(document$made)
  values <- if (is_made) made_values(document$made, shape) else from_bits(document$dtype, document$bits)
  list(dtype = document$dtype, shape = shape, values = values)
}

begin <- function(document) {
  variables <- lapply(document$variables, read_array)
  slots <- function(name, is_needed) {
    given <- document$state[[name]]
    if (!is_needed) return(list())
    if (length(given) > 0) lapply(given, read_array) else lapply(variables, zeros_like)
  }
  scale <- document$state$loss_scale
  scale <- if (is.null(scale)) document$loss_scaling$initial_scale else read_array(scale)$values
  is_excluded <- function(name) {
    any(vapply(document$excluded_from_weight_decay, grepl, TRUE, x = name, fixed = TRUE))
  }
  config <- document$config
  list(
    config = config,
    loss_scaling = document$loss_scaling,
    variables = variables,
    is_big = any(vapply(document$variables, function(variable) !is.null(variable$made), TRUE)),
    is_decayed = !vapply(document$names, is_excluded, TRUE),
    velocities = slots("velocities", config$momentum != 0),
    averages = slots("averages", config$use_ema),
    accumulators = slots("accumulators", !is.null(config$gradient_accumulation_steps)),
    calls = or(document$state$calls, 0),
    loss_scale = setting("float32", scale),
    growth_counter = or(document$state$growth_counter, 0)
  )
}

# The gradient of a variable: dense, and widened to its dtype, which changes no value.
read_gradient <- function(document, variable) {
  if (is.null(document)) return(NULL)
  if (is.null(document$indices)) return(with_values(variable, read_array(document)$values))
  dense(variable$dtype, unlist(document$indices), read_array(document$values)$values, variable$shape)
}

# The list of the optimizers after each call, and after the finalisation; each knows the rate of its call.
run <- function(document) {
  optimizer <- begin(document)
  rates <- if (!is.null(document$learning_rate_calls)) read_array(document$learning_rate_calls)$values
  records <- list()
  for (call in seq_along(document$gradients)) {
    gradients <- Map(read_gradient, document$gradients[[call]], optimizer$variables)
    rate <- if (is.null(rates)) learning_rate(optimizer) else rounded("float32", rates[call])
    optimizer <- apply_gradients(optimizer, gradients, rate)
    optimizer$rate <- rate
    records[[call]] <- optimizer
  }
  if (document$finalize) {
    optimizer <- finalize(optimizer)
    optimizer$rate <- NULL
    records[[length(records) + 1]] <- optimizer
  }
  records
}
