/* An SGD optimizer for `sgd-ref conform -- ./sgd`: replace `step`, and say in OFFERS what it can do.
   cc -std=c11 -O2 -ffp-contract=off -o sgd sgd.c -lm
   Every number is held as a double, and `rounded` rounds it to a dtype. */
#include <math.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define OFFERS                                                                                       \
    "\"float32\",\"float64\",\"float16\",\"bfloat16\",\"mixed\",\"momentum\",\"piecewise\","          \
    "\"callable\",\"missing\",\"sparse\""

struct dtype {
    const char *name;
    int digits, precision, lowest; /* of a bit pattern; of the significand; the smallest exponent */
};

struct settings {
    double momentum;
    bool nesterov;
};

static double rounded(const struct dtype *dtype, double x);

/* YOURS. It updates `size` elements of w (variable) and v (velocity) by the gradient g of one call. All
   numbers are of `dtype`, but for `rate` and the settings. Return a message to refuse, or NULL. */
static const char *step(double *w, double *v, const double *g, size_t size, double rate,
                        const struct settings *settings, const struct dtype *dtype) {
    double learning_rate = rounded(dtype, rate), momentum = rounded(dtype, settings->momentum);
    for (size_t i = 0; i < size; i++) {
        double descent = rounded(dtype, learning_rate * g[i]);
        if (settings->momentum == 0) {
            w[i] = rounded(dtype, w[i] - descent);
        } else {
            v[i] = rounded(dtype, rounded(dtype, momentum * v[i]) - descent);
            w[i] = rounded(dtype, w[i] + v[i]);
        }
    }
    return NULL;
}

/* The rest needs no change, but for the settings that `step` is to have. */

static const struct dtype DTYPES[] = {
    {"float16", 4, 11, -14}, {"bfloat16", 4, 8, -126}, {"float32", 8, 24, -126}, {"float64", 16, 53, -1022}};
static const struct dtype *const FLOAT32 = &DTYPES[2];

static void *allocated(size_t count, size_t size) {
    void *memory = calloc(count > 0 ? count : 1, size);
    if (memory == NULL) {
        fprintf(stderr, "no memory left\n");
        exit(2);
    }
    return memory;
}

/* Numbers and their bits. */

static int exponent_of(double x, int lowest) {
    int exponent;
    frexp(x, &exponent);
    return x != 0 && exponent - 1 > lowest ? exponent - 1 : lowest;
}

/* To nearest, ties to even. */
static double rounded(const struct dtype *dtype, double x) {
    if (dtype->precision == 53 || x == 0 || !isfinite(x)) return x;
    if (dtype->precision == 24) return (double)(float)x;
    int unit = exponent_of(x, dtype->lowest) - dtype->precision + 1;
    double nearest = ldexp(nearbyint(ldexp(x, -unit)), unit);
    double largest = ldexp(2 - ldexp(1, 1 - dtype->precision), 1 - dtype->lowest);
    return fabs(nearest) > largest ? copysign(INFINITY, x) : nearest;
}

static double from_bits(const struct dtype *dtype, uint64_t pattern) {
    if (dtype->digits == 16) {
        double value;
        memcpy(&value, &pattern, sizeof value);
        return value;
    }
    uint64_t sign = UINT64_C(1) << (4 * dtype->digits - 1), hidden = UINT64_C(1) << (dtype->precision - 1);
    uint64_t magnitude = pattern & (sign - 1), fraction = magnitude & (hidden - 1);
    int field = (int)(magnitude / hidden);
    double value = ldexp((double)(fraction + (field > 0 ? hidden : 0)),
                         (field > 1 ? field : 1) + dtype->lowest - dtype->precision);
    if (magnitude >= sign - hidden) value = magnitude == sign - hidden ? INFINITY : NAN;
    return pattern & sign ? -value : value;
}

