# The Euclidean norm, correctly rounded.
#
# A sum of squares is one long integer: digits of base 2^18, the lowest first, of which digit i stands for
# 2^(18 * (i - OFFSET)). Products of digits, and their sums, are exact in doubles.

BASE <- 2^18
OFFSET <- 132
LENGTH <- 256

# Numbers x > 0 as rows of 4 digits: x = sum(digits * 2^(18 * (first + 0:3))).
digits_of <- function(x) {
  first <- floor((exponent_of(x) - 54) / 18)
  rest <- x * 2^(-9 * first) * 2^(-9 * first) # in two steps, since 2^1080 is too large
  digits <- matrix(0, length(x), 4)
  for (i in 1:4) {
    digits[, i] <- rest - floor(rest / BASE) * BASE
    rest <- floor(rest / BASE)
  }
  list(first = first, digits = digits)
}

with_carries <- function(total) {
  carry <- 0
  for (i in seq_along(total)) {
    digit <- total[i] + carry
    carry <- floor(digit / BASE)
    total[i] <- digit - carry * BASE
  }
  total
}

# The exact sum of the products of numbers above 0.
sum_of_products <- function(x, y = x) {
  total <- numeric(LENGTH)
  for (block in split(seq_along(x), ceiling(seq_along(x) / 1024))) { # so few that no sum passes 2^53
    a <- digits_of(x[block])
    b <- digits_of(y[block])
    places <- a$first + b$first + OFFSET
    for (place in unique(places)) {
      rows <- places == place
      products <- crossprod(a$digits[rows, , drop = FALSE], b$digits[rows, , drop = FALSE])
      for (i in 1:4) {
        at <- place + i - 1 + 0:3
        total[at] <- total[at] + products[i, ]
      }
    }
    total <- with_carries(total)
  }
  total
}

# Below, equal to or above 0.
compare <- function(a, b) {
  different <- which(a != b)
  if (length(different) == 0) 0 else sign(a[max(different)] - b[max(different)])
}

# The square root of the exact sum of all squares, rounded once to `dtype`.
euclidean_norm <- function(dtype, x) {
  if (any(is.nan(x))) return(NaN)
  if (any(is.infinite(x))) return(Inf)
  x <- abs(x[x != 0])
  if (length(x) == 0) return(0)
  total <- sum_of_products(x)
  scale <- 2^exponent_of(max(x)) # so that no square overflows, nor any that counts vanishes
  estimate <- min(sqrt(sum((x / scale)^2)) * scale, largest(dtype))
  root <- not_above(dtype, estimate, total)
  unit <- unit_of(dtype, root)
  while (root < largest(dtype) && compare(sum_of_products(root + unit), total) <= 0) {
    root <- root + unit
    unit <- unit_of(dtype, root)
  }
  # The true root is between root and root + unit: on which side of their middle m? (2 * m)^2 tells.
  middle <- if (root == 0) sum_of_products(unit) else {
    with_carries(4 * sum_of_products(c(root, root), c(root, unit)) + sum_of_products(unit))
  }
  side <- compare(with_carries(4 * total), middle)
  is_odd <- (root / unit) %% 2 == 1
  if (side > 0 || (side == 0 && is_odd)) root <- root + unit
  if (root > largest(dtype)) Inf else root
}

# A number of the dtype near `estimate` whose square is not above `total`.
not_above <- function(dtype, estimate, total) {
  unit <- unit_of(dtype, estimate)
  units <- 1
  repeat {
    root <- max(floor(estimate / unit) - units, 0) * unit
    if (root == 0 || compare(sum_of_products(root), total) <= 0) return(root)
    units <- 4 * units
  }
}
