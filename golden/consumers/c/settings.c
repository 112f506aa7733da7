#include "settings.h"

#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void refuse(struct refusal *refusal, const char *type, const char *format, ...) {
    if (refusal->type != NULL) return; /* the first reason is the one that is told */
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(refusal->message, sizeof refusal->message, format, arguments);
    va_end(arguments);
    refusal->type = type;
}

/* The ranges: a number x with lowest <= x <= highest, or lowest < x where the limit is `open`. */
struct range {
    double lowest, highest;
    bool is_open, is_integer;
};

static const struct range FINITE = {-INFINITY, INFINITY, false, false};
static const struct range UNIT = {0, 1, false, false};
static const struct range POSITIVE = {0, INFINITY, true, false};
static const struct range NOT_NEGATIVE = {0, INFINITY, false, false};
static const struct range FROM_1 = {1, INFINITY, false, false};
static const struct range INTEGER_FROM_1 = {1, INFINITY, false, true};
static const struct range INTEGER_FROM_2 = {2, INFINITY, false, true};

/* A number of JSON, or one that JSON has not, such as NaN, as an array of float64 of shape []. */
static bool read_number(const struct json *value, double *x) {
    const struct json *bits = json_find(value, "bits");
    *x = value->number;
    if (value->type == JSON_NUMBER) return true;
    if (bits == NULL) return false;
    *x = from_pattern(FLOAT64, strtoull(bits->string, NULL, 16));
    return true;
}

static double real(const struct json *config, const char *name, struct range range, double otherwise,
                   struct refusal *refusal) {
    const struct json *value = json_find(config, name);
    if (value == NULL) return otherwise;
    double x;
    const char *accepted = range.is_integer ? "an integer" : "a real number";
    if (!read_number(value, &x) || (range.is_integer && x != floor(x)))
        refuse(refusal, "TypeError", "%s must be %s", name, accepted);
    else if (!isfinite(x) || x < range.lowest || x > range.highest || (range.is_open && x == range.lowest))
        refuse(refusal, "ValueError", "%s must be finite and from %g to %g, got %g", name, range.lowest,
               range.highest, x);
    return x;
}

/* 0 where the setting is not set. */
static double optional(const struct json *config, const char *name, struct range range,
                       struct refusal *refusal) {
    return json_is_null(json_find(config, name)) ? 0 : real(config, name, range, 0, refusal);
}

static bool boolean(const struct json *config, const char *name, struct refusal *refusal) {
    const struct json *value = json_find(config, name);
    if (value != NULL && value->type != JSON_TRUE && value->type != JSON_FALSE)
        refuse(refusal, "TypeError", "%s must be true or false", name);
    return value != NULL && value->type == JSON_TRUE;
}

static void check_name(const struct json *config, struct refusal *refusal) {
    const struct json *name = json_find(config, "name");
    if (name != NULL && name->type != JSON_STRING)
        refuse(refusal, "TypeError", "name must be a string");
    else if (name != NULL && (*name->string == '\0' || strchr(name->string, '/') != NULL))
        refuse(refusal, "ValueError", "name must not be empty and have no slash");
}

static void check_known(const struct json *config, const char *const names[], struct refusal *refusal) {
    if (config == NULL || config->type != JSON_OBJECT) {
        refuse(refusal, "TypeError", "config must be an object");
        return;
    }
    for (const struct json *member = config->first; member != NULL; member = member->next) {
        size_t i = 0;
        while (names[i] != NULL && strcmp(names[i], member->key) != 0) i++;
        if (names[i] == NULL) refuse(refusal, "ValueError", "config has the unknown key %.60s", member->key);
    }
}

/* A rate, or a setting of a schedule, is used in float32. */
static double single(const struct json *config, const char *name, struct range range, double otherwise,
                     struct refusal *refusal) {
    double x = real(config, name, range, otherwise, refusal), narrow = rounded(FLOAT32, x);
    if (!isfinite(narrow) || (range.is_open && narrow == range.lowest))
        refuse(refusal, "ValueError", "%s must be in range as a float32, got %g", name, x);
    return x;
}

