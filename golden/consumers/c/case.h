/* A case: read from JSON, and run call by call. */
#ifndef CASE_H
#define CASE_H

#include "settings.h"
#include "sgd.h"

struct run {
    struct optimizer optimizer;
    struct arena *arena;
    const struct json *document;
    const struct json *gradients; /* of the next call; NULL after the last one */
    struct array rates;           /* what a callable rate returns, call by call; missing without one */
    size_t call;
    bool is_finalization_due, has_rate;
    bool is_big; /* its arrays are made by a rule, and digests stand for them in answers */
    double rate; /* of the last call */
    struct refusal refusal;
};

struct array read_array(struct arena *arena, const struct json *document);
struct array *read_arrays(struct arena *arena, const struct json *list);

/* Nothing can be run if run->refusal.type is set afterwards. */
void begin(struct run *run, struct arena *arena, const struct json *document);

/* Makes the next call, or finalises after the last one. False if nothing is left, or something refused. */
bool advance(struct run *run);

#endif