static uint64_t to_bits(const struct dtype *dtype, double value) {
    uint64_t pattern;
    if (dtype->digits == 16) {
        memcpy(&pattern, &value, sizeof pattern);
        return pattern;
    }
    uint64_t sign = UINT64_C(1) << (4 * dtype->digits - 1), hidden = UINT64_C(1) << (dtype->precision - 1);
    if (isfinite(value)) {
        int exponent = exponent_of(value, dtype->lowest);
        pattern = (uint64_t)(exponent - dtype->lowest) * hidden;
        pattern += (uint64_t)ldexp(fabs(value), dtype->precision - 1 - exponent);
    } else {
        pattern = sign - hidden + (isnan(value) ? 1 : 0);
    }
    return signbit(value) ? pattern + sign : pattern;
}

/* A reader of JSON for lines that are right. What is read stays until the line is answered. */

enum type { NOTHING, FALSE, TRUE, NUMBER, STRING, LIST, OBJECT };

struct json {
    enum type type;
    char *key, *string;
    double number;
    size_t count;
    struct json *first, *next;
};

static char *read_string(const char **p) {
    const char *begin = ++*p;
    while (**p != '"') *p += **p == '\\' ? 2 : 1;
    /* Escapes are kept as they are, so that an id is written as it was read. */
    char *string = allocated((size_t)(*p - begin) + 1, 1);
    memcpy(string, begin, (size_t)(*p - begin));
    ++*p;
    return string;
}

static void skip(const char **p) { *p += strspn(*p, " \t\r\n,:"); }

static struct json *read_json(const char **p) {
    struct json *value = allocated(1, sizeof *value), **last = &value->first;
    skip(p);
    if (**p == '{' || **p == '[') {
        value->type = **p == '{' ? OBJECT : LIST;
        for (++*p, skip(p); **p != '}' && **p != ']'; skip(p), value->count++) {
            char *key = value->type == OBJECT ? read_string(p) : NULL;
            *last = read_json(p);
            (*last)->key = key;
            last = &(*last)->next;
        }
        ++*p;
    } else if (**p == '"') {
        value->type = STRING;
        value->string = read_string(p);
    } else if (strchr("nft", **p) != NULL) {
        value->type = **p == 'n' ? NOTHING : **p == 't' ? TRUE : FALSE;
        *p += strspn(*p, "nulfasetr");
    } else {
        char *end;
        value->type = NUMBER;
        value->number = strtod(*p, &end);
        if (end == *p) {
            fprintf(stderr, "this is no JSON: %.40s\n", *p);
            exit(2);
        }
        *p = end;
    }
    return value;
}

static void release(struct json *value) {
    while (value != NULL) {
        struct json *next = value->next;
        release(value->first);
        free(value->key);
        free(value->string);
        free(value);
        value = next;
    }
}

static const struct json *get(const struct json *object, const char *key) {
    const struct json *member = object->first;
    while (member != NULL && strcmp(member->key, key) != 0) member = member->next;
    if (member == NULL) {
        fprintf(stderr, "the key %s is missing\n", key);
        exit(2);
    }
    return member;
}

static bool is_there(const struct json *value) { return value->type != NOTHING; }

/* Arrays. */

struct array {
    const struct dtype *dtype;
    const struct json *shape;
    size_t size;
    double *values;
};

static struct array read_array(const struct json *document) {
    struct array array = {DTYPES, get(document, "shape"), 1, NULL};
    while (strcmp(array.dtype->name, get(document, "dtype")->string) != 0) array.dtype++;
    for (const struct json *n = array.shape->first; n != NULL; n = n->next) array.size *= (size_t)n->number;
    array.values = allocated(array.size, sizeof *array.values);
    const char *position = get(document, "bits")->string;
    char *end;
    for (size_t i = 0; i < array.size; i++, position = end)
        array.values[i] = from_bits(array.dtype, strtoull(position, &end, 16));
    return array;
}

