/* An array of one dtype, held as doubles. */
#ifndef ARRAY_H
#define ARRAY_H

#include <stdbool.h>
#include <stddef.h>

#include "bits.h"

struct array {
    enum dtype dtype;
    size_t rank, *shape;
    size_t size;
    double *values; /* row-major; NULL for an array that is missing */
};

static inline bool is_missing(const struct array *array) { return array->values == NULL; }

#endif
