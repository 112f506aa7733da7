/* The library that CUDA's bindings load as the driver. Each function asks Python, until Python ends. */

enum { SUCCESS = 0, DEINITIALIZED = 4, NOT_FOUND = 500 };

static int has_ended;

/* At the end there is nothing left to free, and numba-cuda would print a traceback for each refusal. */
static int at_the_end(const char *name) {
    int frees = __builtin_strstr(name, "Destroy") || __builtin_strstr(name, "Unload") || __builtin_strstr(name, "Free");
    return frees ? SUCCESS : DEINITIALIZED;
}

/* "functions.h" has a line for each function. A call that comes after the end of Python would reach freed memory. */
#define FUNCTION(name, parameters, arguments)                                                  \
    static int (*in_python_##name) parameters;                                                 \
    static int name parameters { return has_ended ? at_the_end(#name) : in_python_##name arguments; }
#include "functions.h"
#undef FUNCTION

#define FUNCTION(name, parameters, arguments) {#name, (void **)&in_python_##name, (void *)name},
static const struct {
    const char *name;
    void **in_python;
    void *function;
} functions[] = {
#include "functions.h"
};

enum { COUNT = sizeof functions / sizeof *functions };

static int place_of(const char *name) {
    int place = 0;
    while (place < COUNT && __builtin_strcmp(functions[place].name, name)) place++;
    return place;
}

int sgd_ref_implement(const char *name, void *in_python) {
    int place = place_of(name);
    if (place == COUNT) return NOT_FOUND;
    *functions[place].in_python = in_python;
    return SUCCESS;
}

void sgd_ref_end(void) { has_ended = 1; }

int cuGetProcAddress_v2(const char *symbol, void **function, int version, unsigned long long flags, int *status) {
    int place = place_of(symbol);
    *function = place == COUNT ? 0 : functions[place].function;
    if (status) *status = place == COUNT;
    return place == COUNT ? NOT_FOUND : SUCCESS;
}
