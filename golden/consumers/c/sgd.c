#include "sgd.h"

#include <math.h>
#include <string.h>

#include "norm.h"
#include "schedules.h"

/* Every operation is rounded once to the dtype. Carried out in double and then rounded it gives the bits
   of an operation of the dtype itself: a double has more than twice the bits of float32, plus two. */
static double add(enum dtype dtype, double a, double b) { return rounded(dtype, a + b); }
static double subtract(enum dtype dtype, double a, double b) { return rounded(dtype, a - b); }
static double multiply(enum dtype dtype, double a, double b) { return rounded(dtype, a * b); }
static double divide(enum dtype dtype, double a, double b) { return rounded(dtype, a / b); }

/* A setting is rounded once to the dtype in which it is used. */
static double setting(enum dtype dtype, double value) { return rounded(dtype, value); }

static void copy(struct array *to, const struct array *from) {
    if (from->size > 0) memcpy(to->values, from->values, from->size * sizeof(double));
}

static void reset(struct array *array) {
    for (size_t i = 0; i < array->size; i++) array->values[i] = 0;
}

double iterations(const struct optimizer *optimizer) {
    double steps = optimizer->settings.gradient_accumulation_steps;
    return steps == 0 ? optimizer->calls : floor(optimizer->calls / steps);
}

double learning_rate(const struct optimizer *optimizer) {
    const struct settings *settings = &optimizer->settings;
    if (settings->schedule != NULL) return scheduled_rate(settings->schedule, optimizer->calls);
    return rounded(FLOAT32, settings->learning_rate);
}

void form_dense(struct array *dense, const size_t *indices, const struct array *rows) {
    size_t count = rows->shape[0], width = count == 0 ? 0 : rows->size / count;
    for (size_t row = 0; row < count; row++) {
        bool is_first = true;
        for (size_t earlier = 0; earlier < row; earlier++) is_first &= indices[earlier] != indices[row];
        for (size_t i = 0; i < width; i++) {
            double *to = &dense->values[indices[row] * width + i], value = rows->values[row * width + i];
            /* The first row is copied: 0 + -0 would be +0. */
            *to = is_first ? value : add(dense->dtype, *to, value);
        }
    }
}

static bool are_finite(const struct array *gradients, size_t count) {
    for (size_t k = 0; k < count; k++)
        for (size_t i = 0; !is_missing(&gradients[k]) && i < gradients[k].size; i++)
            if (!isfinite(gradients[k].values[i])) return false;
    return true;
}

static void unscale(struct array *g, double loss_scale) {
    enum dtype wide = promoted(g->dtype, FLOAT32);
    double factor = setting(wide, loss_scale);
    for (size_t i = 0; i < g->size; i++)
        g->values[i] = rounded(g->dtype, divide(wide, g->values[i], factor));
}

static void accumulate(struct array *accumulator, const struct array *g) {
    for (size_t i = 0; i < g->size; i++)
        accumulator->values[i] = add(g->dtype, g->values[i], accumulator->values[i]);
}

static void take_mean(struct array *g, const struct array *accumulator, double accumulation_steps) {
    double steps = setting(g->dtype, accumulation_steps);
    for (size_t i = 0; i < g->size; i++) {
        double total = add(g->dtype, g->values[i], accumulator->values[i]);
        g->values[i] = divide(g->dtype, total, steps);
    }
}

static void clip_by_norm(struct array *g, double clipnorm) {
    double c = setting(g->dtype, clipnorm), norm = euclidean_norm(g->dtype, g, 1);
    double larger = isnan(norm) || norm > c ? norm : c;
    for (size_t i = 0; i < g->size; i++)
        g->values[i] = divide(g->dtype, multiply(g->dtype, g->values[i], c), larger);
}

