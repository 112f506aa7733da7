#include "norm.h"

#include <math.h>
#include <string.h>

/* A square of a double is an integer times 2**(-2 * 1074), and below 2**2048. 128 more bits below give the
   root of the smallest sums 64 digits after the point, 64 more above are for the sum. */
enum { LOWEST = -2 * 1074 - 128, LIMBS = (2048 - LOWEST + 64) / 32 + 1 };

/* A sum of squares as one long integer, in units of 2**LOWEST, the lowest limb first. */
struct total {
    uint32_t limbs[LIMBS];
};

static void add_shifted(struct total *total, uint64_t integer, int shift) {
    int limb = shift / 32, bits = shift % 32;
    uint64_t low = (integer & 0xffffffff) << bits, high = (integer >> 32) << bits;
    uint64_t carry = low;
    for (int i = limb; i < LIMBS && (carry != 0 || high != 0); i++) {
        uint64_t sum = total->limbs[i] + (carry & 0xffffffff);
        total->limbs[i] = (uint32_t)sum;
        carry = (carry >> 32) + (sum >> 32) + high;
        high = 0;
    }
}

static void add_square(struct total *total, double value) {
    if (value == 0) return;
    int exponent;
    uint64_t integer = (uint64_t)ldexp(frexp(fabs(value), &exponent), 53);
    exponent -= 53;
    while (integer % 2 == 0) { /* so that subnormal numbers, too, are multiples of the unit */
        integer /= 2;
        exponent++;
    }
    /* (high * 2**27 + low)**2, since 106 bits have no type of their own in C. */
    uint64_t high = integer >> 27, low = integer & ((UINT64_C(1) << 27) - 1);
    int shift = 2 * exponent - LOWEST;
    add_shifted(total, low * low, shift);
    add_shifted(total, 2 * high * low, shift + 27);
    add_shifted(total, high * high, shift + 54);
}

static unsigned two_bits(const struct total *total, int position) {
    return total->limbs[position / 32] >> (position % 32) & 3;
}

/* The square root, digit by digit as on paper, from the highest pair of bits down. */
static double square_root(enum dtype dtype, const struct total *total) {
    enum { ENOUGH = 58 }; /* bits of the root: more than 53 and one for the tie */
    uint64_t root = 0, remainder = 0;
    int position = LIMBS * 32 - 2;
    for (; position >= 0 && root < UINT64_C(1) << (ENOUGH - 1); position -= 2) {
        remainder = remainder << 2 | two_bits(total, position);
        uint64_t trial = root << 2 | 1;
        root <<= 1;
        if (remainder >= trial) {
            remainder -= trial;
            root |= 1;
        }
    }
    bool is_more = remainder != 0;
    int exponent = (position + 2) / 2;
    for (; position >= 0; position -= 2) is_more = is_more || two_bits(total, position) != 0;
    return from_pattern(dtype, rounded_pattern(dtype, root, exponent + LOWEST / 2, is_more));
}

double euclidean_norm(enum dtype dtype, const struct array *arrays, size_t count) {
    struct total total;
    bool is_infinite = false;
    memset(&total, 0, sizeof total);
    for (size_t k = 0; k < count; k++) {
        for (size_t i = 0; !is_missing(&arrays[k]) && i < arrays[k].size; i++) {
            double value = arrays[k].values[i];
            if (isnan(value)) return NAN;
            if (isinf(value))
                is_infinite = true;
            else
                add_square(&total, value);
        }
    }
    return is_infinite ? INFINITY : square_root(dtype, &total);
}
