/* The learning-rate schedules: the float32 nearest to the formula. */
#ifndef SCHEDULES_H
#define SCHEDULES_H

#include "json.h"

/* The rate of the call before which `step` calls were made. `schedule` has class_name and config. */
double scheduled_rate(const struct json *schedule, double step);

#endif