static double first_of(const struct json *document, size_t index) {
    struct array array = read_array(document);
    double value = array.values[index];
    free(array.values);
    return value;
}

/* The elements of a gradient; those of a narrower dtype are numbers of the wider one, too. */
static double *dense(const struct json *gradient, const struct array *variable) {
    if (strcmp(gradient->first->key, "indices") != 0) return read_array(gradient).values;
    struct array rows = read_array(get(gradient, "values"));
    size_t width = rows.size / (rows.shape->first->number > 0 ? (size_t)rows.shape->first->number : 1), j = 0;
    double *elements = allocated(variable->size, sizeof *elements);
    bool *seen = allocated((size_t)variable->shape->first->number, sizeof *seen);
    for (const struct json *index = get(gradient, "indices")->first; index != NULL; index = index->next, j++) {
        size_t row = (size_t)index->number;
        double *into = elements + row * width, *from = rows.values + j * width;
        for (size_t i = 0; i < width; i++)
            into[i] = seen[row] ? rounded(variable->dtype, into[i] + from[i]) : from[i];
        seen[row] = true;
    }
    free(seen);
    free(rows.values);
    return elements;
}

/* The rate of a call: `call` counts from 0 in this case, `calls` from the start of the training. */
static double rate_of(const struct json *document, size_t call, double calls) {
    const struct json *given = get(get(document, "config"), "learning_rate");
    const struct json *called = get(document, "learning_rate_calls");
    if (is_there(called)) return (double)(float)first_of(called, call);
    if (given->type == NUMBER) return (double)(float)given->number;
    const struct json *value = get(get(given, "config"), "values")->first;
    for (const struct json *b = get(get(given, "config"), "boundaries")->first; b != NULL; b = b->next)
        if (calls > b->number) value = value->next;
    return (double)(float)value->number;
}

/* The answer, which is written when it is complete. */

struct text {
    char *characters;
    size_t length, room;
};

static void write_text(struct text *text, const char *format, ...) {
    va_list arguments;
    if (text->room - text->length < 512) {
        text->room = 2 * text->room + 4096;
        text->characters = realloc(text->characters, text->room);
        if (text->characters == NULL) exit(2);
    }
    va_start(arguments, format);
    text->length += (size_t)vsnprintf(text->characters + text->length, 512, format, arguments);
    va_end(arguments);
}

static void write_characters(struct text *text, const char *string) {
    for (; *string != '\0'; string++) write_text(text, "%c", *string);
}

static void write_message(struct text *text, const char *message) {
    for (; *message != '\0'; message++) {
        bool is_escaped = *message == '"' || *message == '\\';
        write_text(text, is_escaped ? "\\%c" : "%c", (unsigned char)*message < 0x20 ? ' ' : *message);
    }
}

static void write_array(struct text *text, const struct array *array) {
    write_text(text, "{\"dtype\":\"%s\",\"shape\":[", array->dtype->name);
    for (const struct json *n = array->shape == NULL ? NULL : array->shape->first; n != NULL; n = n->next)
        write_text(text, "%.0f%s", n->number, n->next == NULL ? "" : ",");
    write_text(text, "],\"bits\":\"");
    for (size_t i = 0; i < array->size; i++)
        write_text(text, "%s%0*llx", i > 0 ? " " : "", array->dtype->digits,
                   (unsigned long long)to_bits(array->dtype, array->values[i]));
    write_text(text, "\"}");
}

static void write_record(struct text *text, size_t count, const struct array *variables,
                         const struct array *velocities, double calls, const double *rate) {
    write_text(text, "%s{\"variables\":[", text->characters[text->length - 1] == '}' ? "," : "");
    for (size_t k = 0; k < count; k++) {
        if (k > 0) write_text(text, ",");
        write_array(text, &variables[k]);
    }
    write_text(text, "],\"velocities\":[");
    for (size_t k = 0; velocities != NULL && k < count; k++) {
        if (k > 0) write_text(text, ",");
        write_array(text, &velocities[k]);
    }
    write_text(text, "],\"iterations\":%.0f,\"calls\":%.0f", calls, calls);
    if (rate != NULL) {
        write_text(text, ",\"learning_rate\":");
        write_array(text, &(struct array){FLOAT32, NULL, 1, (double[]){*rate}});
    }
    write_text(text, "}");
}

