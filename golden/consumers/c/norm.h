/* The Euclidean norm, correctly rounded. */
#ifndef NORM_H
#define NORM_H

#include "array.h"

/* The square root of the exact sum of all squares, rounded once to `dtype`; missing arrays have none. */
double euclidean_norm(enum dtype dtype, const struct array *arrays, size_t count);

#endif