static void check_piecewise(const struct json *config, struct refusal *refusal) {
    const struct json *boundaries = json_find(config, "boundaries"), *values = json_find(config, "values");
    if (boundaries == NULL || values == NULL || boundaries->type != JSON_LIST || values->type != JSON_LIST) {
        refuse(refusal, "TypeError", "boundaries and values must be lists");
        return;
    }
    if (boundaries->count == 0 || values->count != boundaries->count + 1)
        refuse(refusal, "ValueError", "values must be one more than boundaries, of which there is one");
    double last = -1;
    for (const struct json *b = boundaries->first; b != NULL; b = b->next) {
        double x;
        if (!read_number(b, &x))
            refuse(refusal, "TypeError", "boundaries must be numbers");
        else if (!isfinite(rounded(FLOAT32, x)) || x < 0 || x <= last)
            refuse(refusal, "ValueError", "boundaries must be strictly increasing numbers of at least 0");
        last = x;
    }
    for (const struct json *v = values->first; v != NULL; v = v->next) {
        double x;
        if (!read_number(v, &x))
            refuse(refusal, "TypeError", "values must be numbers");
        else if (!isfinite(rounded(FLOAT32, x)))
            refuse(refusal, "ValueError", "values must be finite in float32");
    }
}

/* Which settings each schedule has, and which of them it must be given. */
static const struct {
    const char *class_name;
    const char *names[9], *required[4];
} schedules[] = {
    {"ExponentialDecay",
     {"initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name"},
     {"initial_learning_rate", "decay_steps", "decay_rate"}},
    {"InverseTimeDecay",
     {"initial_learning_rate", "decay_steps", "decay_rate", "staircase", "name"},
     {"initial_learning_rate", "decay_steps", "decay_rate"}},
    {"PolynomialDecay",
     {"initial_learning_rate", "decay_steps", "end_learning_rate", "power", "cycle", "name"},
     {"initial_learning_rate", "decay_steps"}},
    {"CosineDecay",
     {"initial_learning_rate", "decay_steps", "alpha", "name", "warmup_target", "warmup_steps"},
     {"initial_learning_rate", "decay_steps"}},
    {"CosineDecayRestarts",
     {"initial_learning_rate", "first_decay_steps", "t_mul", "m_mul", "alpha", "name"},
     {"initial_learning_rate", "first_decay_steps"}},
    {"PiecewiseConstantDecay", {"boundaries", "values", "name"}, {"boundaries", "values"}},
};

static void check_schedule(const struct json *schedule, struct refusal *refusal) {
    const struct json *name = json_find(schedule, "class_name"), *config = json_find(schedule, "config");
    size_t i = 0, count = sizeof schedules / sizeof *schedules;
    if (name == NULL || name->type != JSON_STRING) {
        refuse(refusal, "TypeError", "a schedule must have a class_name and a config");
        return;
    }
    while (i < count && strcmp(schedules[i].class_name, name->string) != 0) i++;
    if (i == count) {
        refuse(refusal, "ValueError", "class_name must be one of the six schedules, got %.60s", name->string);
        return;
    }
    check_known(config, schedules[i].names, refusal);
    for (const char *const *required = schedules[i].required; *required != NULL; required++)
        if (json_is_null(json_find(config, *required)))
            refuse(refusal, "ValueError", "config must have the key %s", *required);
    if (strcmp(name->string, "PiecewiseConstantDecay") == 0) {
        check_piecewise(config, refusal);
        return;
    }
    static const struct {
        const char *name;
        const struct range *range;
    } numbers[] = {
        {"initial_learning_rate", &FINITE}, {"end_learning_rate", &FINITE}, {"alpha", &FINITE},
        {"warmup_target", &FINITE},         {"decay_steps", &POSITIVE},     {"first_decay_steps", &POSITIVE},
        {"warmup_steps", &NOT_NEGATIVE},    {"decay_rate", &NOT_NEGATIVE},  {"power", &NOT_NEGATIVE},
        {"m_mul", &NOT_NEGATIVE},           {"t_mul", &FROM_1},
    };
    for (size_t n = 0; n < sizeof numbers / sizeof *numbers; n++) {
        bool is_warmup = strcmp(numbers[n].name, "warmup_target") == 0;
        if (is_warmup && json_is_null(json_find(config, "warmup_target"))) continue;
        single(config, numbers[n].name, *numbers[n].range, 1, refusal);
    }
    boolean(config, "staircase", refusal);
    boolean(config, "cycle", refusal);
}

/* A limit or a scale that overflows or vanishes in the dtype where it is used is refused. */
static void check_normal(const char *name, double value, enum dtype dtype, struct refusal *refusal) {
    double used = rounded(dtype, value);
    if (value != 0 && (!isfinite(used) || used < smallest_normal(dtype)))
        refuse(refusal, "ValueError", "%s must be finite and normal in %s, got %g", name, dtype_name(dtype),
               value);
}