static void clip_by_value(struct array *g, double clipvalue) {
    double c = setting(g->dtype, clipvalue);
    for (size_t i = 0; i < g->size; i++) {
        double value = g->values[i];
        g->values[i] = value > c ? c : value < -c ? -c : value; /* NaN is neither, and stays */
    }
}

static void clip_by_global_norm(struct array *gradients, size_t count, double clipnorm) {
    enum dtype wide = DTYPES;
    for (size_t k = 0; k < count; k++)
        if (!is_missing(&gradients[k]))
            wide = wide == DTYPES ? gradients[k].dtype : promoted(wide, gradients[k].dtype);
    double norm = euclidean_norm(wide, gradients, count);
    double c = setting(wide, clipnorm), reciprocal_of_c = setting(wide, 1 / clipnorm);
    double reciprocal = divide(wide, 1, norm);
    double smaller = isnan(reciprocal) || reciprocal < reciprocal_of_c ? reciprocal : reciprocal_of_c;
    /* norm - norm is NaN where the norm is not finite. */
    double factor = add(wide, multiply(wide, c, smaller), subtract(wide, norm, norm));
    for (size_t k = 0; k < count; k++) {
        struct array *g = &gradients[k];
        for (size_t i = 0; !is_missing(g) && i < g->size; i++)
            g->values[i] = rounded(g->dtype, multiply(wide, g->values[i], factor));
    }
}

static void decay(struct array *w, double weight_decay, double rate) {
    enum dtype t = w->dtype;
    double wd = setting(t, weight_decay), lr = setting(t, rate);
    for (size_t i = 0; i < w->size; i++) {
        double decayed = multiply(t, multiply(t, w->values[i], wd), lr);
        w->values[i] = subtract(t, w->values[i], decayed);
    }
}

static void descend(struct array *w, const struct array *g, double rate) {
    enum dtype t = w->dtype;
    double lr = setting(t, rate);
    for (size_t i = 0; i < w->size; i++)
        w->values[i] = subtract(t, w->values[i], multiply(t, lr, g->values[i]));
}

static void accelerate(struct array *velocity, const struct array *g, double momentum, double rate) {
    enum dtype t = velocity->dtype;
    double mu = setting(t, momentum), lr = setting(t, rate);
    for (size_t i = 0; i < velocity->size; i++) {
        double kept = multiply(t, mu, velocity->values[i]);
        velocity->values[i] = subtract(t, kept, multiply(t, lr, g->values[i]));
    }
}

static void move(struct array *w, const struct array *velocity) {
    for (size_t i = 0; i < w->size; i++)
        w->values[i] = add(w->dtype, w->values[i], velocity->values[i]);
}

static void move_nesterov(struct array *w, const struct array *velocity, const struct array *g,
                          double momentum, double rate) {
    enum dtype t = w->dtype;
    double mu = setting(t, momentum), lr = setting(t, rate);
    for (size_t i = 0; i < w->size; i++) {
        double ahead = multiply(t, mu, velocity->values[i]);
        double change = subtract(t, ahead, multiply(t, lr, g->values[i]));
        w->values[i] = add(t, w->values[i], change);
    }
}

static void average(struct array *average, const struct array *w, double ema_momentum) {
    enum dtype t = w->dtype;
    double m = setting(t, ema_momentum), rest = subtract(t, 1, m);
    for (size_t i = 0; i < w->size; i++) {
        double old = multiply(t, m, average->values[i]);
        average->values[i] = add(t, old, multiply(t, rest, w->values[i]));
    }
}

