#include "bits.h"

#include <float.h>
#include <math.h>
#include <string.h>

#if FLT_EVAL_METHOD != 0
#error "operations of doubles must be rounded to double, not kept wider"
#endif

_Static_assert(sizeof(float) == 4 && FLT_MANT_DIG == 24, "float must be binary32 of IEEE 754");
_Static_assert(sizeof(double) == 8 && DBL_MANT_DIG == 53, "double must be binary64 of IEEE 754");

/* A finite number is integer * 2**exponent with |integer| < 2**precision and
   exponent >= minimum_exponent - precision + 1. */
static const struct {
    const char *name;
    int bits, precision, minimum_exponent;
} formats[DTYPES] = {
    [FLOAT16] = {"float16", 16, 11, -14},
    [BFLOAT16] = {"bfloat16", 16, 8, -126},
    [FLOAT32] = {"float32", 32, 24, -126},
    [FLOAT64] = {"float64", 64, 53, -1022},
};

const char *dtype_name(enum dtype dtype) { return formats[dtype].name; }

enum dtype dtype_named(const char *name) {
    int dtype = 0;
    while (dtype < DTYPES && strcmp(formats[dtype].name, name) != 0) dtype++;
    return (enum dtype)dtype;
}

int dtype_digits(enum dtype dtype) { return formats[dtype].bits / 4; }

double smallest_normal(enum dtype dtype) { return ldexp(1.0, formats[dtype].minimum_exponent); }

enum dtype promoted(enum dtype a, enum dtype b) {
    if (a == b) return a;
    return a == FLOAT64 || b == FLOAT64 ? FLOAT64 : FLOAT32;
}

static uint64_t sign_bit(enum dtype dtype) { return UINT64_C(1) << (formats[dtype].bits - 1); }

static uint64_t pattern_of_infinity(enum dtype dtype) {
    /* All bits of the exponent; they stand between the sign and precision - 1 bits. */
    return sign_bit(dtype) - (UINT64_C(1) << (formats[dtype].precision - 1));
}

static int bit_length(uint64_t integer) {
    int length = 0;
    for (; integer != 0; integer >>= 1) length++;
    return length;
}

uint64_t rounded_pattern(enum dtype dtype, uint64_t integer, int exponent, bool is_more) {
    int precision = formats[dtype].precision, lowest = formats[dtype].minimum_exponent;
    if (integer == 0) return 0;
    int leading = exponent + bit_length(integer) - 1;
    if (leading < lowest) leading = lowest; /* subnormal: the unit does not shrink any more */
    int dropped = leading - precision + 1 - exponent;
    uint64_t kept;
    if (dropped <= 0) {
        kept = integer << -dropped;
    } else if (dropped >= 64) {
        /* Less than a quarter of the smallest unit, since the integers here are shorter than 62 bits. */
        kept = 0;
    } else {
        kept = integer >> dropped;
        uint64_t rest = integer - (kept << dropped), half = UINT64_C(1) << (dropped - 1);
        bool is_tie = rest == half && !is_more;
        kept += is_tie ? kept & 1 : rest >= half;
    }
    /* The leading bit of a normal number adds one to the field of the exponent; so does a carry. */
    uint64_t pattern = ((uint64_t)(leading - lowest) << (precision - 1)) + kept;
    return pattern < pattern_of_infinity(dtype) ? pattern : pattern_of_infinity(dtype);
}

double from_pattern(enum dtype dtype, uint64_t pattern) {
    int precision = formats[dtype].precision, lowest = formats[dtype].minimum_exponent;
    uint64_t magnitude = pattern & (sign_bit(dtype) - 1);
    double value;
    if (magnitude > pattern_of_infinity(dtype)) {
        return NAN;
    } else if (magnitude == pattern_of_infinity(dtype)) {
        value = INFINITY;
    } else {
        int field = (int)(magnitude >> (precision - 1));
        uint64_t integer = magnitude & ((UINT64_C(1) << (precision - 1)) - 1);
        if (field > 0) integer += UINT64_C(1) << (precision - 1);
        value = ldexp((double)integer, (field > 0 ? field - 1 : 0) + lowest - precision + 1);
    }
    return pattern & sign_bit(dtype) ? -value : value;
}

uint64_t to_pattern(enum dtype dtype, double value) {
    uint64_t sign = signbit(value) ? sign_bit(dtype) : 0, magnitude;
    if (isnan(value)) return pattern_of_infinity(dtype) + (UINT64_C(1) << (formats[dtype].precision - 2));
    if (isinf(value)) return sign | pattern_of_infinity(dtype);
    int exponent;
    magnitude = (uint64_t)ldexp(frexp(fabs(value), &exponent), 53);
    return sign | rounded_pattern(dtype, magnitude, exponent - 53, false);
}

double rounded(enum dtype dtype, double value) {
    if (dtype == FLOAT64) return value;
    if (dtype == FLOAT32) return (double)(float)value;
    return from_pattern(dtype, to_pattern(dtype, value));
}
