#include "case.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void end_program(const char *reason) {
    fprintf(stderr, "%s\n", reason);
    exit(2);
}

static struct array new_array(struct arena *arena, enum dtype dtype, size_t rank, const size_t *shape) {
    struct array array = {dtype, rank, allocate(arena, rank * sizeof *shape), 1, NULL};
    for (size_t axis = 0; axis < rank; axis++) array.size *= array.shape[axis] = shape[axis];
    /* Never NULL, even without elements: that stands for an array that is missing. */
    array.values = allocate(arena, (array.size + 1) * sizeof(double));
    return array;
}

static size_t *read_lengths(struct arena *arena, const struct json *list) {
    size_t *lengths = allocate(arena, (list->count + 1) * sizeof *lengths), i = 0;
    for (const struct json *length = list->first; length != NULL; length = length->next)
        lengths[i++] = (size_t)length->number;
    return lengths;
}

/* The elements of a big array, from their indices. */
static void make_values(struct array *array, uint64_t multiplier, uint64_t offset) {
    for (uint64_t i = 0; i < array->size; i++)
        array->values[i] = 2.0 * (double)((multiplier * i + offset) % 2147483647 % 8) - 7;
}

struct array read_array(struct arena *arena, const struct json *document) {
    enum dtype dtype = dtype_named(json_get(document, "dtype")->string);
    const struct json *shape = json_get(document, "shape");
    if (dtype == DTYPES) end_program("an array has an unknown dtype");
    struct array array = new_array(arena, dtype, shape->count, read_lengths(arena, shape));
    const struct json *made = json_find(document, "made");
    if (made != NULL) {
        make_values(&array, (uint64_t)made->first->number, (uint64_t)made->first->next->number);
        return array;
    }
    char *position = (char *)json_get(document, "bits")->string;
    for (size_t i = 0; i < array.size; i++)
        array.values[i] = from_pattern(dtype, strtoull(position, &position, 16));
    return array;
}

struct array *read_arrays(struct arena *arena, const struct json *list) {
    struct array *arrays = allocate(arena, (list->count + 1) * sizeof *arrays), *next = arrays;
    for (const struct json *item = list->first; item != NULL; item = item->next)
        *next++ = read_array(arena, item);
    return arrays;
}

/* State from which a case resumes, or zeros. */
static struct array *read_slots(struct arena *arena, const struct json *state, const char *name,
                                const struct optimizer *optimizer) {
    const struct json *given = json_find(state, name);
    if (given != NULL && given->count > 0) return read_arrays(arena, given);
    struct array *arrays = allocate(arena, (optimizer->count + 1) * sizeof *arrays);
    for (size_t k = 0; k < optimizer->count; k++) {
        const struct array *variable = &optimizer->variables[k];
        arrays[k] = new_array(arena, variable->dtype, variable->rank, variable->shape);
    }
    return arrays;
}

static void refuse(struct refusal *refusal, const char *type, const char *message) {
    refusal->type = type;
    snprintf(refusal->message, sizeof refusal->message, "%s", message);
}

/* Names must differ, also in files, where '/' is written as '_'. */
static bool are_equal_in_files(const char *a, const char *b) {
    for (; *a != '\0' && (*a == '/' ? '_' : *a) == (*b == '/' ? '_' : *b); a++) b++;
    return *a == *b;
}

static void check_names(const struct json *names, struct refusal *refusal) {
    for (const struct json *name = names->first; name != NULL; name = name->next)
        for (const struct json *other = name->next; other != NULL; other = other->next)
            if (are_equal_in_files(name->string, other->string))
                refuse(refusal, "ValueError", "names must differ");
}

static bool *read_decayed(struct arena *arena, const struct json *document) {
    const struct json *names = json_get(document, "names");
    bool *is_decayed = allocate(arena, names->count + 1), *next = is_decayed;
    for (const struct json *name = names->first; name != NULL; name = name->next, next++) {
        const struct json *excluded = json_find(document, "excluded_from_weight_decay");
        *next = true;
        const struct json *part = excluded == NULL ? NULL : excluded->first;
        for (; part != NULL; part = part->next) *next &= strstr(name->string, part->string) == NULL;
    }
    return is_decayed;
}

