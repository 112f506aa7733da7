# Numbers of some 100 bits: c(high, low), the exact sum of two doubles, the second below half a unit of the
# first.
#
# Sources of the algorithms: T. J. Dekker, A floating-point technique for extending the available precision,
# 1971; D. E. Knuth, The Art of Computer Programming, volume 2, 4.2.2.

# Relative errors stay well below this. A result so close to a number of few bits is taken for it: no
# irrational value of a formula in settings of 24 bits is expected to come so close to a tie.
NOISE <- 2^-90

exact_sum <- function(a, b) {
  total <- a + b
  part <- total - a
  c(total, (a - (total - part)) + (b - part))
}

normalized <- function(high, low) {
  total <- high + low
  c(total, low - (total - high))
}

halves <- function(a) { # of 26 bits each, so that products of them are exact
  scaled <- 134217729 * a
  high <- scaled - (scaled - a)
  c(high, a - high)
}

exact_product <- function(a, b) {
  product <- a * b
  x <- halves(a)
  y <- halves(b)
  c(product, ((x[1] * y[1] - product) + x[1] * y[2] + x[2] * y[1]) + x[2] * y[2])
}

dd <- function(x) c(x, 0)

dd_add <- function(a, b) {
  high <- exact_sum(a[1], b[1])
  low <- exact_sum(a[2], b[2])
  partial <- normalized(high[1], high[2] + low[1])
  normalized(partial[1], partial[2] + low[2])
}

dd_subtract <- function(a, b) dd_add(a, -b)

dd_multiply <- function(a, b) {
  product <- exact_product(a[1], b[1])
  normalized(product[1], product[2] + (a[1] * b[2] + a[2] * b[1]))
}

dd_divide <- function(a, b) {
  quotient <- dd(0)
  for (digit in 1:3) { # each brings 53 bits, as in long division
    q <- a[1] / b[1]
    quotient <- dd_add(quotient, dd(q))
    a <- dd_subtract(a, dd_multiply(b, dd(q)))
  }
  quotient
}

dd_floor <- function(a) {
  high <- floor(a[1])
  if (high == a[1]) normalized(high, floor(a[2])) else dd(high)
}

# Below, equal to or above 0.
dd_compare <- function(a, b) sign(dd_subtract(a, b)[1])

# pi, and log(2) below, as the double nearest to it and the double nearest to the rest.
PI <- c(3.141592653589793116, 4967757600021511 * 2^-105)
LN_2 <- c(0.6931471805599453094, 7525737178955839 * 2^-108)

dd_exponential <- function(x) {
  if (x[1] < -300) return(dd(2^-440)) # far below the smallest float32, but with a sign
  if (x[1] > 300) return(dd(2^440)) # far above the largest, likewise
  doublings <- round(x[1] / LN_2[1])
  rest <- dd_subtract(x, dd_multiply(LN_2, dd(doublings)))
  total <- term <- dd(1)
  for (n in 1:30) { # |rest| < 0.35, and 0.35^30 / 30! is below 2^-150
    term <- dd_divide(dd_multiply(term, rest), dd(n))
    total <- dd_add(total, term)
  }
  total * 2^doublings
}

# One step of Newton's method doubles the 53 bits of log().
dd_logarithm <- function(x) {
  y <- dd(log(x[1]))
  dd_add(y, dd_subtract(dd_multiply(x, dd_exponential(-y)), dd(1)))
}

integer_power <- function(base, exponent) {
  power <- dd(1)
  while (exponent >= 1) {
    if (exponent %% 2 == 1) power <- dd_multiply(power, base)
    base <- dd_multiply(base, base)
    exponent <- floor(exponent / 2)
  }
  power
}

# Both 0 or more; 0 to the power of 0 is 1.
dd_power <- function(base, exponent) {
  if (exponent[1] == 0) return(dd(1))
  if (base[1] == 0) return(dd(0))
  logarithm <- dd_multiply(exponent, dd_logarithm(base))
  is_integer <- exponent[2] == 0 && exponent[1] == floor(exponent[1])
  # Multiplications are exact where the power has few bits, and could be half way between two floats.
  if (is_integer && abs(logarithm[1]) < 300) return(integer_power(base, exponent[1]))
  dd_exponential(logarithm)
}

# cos(pi * x) for 0 <= x <= 1.
dd_cosine_of_pi_times <- function(x) {
  if (x[1] > 0.5) return(-dd_cosine_of_pi_times(dd_subtract(dd(1), x)))
  angle <- dd_multiply(PI, x)
  square <- dd_multiply(angle, angle)
  total <- term <- dd(1)
  for (n in seq(1, 39, 2)) { # angle < 1.6, and 1.6^40 / 40! is below 2^-130
    term <- dd_divide(dd_multiply(term, square), dd(-n * (n + 1)))
    total <- dd_add(total, term)
  }
  total
}

# Rounded once to float32.
dd_to_float32 <- function(a) {
  if (!isTRUE(abs(a[2]) > NOISE * abs(a[1]))) return(rounded("float32", a[1]))
  # Rounding to odd keeps in the last bit that something was cut off, so that a number beside the middle of
  # two floats is not taken for the middle.
  unit <- unit_of("float64", abs(a[1]))
  is_even <- (a[1] / unit) %% 2 == 0
  rounded("float32", if (is_even) a[1] + sign(a[2]) * unit else a[1])
}
