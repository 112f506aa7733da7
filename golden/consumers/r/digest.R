# Big arrays: the rule that makes them, and the digests that stand for them.

MODULUS <- 2147483647

# The elements of a big array, from their indices; no product is above 2^53.
made_values <- function(made, shape) {
  index <- seq_len(prod(shape)) - 1
  2 * (((made[[1]] * index + made[[2]]) %% MODULUS) %% 8) - 7
}

# The patterns of numbers, each cut into parts of 16 bits, the most significant one first.
parts_of <- function(dtype, x) {
  if (dtype == "float16") return(to_float16(x))
  size <- max(formats[[dtype]]$bytes, 4)
  bytes <- matrix(as.integer(writeBin(x, raw(), size, "big")), size)
  bytes <- bytes[seq_len(formats[[dtype]]$bytes), , drop = FALSE]
  odd <- seq(1, nrow(bytes), 2)
  as.vector(256 * bytes[odd, ] + bytes[odd + 1, ])
}

hash_of <- function(array) {
  parts <- parts_of(array$dtype, array$values)
  sum((seq_along(parts) * parts) %% MODULUS) %% MODULUS
}

# The bits of the elements at both ends and around 65536.
window_of <- function(array) {
  count <- length(array$values)
  chosen <- sort(unique(c(1:4, 65535:65538, count - 3:0)))
  to_bits(array$dtype, array$values[chosen[chosen >= 1 & chosen <= count]])
}
