/* The settings of a case, checked. */
#ifndef SETTINGS_H
#define SETTINGS_H

#include "sgd.h"

struct refusal {
    const char *type; /* NULL: nothing is refused */
    char message[200];
};

/* Reads config, loss_scaling and learning_rate_calls of a case for variables of the given dtypes. */
struct settings read_settings(const struct json *document, const struct array *variables, size_t count,
                              struct refusal *refusal);

#endif