static void check_dtypes(const struct settings *settings, const struct array *variables, size_t count,
                         struct refusal *refusal) {
    enum dtype wide = count > 0 ? variables[0].dtype : FLOAT32;
    for (size_t k = 0; k < count; k++) {
        enum dtype dtype = variables[k].dtype;
        wide = promoted(wide, dtype);
        check_normal("clipnorm", settings->clipnorm, dtype, refusal);
        check_normal("clipvalue", settings->clipvalue, dtype, refusal);
        check_normal("global_clipnorm", settings->global_clipnorm, dtype, refusal);
        check_normal("loss_scale_factor", settings->loss_scale_factor, promoted(dtype, FLOAT32), refusal);
        if (!isfinite(rounded(dtype, settings->gradient_accumulation_steps)))
            refuse(refusal, "ValueError", "gradient_accumulation_steps must be finite in %s",
                   dtype_name(dtype));
    }
    check_normal("global_clipnorm", settings->global_clipnorm, wide, refusal);
}

static void read_rate(struct settings *settings, const struct json *document, const struct json *config,
                      struct refusal *refusal) {
    const struct json *rate = json_find(config, "learning_rate");
    if (!json_is_null(json_find(document, "learning_rate_calls"))) return;
    if (rate != NULL && rate->type == JSON_NULL) {
        refuse(refusal, "ValueError", "learning_rate is missing");
        return;
    }
    if (json_find(rate, "class_name") != NULL) {
        check_schedule(rate, refusal);
        settings->schedule = rate;
        return;
    }
    settings->learning_rate = single(config, "learning_rate", FINITE, 0.01, refusal);
}

struct settings read_settings(const struct json *document, const struct array *variables, size_t count,
                              struct refusal *refusal) {
    static const char *const names[] = {
        "learning_rate", "momentum", "nesterov", "weight_decay", "clipnorm", "clipvalue", "global_clipnorm",
        "use_ema", "ema_momentum", "ema_overwrite_frequency", "name", "loss_scale_factor",
        "gradient_accumulation_steps", NULL};
    const struct json *config = json_find(document, "config");
    const struct json *scaling = json_find(document, "loss_scaling");
    struct settings settings = {0};
    check_known(config, names, refusal);
    if (refusal->type != NULL) return settings;
    read_rate(&settings, document, config, refusal);
    settings.momentum = real(config, "momentum", UNIT, 0, refusal);
    settings.nesterov = boolean(config, "nesterov", refusal);
    check_name(config, refusal);
    settings.has_weight_decay = !json_is_null(json_find(config, "weight_decay"));
    settings.weight_decay = optional(config, "weight_decay", FINITE, refusal);
    settings.clipnorm = optional(config, "clipnorm", POSITIVE, refusal);
    settings.clipvalue = optional(config, "clipvalue", POSITIVE, refusal);
    settings.global_clipnorm = optional(config, "global_clipnorm", POSITIVE, refusal);
    if ((settings.clipnorm != 0) + (settings.clipvalue != 0) + (settings.global_clipnorm != 0) > 1)
        refuse(refusal, "ValueError", "at most one of clipnorm, clipvalue and global_clipnorm may be set");
    settings.use_ema = boolean(config, "use_ema", refusal);
    settings.ema_momentum = real(config, "ema_momentum", UNIT, 0.99, refusal);
    settings.ema_overwrite_frequency = optional(config, "ema_overwrite_frequency", INTEGER_FROM_1, refusal);
    settings.loss_scale_factor = optional(config, "loss_scale_factor", POSITIVE, refusal);
    settings.gradient_accumulation_steps =
        optional(config, "gradient_accumulation_steps", INTEGER_FROM_2, refusal);
    settings.has_loss_scaling = !json_is_null(scaling);
    if (settings.has_loss_scaling) {
        settings.initial_scale = real(scaling, "initial_scale", POSITIVE, 32768, refusal);
        settings.dynamic_growth_steps = real(scaling, "dynamic_growth_steps", INTEGER_FROM_1, 2000, refusal);
        check_normal("initial_scale", settings.initial_scale, FLOAT32, refusal);
        if (settings.loss_scale_factor != 0)
            refuse(refusal, "ValueError", "loss_scale_factor must not be set under a LossScaleOptimizer");
    }
    check_dtypes(&settings, variables, count, refusal);
    return settings;
}
