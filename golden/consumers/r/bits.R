# The four dtypes. Every number of each of them is a double, and is held as one.

# A finite number is integer * 2^exponent with |integer| < 2^precision and
# exponent >= minimum_exponent - precision + 1.
formats <- list(
  float16 = list(bytes = 2, precision = 11, minimum_exponent = -14),
  bfloat16 = list(bytes = 2, precision = 8, minimum_exponent = -126),
  float32 = list(bytes = 4, precision = 24, minimum_exponent = -126),
  float64 = list(bytes = 8, precision = 53, minimum_exponent = -1022)
)

largest <- function(dtype) {
  format <- formats[[dtype]]
  (2 - 2^(1 - format$precision)) * 2^(1 - format$minimum_exponent)
}

smallest_normal <- function(dtype) 2^formats[[dtype]]$minimum_exponent

# The narrowest dtype that holds all numbers of both.
promoted <- function(a, b) {
  if (a == b) return(a)
  if ("float64" %in% c(a, b)) "float64" else "float32"
}

# floor(log2(x)) for x >= 0; the rounded logarithm alone can be wrong beside a power of two.
exponent_of <- function(x) {
  is_tiny <- x < 2^-900
  x <- ifelse(is_tiny, x * 2^100, x)
  exponent <- floor(log2(x))
  exponent <- exponent - (2^exponent > x)
  exponent + (2^(exponent + 1) <= x) - 100 * is_tiny
}

# The distance of the numbers of a dtype at x > 0.
unit_of <- function(dtype, x) {
  format <- formats[[dtype]]
  2^(pmax(exponent_of(x), format$minimum_exponent) - format$precision + 1)
}

# Numbers rounded once to a dtype: to nearest, ties to even.
rounded <- function(dtype, x) {
  if (dtype == "float64") return(x)
  is_rounded <- is.finite(x) & x != 0
  unit <- unit_of(dtype, abs(x[is_rounded]))
  # Scaling by a power of two is exact; round() takes ties to even and keeps the sign of a zero.
  nearest <- round(x[is_rounded] / unit) * unit
  is_too_large <- abs(nearest) > largest(dtype)
  nearest[is_too_large] <- sign(nearest[is_too_large]) * Inf
  x[is_rounded] <- nearest
  x
}

# Numbers from patterns, such as "3f800000 80000000".
from_bits <- function(dtype, bits) {
  if (bits == "") return(numeric(0))
  digits <- gsub(" ", "", bits, fixed = TRUE)
  starts <- seq_len(nchar(digits) / 2) * 2 - 1
  bytes <- as.raw(strtoi(substring(digits, starts, starts + 1), 16L))
  count <- length(bytes) / formats[[dtype]]$bytes
  if (dtype == "float16") return(from_float16(readBin(bytes, "integer", count, 2, FALSE, "big")))
  # bfloat16 is the first half of float32.
  if (dtype == "bfloat16") bytes <- as.raw(rbind(matrix(as.integer(bytes), 2), 0L, 0L))
  readBin(bytes, "numeric", count, max(formats[[dtype]]$bytes, 4), endian = "big")
}

# Patterns from numbers of a dtype.
to_bits <- function(dtype, x) {
  bytes <- formats[[dtype]]$bytes
  if (length(x) == 0) return("")
  if (dtype == "float16") return(paste(sprintf("%04x", to_float16(x)), collapse = " "))
  raw_bytes <- matrix(as.character(writeBin(x, raw(), max(bytes, 4), "big")), max(bytes, 4))
  paste(apply(raw_bytes[seq_len(bytes), , drop = FALSE], 2, paste, collapse = ""), collapse = " ")
}

from_float16 <- function(patterns) {
  field <- bitwAnd(bitwShiftR(patterns, 10L), 31L)
  fraction <- bitwAnd(patterns, 1023L)
  x <- ifelse(field == 0, fraction * 2^-24, (fraction + 1024) * 2^(field - 25))
  x[field == 31] <- ifelse(fraction[field == 31] == 0, Inf, NaN)
  ifelse(patterns >= 32768, -x, x)
}

to_float16 <- function(x) {
  magnitude <- abs(x)
  unit <- unit_of("float16", pmin(pmax(magnitude, 2^-24), 65504))
  # The leading bit of a normal number adds one to the field of the exponent.
  patterns <- (log2(unit) + 24) * 1024 + magnitude / unit
  patterns[is.infinite(x)] <- 31744
  patterns[is.nan(x)] <- 32256
  as.integer(patterns + ifelse(!is.nan(x) & (x < 0 | 1 / x < 0), 32768, 0))
}
