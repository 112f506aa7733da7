/* Numbers of some 100 bits: the exact sum of two doubles, the second below half a unit of the first. */
#ifndef DOUBLE_DOUBLE_H
#define DOUBLE_DOUBLE_H

struct dd {
    double high, low;
};

struct dd dd_number(double value);
struct dd dd_add(struct dd a, struct dd b);
struct dd dd_subtract(struct dd a, struct dd b);
struct dd dd_multiply(struct dd a, struct dd b);
struct dd dd_divide(struct dd a, struct dd b);
struct dd dd_floor(struct dd a);
int dd_compare(struct dd a, struct dd b); /* below, equal to or above 0 */

struct dd dd_power(struct dd base, struct dd exponent); /* both 0 or more; 0 to the power of 0 is 1 */
struct dd dd_cosine_of_pi_times(struct dd x);           /* 0 <= x <= 1 */

/* Rounded once to float32. */
double dd_to_float32(struct dd a);

#endif
