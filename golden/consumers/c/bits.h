/* The four dtypes. Every number of each of them is a double, and is held as one. */
#ifndef BITS_H
#define BITS_H

#include <stdbool.h>
#include <stdint.h>

enum dtype { FLOAT16, BFLOAT16, FLOAT32, FLOAT64, DTYPES };

const char *dtype_name(enum dtype dtype);
enum dtype dtype_named(const char *name); /* DTYPES if there is none */
int dtype_digits(enum dtype dtype);       /* hexadecimal digits of a pattern */
double smallest_normal(enum dtype dtype);

/* The narrowest dtype that holds all numbers of both. */
enum dtype promoted(enum dtype a, enum dtype b);

double from_pattern(enum dtype dtype, uint64_t pattern);
uint64_t to_pattern(enum dtype dtype, double value); /* rounds, if it has to */

/* A number rounded once to a dtype: to nearest, ties to even. */
double rounded(enum dtype dtype, double value);

/* The same for integer * 2**exponent, or for a number a little above it if `is_more`. */
uint64_t rounded_pattern(enum dtype dtype, uint64_t integer, int exponent, bool is_more);

#endif
