#include "double_double.h"

#include <math.h>

/* Sources of the algorithms: T. J. Dekker, A floating-point technique for extending the available
   precision, 1971; D. E. Knuth, The Art of Computer Programming, volume 2, 4.2.2. They are right only if
   the compiler neither reorders operations nor contracts them: -ffp-contract=off, no -ffast-math. */

/* Relative errors stay well below this. A result so close to a number of few bits is taken for it: no
   irrational value of a formula in settings of 24 bits is expected to come so close to a tie. */
static const double NOISE = 0x1p-90;

static const struct dd LN_2 = {0x1.62e42fefa39efp-1, 0x1.abc9e3b39803fp-56};
static const struct dd PI = {0x1.921fb54442d18p+1, 0x1.1a62633145c07p-53};

static struct dd sum(double a, double b) { /* exact */
    double s = a + b, part = s - a;
    return (struct dd){s, (a - (s - part)) + (b - part)};
}

static struct dd product(double a, double b) { /* exact: fma() rounds once, by definition */
    double p = a * b;
    return (struct dd){p, fma(a, b, -p)};
}

static struct dd normalized(double high, double low) {
    double s = high + low;
    return (struct dd){s, low - (s - high)};
}

struct dd dd_number(double value) { return (struct dd){value, 0}; }

struct dd dd_add(struct dd a, struct dd b) {
    struct dd high = sum(a.high, b.high), low = sum(a.low, b.low);
    struct dd partial = normalized(high.high, high.low + low.high);
    return normalized(partial.high, partial.low + low.low);
}

struct dd dd_subtract(struct dd a, struct dd b) { return dd_add(a, (struct dd){-b.high, -b.low}); }

struct dd dd_multiply(struct dd a, struct dd b) {
    struct dd p = product(a.high, b.high);
    return normalized(p.high, p.low + (a.high * b.low + a.low * b.high));
}

struct dd dd_divide(struct dd a, struct dd b) {
    struct dd quotient = dd_number(0);
    for (int digit = 0; digit < 3; digit++) { /* each brings 53 bits, as in long division */
        double q = a.high / b.high;
        quotient = dd_add(quotient, dd_number(q));
        a = dd_subtract(a, dd_multiply(b, dd_number(q)));
    }
    return quotient;
}

int dd_compare(struct dd a, struct dd b) {
    struct dd difference = dd_subtract(a, b);
    return (difference.high > 0) - (difference.high < 0);
}

struct dd dd_floor(struct dd a) {
    double high = floor(a.high);
    return high == a.high ? normalized(high, floor(a.low)) : dd_number(high);
}

static struct dd exponential(struct dd x) {
    if (x.high < -300) return dd_number(0x1p-440); /* far below the smallest float32, but with a sign */
    if (x.high > 300) return dd_number(0x1p440); /* far above the largest, likewise */
    double halvings = rint(x.high / LN_2.high);
    struct dd r = dd_subtract(x, dd_multiply(LN_2, dd_number(halvings)));
    struct dd total = dd_number(1), term = dd_number(1);
    for (int n = 1; n <= 30; n++) { /* |r| < 0.35, and 0.35**30 / 30! is below 2**-150 */
        term = dd_divide(dd_multiply(term, r), dd_number(n));
        total = dd_add(total, term);
    }
    return (struct dd){ldexp(total.high, (int)halvings), ldexp(total.low, (int)halvings)};
}

static struct dd logarithm(struct dd x) {
    /* One step of Newton's method doubles the 53 bits of log(). */
    struct dd y = dd_number(log(x.high));
    struct dd ratio = dd_multiply(x, exponential(dd_number(-y.high)));
    return dd_add(y, dd_subtract(ratio, dd_number(1)));
}

static struct dd integer_power(struct dd base, double exponent) {
    struct dd power = dd_number(1);
    for (; exponent >= 1; exponent = floor(exponent / 2)) {
        if (fmod(exponent, 2) == 1) power = dd_multiply(power, base);
        base = dd_multiply(base, base);
    }
    return power;
}

struct dd dd_power(struct dd base, struct dd exponent) {
    if (exponent.high == 0) return dd_number(1);
    if (base.high == 0) return dd_number(0);
    struct dd product_of_logarithm = dd_multiply(exponent, logarithm(base));
    /* Multiplications are exact where the power has few bits, and could be half way between two floats. */
    if (exponent.low == 0 && exponent.high == floor(exponent.high) && fabs(product_of_logarithm.high) < 300)
        return integer_power(base, exponent.high);
    return exponential(product_of_logarithm);
}

struct dd dd_cosine_of_pi_times(struct dd x) {
    if (x.high > 0.5) {
        struct dd cosine = dd_cosine_of_pi_times(dd_subtract(dd_number(1), x));
        return (struct dd){-cosine.high, -cosine.low};
    }
    struct dd angle = dd_multiply(PI, x), square = dd_multiply(angle, angle);
    struct dd total = dd_number(1), term = dd_number(1);
    for (int n = 1; n <= 40; n += 2) { /* angle < 1.6, and 1.6**40 / 40! is below 2**-130 */
        term = dd_divide(dd_multiply(term, square), dd_number(-n * (n + 1.0)));
        total = dd_add(total, term);
    }
    return total;
}

double dd_to_float32(struct dd a) {
    if (!(fabs(a.low) > NOISE * fabs(a.high))) return (double)(float)a.high;
    /* Rounding to odd keeps in the last bit that something was cut off, so that a number beside the
       middle of two floats is not taken for the middle. */
    double other = nextafter(a.high, a.low > 0 ? INFINITY : -INFINITY);
    int exponent;
    double integer = ldexp(frexp(a.high, &exponent), 53);
    return (double)(float)(fmod(integer, 2) == 0 ? other : a.high);
}
