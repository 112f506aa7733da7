# Golden files against what this program computes.

GRADES <- c("exact", "rounding", "diverge", "skipped")

# Prints the counts of all grades and returns the exit status.
check_files <- function(paths) {
  counts <- setNames(numeric(4), GRADES)
  for (path in paths) {
    document <- fromJSON(path, simplifyVector = FALSE)
    if (document$format != 4) stop(path, ": no golden file of format 4")
    for (entry in document$entries) {
      grade <- grade_of_entry(document$kind, entry)
      counts[grade] <- counts[grade] + 1
    }
  }
  cat(paste(counts, GRADES, collapse = ", "), "\n", sep = "")
  if (counts["diverge"] > 0) 1 else 0
}

worst <- function(grades) {
  if (length(grades) == 0) "exact" else GRADES[max(match(unlist(grades), GRADES))]
}

grade_of_entry <- function(kind, entry) {
  if (kind == "trajectory") return(grade_of_trajectory(entry))
  if (kind == "schedule") {
    values <- vapply(entry$steps, function(step) scheduled_rate(entry$schedule, as.numeric(step)), 0)
  } else if (identical(entry$stage, "norm")) {
    dtype <- entry$expected$dtype
    values <- euclidean_norm(dtype, unlist(lapply(entry$arguments$arrays, function(a) read_array(a)$values)))
  } else {
    return("skipped") # rejections, and stages that are no functions of their own here
  }
  grade <- grade_of_array(entry$expected, NULL, list(dtype = entry$expected$dtype, values = values))
  if (grade == "diverge") cat(entry$id, " diverges\n", sep = "")
  grade
}

grade_of_trajectory <- function(entry) {
  records <- run(entry$case)
  if (length(records) != length(entry$expected)) stop(entry$case$id, ": records are missing")
  grades <- lapply(seq_along(records), function(i) {
    grade <- grade_of_record(entry$expected[[i]], entry$bounds[[i]], records[[i]])
    if (grade == "diverge") cat(entry$case$id, ": record ", i - 1, " diverges\n", sep = "")
    grade
  })
  worst(grades)
}

# What a record leaves out is not compared; one that is left out has no names.
grade_of_record <- function(expected, bounds, observed) {
  number <- function(name, value) {
    if (is.null(expected[[name]])) return("exact")
    grade_of_array(expected[[name]], bounds[[name]], list(dtype = "float32", values = value))
  }
  count <- function(name, value) {
    if (is.null(expected[[name]]) || expected[[name]] == value) "exact" else "diverge"
  }
  arrays <- function(name) {
    wanted <- expected[[name]]
    if (is.null(wanted)) return("exact")
    if (length(wanted) != length(observed[[name]])) return("diverge")
    worst(lapply(seq_along(wanted), function(k) {
      grade_of_array(wanted[[k]], bounds[[name]][[k]], observed[[name]][[k]])
    }))
  }
  worst(list(
    arrays("variables"), arrays("velocities"), arrays("averages"), arrays("accumulators"),
    count("iterations", iterations(observed)), count("calls", observed$calls),
    count("growth_counter", observed$growth_counter),
    number("loss_scale", observed$loss_scale), number("learning_rate", observed$rate)
  ))
}

# The same bits, NaN being one value: 1 / x tells the zeros apart.
is_same <- function(a, b) (is.nan(a) & is.nan(b)) | (a == b & 1 / a == 1 / b) %in% TRUE

# The expected bits are exact. Else the bound decides; without one nothing else is right.
grade_of_array <- function(expected, bound, observed) {
  dtype <- expected$dtype
  if (dtype != observed$dtype) return("diverge")
  if (!is.null(expected$hash)) {
    is_same_digest <- expected$hash == hash_of(observed) && expected$window == window_of(observed)
    return(if (is_same_digest) "exact" else "diverge")
  }
  is_exact <- is_same(from_bits(dtype, expected$bits), observed$values)
  if (all(is_exact)) return("exact")
  if (is.null(bound)) return("diverge")
  is_nan_allowed <- (seq_along(observed$values) - 1) %in% unlist(bound$nan)
  values <- observed$values
  # Leading digits are left out that are those of the expected pattern.
  patterns <- strsplit(expected$bits, " ", fixed = TRUE)[[1]]
  end <- function(text) {
    digits <- strsplit(text, " ", fixed = TRUE)[[1]]
    same <- substr(patterns, 1, nchar(patterns) - nchar(digits))
    from_bits(dtype, paste0(same, digits, collapse = " "))
  }
  is_between <- end(bound$lower) <= values & values <= end(bound$upper)
  is_inside <- ifelse(is.nan(observed$values), is_nan_allowed, is_between %in% TRUE)
  if (all(is_exact | is_inside)) "rounding" else "diverge"
}
