#include "digest.h"

enum { MODULUS = 2147483647, ENDS = 4, FIRST_OF_MIDDLE = 65534, LAST_OF_MIDDLE = 65537 };

uint64_t array_hash(const struct array *array) {
    uint64_t sum = 0, count = 0;
    for (size_t i = 0; i < array->size; i++) {
        uint64_t pattern = to_pattern(array->dtype, array->values[i]);
        for (int shift = 4 * dtype_digits(array->dtype) - 16; shift >= 0; shift -= 16)
            sum = (sum + ++count % MODULUS * (pattern >> shift & 0xffff)) % MODULUS;
    }
    return sum;
}

bool is_in_window(const struct array *array, size_t position) {
    bool is_in_middle = FIRST_OF_MIDDLE <= position && position <= LAST_OF_MIDDLE;
    return position < ENDS || is_in_middle || position + ENDS >= array->size;
}
