#include "schedules.h"

#include <math.h>
#include <stdbool.h>
#include <string.h>

#include "double_double.h"

/* A setting of a schedule, rounded to float32 like all of them. */
static double setting(const struct json *config, const char *name, double otherwise) {
    const struct json *value = json_find(config, name);
    return json_is_null(value) ? (double)(float)otherwise : (double)(float)value->number;
}

static bool is_true(const struct json *config, const char *name) {
    const struct json *value = json_find(config, name);
    return value != NULL && value->type == JSON_TRUE;
}

static struct dd quotient(double a, double b) { return dd_divide(dd_number(a), dd_number(b)); }

/* floor(a / b), also where the rounded quotient is an integer and the exact one below it. */
static struct dd floor_of_quotient(double a, double b) {
    struct dd whole = dd_floor(quotient(a, b));
    struct dd product = dd_multiply(whole, dd_number(b));
    if (dd_compare(product, dd_number(a)) > 0) return dd_subtract(whole, dd_number(1));
    if (dd_compare(dd_add(product, dd_number(b)), dd_number(a)) <= 0) return dd_add(whole, dd_number(1));
    return whole;
}

static struct dd decays_done(const struct json *config, double step) {
    double decay_steps = setting(config, "decay_steps", 0);
    return is_true(config, "staircase") ? floor_of_quotient(step, decay_steps) : quotient(step, decay_steps);
}

static struct dd exponential_decay(const struct json *config, double step) {
    struct dd decay_rate = dd_number(setting(config, "decay_rate", 0));
    return dd_multiply(dd_number(setting(config, "initial_learning_rate", 0)),
                       dd_power(decay_rate, decays_done(config, step)));
}

static struct dd inverse_time_decay(const struct json *config, double step) {
    struct dd decay_rate = dd_number(setting(config, "decay_rate", 0));
    struct dd divisor = dd_add(dd_number(1), dd_multiply(decay_rate, decays_done(config, step)));
    return dd_divide(dd_number(setting(config, "initial_learning_rate", 0)), divisor);
}

static double piecewise_constant_decay(const struct json *config, double step) {
    const struct json *boundary = json_get(config, "boundaries")->first;
    const struct json *value = json_get(config, "values")->first;
    for (; boundary != NULL && step > boundary->number; boundary = boundary->next) value = value->next;
    return value->number == 0 ? 0 : (double)(float)value->number; /* a -0 among the settings is the number 0 */
}

static struct dd polynomial_decay(const struct json *config, double step) {
    double initial = setting(config, "initial_learning_rate", 0);
    double end = setting(config, "end_learning_rate", 0.0001);
    double decay_steps = setting(config, "decay_steps", 0);
    struct dd length = dd_number(decay_steps);
    if (is_true(config, "cycle") && step > decay_steps) {
        struct dd cycles = floor_of_quotient(step, decay_steps);
        if (dd_compare(dd_multiply(cycles, length), dd_number(step)) < 0)
            cycles = dd_add(cycles, dd_number(1));
        length = dd_multiply(cycles, length);
    }
    struct dd p = dd_divide(dd_number(step), length);
    if (dd_compare(dd_number(step), length) >= 0) p = dd_number(1);
    struct dd power = dd_power(dd_subtract(dd_number(1), p), dd_number(setting(config, "power", 1)));
    struct dd difference = dd_subtract(dd_number(initial), dd_number(end));
    return dd_add(dd_multiply(difference, power), dd_number(end));
}

/* (1 - alpha) * height * (1 + cos(pi * p)) / 2 + alpha */
static struct dd cosine_decayed(struct dd p, double alpha, struct dd height) {
    struct dd cosine = dd_add(dd_number(1), dd_cosine_of_pi_times(p));
    struct dd decayed = dd_multiply(dd_multiply(height, cosine), dd_number(0.5));
    struct dd share = dd_subtract(dd_number(1), dd_number(alpha));
    return dd_add(dd_multiply(share, decayed), dd_number(alpha));
}

static struct dd cosine_decay(const struct json *config, double step) {
    double start = setting(config, "initial_learning_rate", 0);
    struct dd since = dd_number(step);
    if (!json_is_null(json_find(config, "warmup_target"))) {
        double target = setting(config, "warmup_target", 0);
        double warmup_steps = setting(config, "warmup_steps", 0);
        if (step < warmup_steps) {
            struct dd delta = dd_subtract(dd_number(target), dd_number(start));
            return dd_add(dd_multiply(quotient(step, warmup_steps), delta), dd_number(start));
        }
        start = target;
        since = dd_subtract(since, dd_number(warmup_steps));
    }
    struct dd decay_steps = dd_number(setting(config, "decay_steps", 0));
    struct dd p = dd_compare(since, decay_steps) >= 0 ? dd_number(1) : dd_divide(since, decay_steps);
    struct dd decayed = cosine_decayed(p, setting(config, "alpha", 0), dd_number(1));
    return dd_multiply(dd_number(start), decayed);
}

static struct dd cosine_decay_restarts(const struct json *config, double step) {
    double first = setting(config, "first_decay_steps", 0), t_mul = setting(config, "t_mul", 2);
    struct dd m_mul = dd_number(setting(config, "m_mul", 1));
    struct dd restarts = dd_number(0), since = dd_number(step), length = dd_number(first);
    if (t_mul == 1) {
        restarts = floor_of_quotient(step, first);
        since = dd_subtract(since, dd_multiply(restarts, length));
    } else {
        while (dd_compare(since, length) >= 0) {
            since = dd_subtract(since, length);
            length = dd_multiply(length, dd_number(t_mul));
            restarts = dd_add(restarts, dd_number(1));
        }
    }
    struct dd decayed =
        cosine_decayed(dd_divide(since, length), setting(config, "alpha", 0), dd_power(m_mul, restarts));
    return dd_multiply(dd_number(setting(config, "initial_learning_rate", 0)), decayed);
}

double scheduled_rate(const struct json *schedule, double step) {
    static const struct {
        const char *name;
        struct dd (*formula)(const struct json *config, double step);
    } formulas[] = {
        {"ExponentialDecay", exponential_decay}, {"InverseTimeDecay", inverse_time_decay},
        {"PolynomialDecay", polynomial_decay},   {"CosineDecay", cosine_decay},
        {"CosineDecayRestarts", cosine_decay_restarts},
    };
    const char *name = json_get(schedule, "class_name")->string;
    const struct json *config = json_get(schedule, "config");
    for (size_t i = 0; i < sizeof formulas / sizeof *formulas; i++)
        if (strcmp(formulas[i].name, name) == 0) return dd_to_float32(formulas[i].formula(config, step));
    return piecewise_constant_decay(config, step); /* the sixth; settings.c knows the names */
}
