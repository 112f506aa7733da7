/* What stands for a big array: a hash of all its bits, and some of its elements. */
#ifndef DIGEST_H
#define DIGEST_H

#include "array.h"

uint64_t array_hash(const struct array *array);

/* Whether an element is in the window: both ends, and around 65536. */
bool is_in_window(const struct array *array, size_t position);

#endif