/* The stages from clipping to the new variables. */
static void update(struct optimizer *optimizer, struct array *gradients, double rate) {
    const struct settings *settings = &optimizer->settings;
    for (size_t k = 0; k < optimizer->count; k++) {
        struct array *g = &gradients[k];
        if (is_missing(g)) continue;
        if (settings->clipnorm != 0) clip_by_norm(g, settings->clipnorm);
        if (settings->clipvalue != 0) clip_by_value(g, settings->clipvalue);
    }
    if (settings->global_clipnorm != 0)
        clip_by_global_norm(gradients, optimizer->count, settings->global_clipnorm);
    for (size_t k = 0; k < optimizer->count; k++) {
        struct array *w = &optimizer->variables[k], *g = &gradients[k];
        if (is_missing(g)) continue;
        if (settings->has_weight_decay && optimizer->is_decayed[k]) decay(w, settings->weight_decay, rate);
        if (settings->momentum == 0) {
            descend(w, g, rate);
            continue;
        }
        accelerate(&optimizer->velocities[k], g, settings->momentum, rate);
        if (settings->nesterov)
            move_nesterov(w, &optimizer->velocities[k], g, settings->momentum, rate);
        else
            move(w, &optimizer->velocities[k]);
    }
}

/* Averages concern all variables, also those without a gradient in this call. */
static void average_and_overwrite(struct optimizer *optimizer) {
    const struct settings *settings = &optimizer->settings;
    double updates_before = iterations(optimizer);
    double frequency = settings->ema_overwrite_frequency;
    bool is_overwritten = frequency != 0 && fmod(updates_before + 1, frequency) == 0;
    for (size_t k = 0; k < optimizer->count; k++) {
        if (updates_before == 0)
            copy(&optimizer->averages[k], &optimizer->variables[k]);
        else
            average(&optimizer->averages[k], &optimizer->variables[k], settings->ema_momentum);
        if (is_overwritten) copy(&optimizer->variables[k], &optimizer->averages[k]);
    }
}

static void step(struct optimizer *optimizer, struct array *gradients, double rate, double loss_scale) {
    const struct settings *settings = &optimizer->settings;
    double steps = settings->gradient_accumulation_steps;
    bool is_accumulating = steps != 0 && fmod(optimizer->calls + 1, steps) != 0;
    for (size_t k = 0; k < optimizer->count; k++) {
        if (is_missing(&gradients[k])) continue;
        if (loss_scale != 0) unscale(&gradients[k], loss_scale);
        if (is_accumulating)
            accumulate(&optimizer->accumulators[k], &gradients[k]);
        else if (steps != 0)
            take_mean(&gradients[k], &optimizer->accumulators[k], steps);
    }
    if (is_accumulating) return;
    for (size_t k = 0; steps != 0 && k < optimizer->count; k++) reset(&optimizer->accumulators[k]);
    update(optimizer, gradients, rate);
    if (settings->use_ema) average_and_overwrite(optimizer);
}

static void grow(struct optimizer *optimizer) {
    optimizer->growth_counter++;
    if (optimizer->growth_counter < optimizer->settings.dynamic_growth_steps) return;
    optimizer->growth_counter = 0;
    double doubled = multiply(FLOAT32, optimizer->loss_scale, 2);
    if (isfinite(doubled)) optimizer->loss_scale = doubled;
}

static void shrink(struct optimizer *optimizer) {
    optimizer->growth_counter = 0;
    double halved = multiply(FLOAT32, optimizer->loss_scale, 0.5);
    if (halved >= smallest_normal(FLOAT32)) optimizer->loss_scale = halved;
}

void apply(struct optimizer *optimizer, struct array *gradients, double rate) {
    if (!optimizer->settings.has_loss_scaling) {
        step(optimizer, gradients, rate, optimizer->settings.loss_scale_factor);
        optimizer->calls++;
    } else if (are_finite(gradients, optimizer->count)) {
        step(optimizer, gradients, rate, optimizer->loss_scale);
        optimizer->calls++;
        grow(optimizer);
    } else {
        shrink(optimizer); /* and nothing else: no count, no state */
    }
}

void finalize(struct optimizer *optimizer) {
    if (!optimizer->settings.use_ema || iterations(optimizer) == 0) return;
    for (size_t k = 0; k < optimizer->count; k++) copy(&optimizer->variables[k], &optimizer->averages[k]);
}
