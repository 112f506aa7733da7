/* Stochastic gradient descent: settings, state, and one call of it. */
#ifndef SGD_H
#define SGD_H

#include <stdbool.h>
#include <stddef.h>

#include "array.h"
#include "json.h"

/* Numbers are doubles and are rounded where they are used. 0 stands for "not set" where 0 is refused. */
struct settings {
    const struct json *schedule; /* NULL: the rate is a number or given call by call */
    double learning_rate;
    double momentum;
    bool nesterov;
    bool has_weight_decay;
    double weight_decay;
    double clipnorm, clipvalue, global_clipnorm;
    bool use_ema;
    double ema_momentum;
    double ema_overwrite_frequency;
    double loss_scale_factor;
    double gradient_accumulation_steps;
    bool has_loss_scaling;
    double initial_scale, dynamic_growth_steps;
};

struct optimizer {
    struct settings settings;
    size_t count; /* of the variables; each of the following has as many */
    struct array *variables;
    bool *is_decayed;
    struct array *velocities, *averages, *accumulators; /* NULL where the feature is off */
    double calls; /* an integer; doubles hold them up to 2**53 */
    double loss_scale, growth_counter;
};

double iterations(const struct optimizer *optimizer);

/* The learning rate of the next call, where no callable gives it: a float32. */
double learning_rate(const struct optimizer *optimizer);

/* One call. A gradient is dense, of the dtype of its variable, or has values == NULL. The stages write
   their results into the gradients. */
void apply(struct optimizer *optimizer, struct array *gradients, double learning_rate);

/* The averages become the variables, once training has ended. */
void finalize(struct optimizer *optimizer);

/* The dense equivalent of sparse rows, of the dtype of `dense`, which is all zeros. */
void form_dense(struct array *dense, const size_t *indices, const struct array *rows);

#endif