void begin(struct run *run, struct arena *arena, const struct json *document) {
    *run = (struct run){.arena = arena, .document = document};
    struct optimizer *optimizer = &run->optimizer;
    const struct json *variables = json_get(document, "variables"), *state = json_find(document, "state");
    optimizer->count = variables->count;
    run->is_big = variables->count > 0 && json_find(variables->first, "made") != NULL;
    optimizer->variables = read_arrays(arena, variables);
    optimizer->settings = read_settings(document, optimizer->variables, optimizer->count, &run->refusal);
    check_names(json_get(document, "names"), &run->refusal);
    if (run->refusal.type != NULL) return;
    optimizer->is_decayed = read_decayed(arena, document);
    if (optimizer->settings.momentum != 0)
        optimizer->velocities = read_slots(arena, state, "velocities", optimizer);
    if (optimizer->settings.use_ema) optimizer->averages = read_slots(arena, state, "averages", optimizer);
    if (optimizer->settings.gradient_accumulation_steps != 0)
        optimizer->accumulators = read_slots(arena, state, "accumulators", optimizer);
    optimizer->loss_scale = rounded(FLOAT32, optimizer->settings.initial_scale);
    if (!json_is_null(state)) {
        const struct json *scale = json_find(state, "loss_scale");
        const struct json *counter = json_find(state, "growth_counter");
        optimizer->calls = json_get(state, "calls")->number;
        if (!json_is_null(scale))
            optimizer->loss_scale = rounded(FLOAT32, read_array(arena, scale).values[0]);
        if (!json_is_null(counter)) optimizer->growth_counter = counter->number;
    }
    const struct json *rates = json_find(document, "learning_rate_calls");
    if (!json_is_null(rates)) run->rates = read_array(arena, rates);
    const struct json *gradients = json_find(document, "gradients"), *end = json_find(document, "finalize");
    if (gradients != NULL) run->gradients = gradients->first;
    run->is_finalization_due = end != NULL && end->type == JSON_TRUE;
}

/* The gradient of a variable: dense, and widened to its dtype, which changes no value. */
static struct array read_gradient(struct run *run, const struct json *document,
                                  const struct array *variable) {
    const struct json *indices = json_find(document, "indices");
    struct array given = read_array(run->arena, indices == NULL ? document : json_get(document, "values"));
    const struct json *shape = json_get(document, "shape");
    if (promoted(given.dtype, variable->dtype) != variable->dtype)
        refuse(&run->refusal, "TypeError", "a gradient must not be wider than its variable");
    struct array form = new_array(run->arena, variable->dtype, shape->count, read_lengths(run->arena, shape));
    bool is_same = form.rank == variable->rank;
    for (size_t axis = 0; is_same && axis < form.rank; axis++)
        is_same = form.shape[axis] == variable->shape[axis];
    if (!is_same) {
        refuse(&run->refusal, "ValueError", "a gradient must have the shape of its variable");
        return form;
    }
    if (indices == NULL) {
        form.values = given.values;
        return form;
    }
    bool is_negative = false;
    for (const struct json *index = indices->first; index != NULL; index = index->next) {
        if (index->type != JSON_NUMBER || index->number != floor(index->number))
            refuse(&run->refusal, "TypeError", "indices must be integers");
        is_negative |= index->number < 0;
    }
    if (run->refusal.type != NULL) return form;
    if (is_negative) {
        refuse(&run->refusal, "ValueError", "indices must not be negative");
        return form;
    }
    size_t *rows = read_lengths(run->arena, indices), width = 1;
    for (size_t axis = 1; axis < form.rank; axis++) width *= form.shape[axis];
    bool is_valid = form.rank > 0 && given.rank == form.rank && given.shape[0] == indices->count &&
                    given.size == indices->count * width;
    for (size_t i = 0; is_valid && i < indices->count; i++) is_valid = rows[i] < form.shape[0];
    if (is_valid)
        form_dense(&form, rows, &given);
    else
        refuse(&run->refusal, "ValueError", "there must be one row for each index, below the number of rows");
    return form;
}

static struct array *read_gradients(struct run *run) {
    const struct optimizer *optimizer = &run->optimizer;
    struct array *gradients = allocate(run->arena, (optimizer->count + 1) * sizeof *gradients);
    size_t k = 0, present = 0;
    if (run->gradients->count != optimizer->count) {
        refuse(&run->refusal, "ValueError", "there must be one gradient for each variable");
        return gradients;
    }
    for (const struct json *g = run->gradients->first; g != NULL; g = g->next, k++) {
        if (json_is_null(g)) continue;
        gradients[k] = read_gradient(run, g, &optimizer->variables[k]);
        present++;
    }
    if (present == 0) refuse(&run->refusal, "ValueError", "all gradients are missing");
    return gradients;
}

bool advance(struct run *run) {
    run->has_rate = false;
    if (run->gradients == NULL) {
        if (!run->is_finalization_due) return false;
        run->is_finalization_due = false;
        finalize(&run->optimizer);
        return true;
    }
    struct array *gradients = read_gradients(run);
    run->rate = is_missing(&run->rates) ? learning_rate(&run->optimizer)
                                        : rounded(FLOAT32, run->rates.values[run->call]);
    if (!isfinite(run->rate)) refuse(&run->refusal, "ValueError", "the rate must be finite in float32");
    if (run->refusal.type != NULL) return false;
    apply(&run->optimizer, gradients, run->rate);
    run->has_rate = true;
    run->gradients = run->gradients->next;
    run->call++;
    return true;
}