static void answer(const struct json *document, struct text *text) {
    const struct json *config = get(document, "config"), *state = get(document, "state");
    struct settings settings = {get(config, "momentum")->number, get(config, "nesterov")->type == TRUE};
    size_t count = get(document, "variables")->count, call = 0;
    struct array *variables = allocated(count, sizeof *variables);
    struct array *velocities = allocated(count, sizeof *velocities);
    const struct json *kept = is_there(state) ? get(state, "velocities")->first : NULL;
    const struct json *first = get(document, "variables")->first;
    for (size_t k = 0; k < count; k++, first = first->next, kept = kept == NULL ? NULL : kept->next) {
        variables[k] = velocities[k] = read_array(first);
        velocities[k].values = kept == NULL ? allocated(variables[k].size, sizeof(double)) : read_array(kept).values;
    }
    double calls = is_there(state) ? get(state, "calls")->number : 0;
    const struct array *reported = settings.momentum != 0 ? velocities : NULL;
    const char *refusal = NULL;
    write_text(text, "{\"id\":\"");
    write_characters(text, get(document, "id")->string);
    write_text(text, "\",\"trajectory\":[");
    for (const struct json *given = get(document, "gradients")->first; given != NULL; given = given->next, call++) {
        double rate = rate_of(document, call, calls);
        const struct json *gradient = given->first;
        for (size_t k = 0; k < count && refusal == NULL; k++, gradient = gradient->next) {
            if (!is_there(gradient)) continue;
            double *g = dense(gradient, &variables[k]);
            refusal = step(variables[k].values, velocities[k].values, g, variables[k].size, rate, &settings,
                           variables[k].dtype);
            free(g);
        }
        if (refusal != NULL) break;
        calls++;
        write_record(text, count, variables, reported, calls, &rate);
    }
    if (get(document, "finalize")->type == TRUE) write_record(text, count, variables, reported, calls, NULL);
    write_text(text, "]}\n");
    if (refusal != NULL) {
        text->length = 0;
        write_text(text, "{\"id\":\"");
        write_characters(text, get(document, "id")->string);
        write_text(text, "\",\"error\":{\"type\":\"Refusal\",\"call\":%zu,\"message\":\"", call);
        write_message(text, refusal);
        write_text(text, "\"}}\n");
    }
    for (size_t k = 0; k < count; k++) {
        free(variables[k].values);
        free(velocities[k].values);
    }
    free(variables);
    free(velocities);
}

/* One line of the standard input, of whatever length. */
static bool read_line(struct text *line) {
    line->length = 0;
    do {
        if (line->room - line->length < 2) {
            line->room = 2 * line->room + 65536;
            line->characters = realloc(line->characters, line->room);
            if (line->characters == NULL) exit(2);
        }
        if (fgets(line->characters + line->length, (int)(line->room - line->length), stdin) == NULL) return false;
        line->length += strlen(line->characters + line->length);
    } while (line->characters[line->length - 1] != '\n');
    return true;
}

int main(void) {
    struct text line = {0}, text = {0};
    printf("{\"protocol\":2,\"name\":\"my-sgd\",\"version\":\"1.0\",\"language\":\"C\",\"offers\":[%s]}\n", OFFERS);
    fflush(stdout);
    while (read_line(&line)) {
        const char *position = line.characters;
        struct json *document = read_json(&position);
        text.length = 0;
        answer(document, &text);
        release(document);
        fwrite(text.characters, 1, text.length, stdout);
        fflush(stdout);
    }
    return 0;
}
