#include "check.h"

#include <math.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "digest.h"
#include "norm.h"
#include "schedules.h"

enum grade { EXACT, ROUNDING, DIVERGES, SKIPPED };

static const char *const grades[] = {"exact", "rounding", "diverge", "skipped"};

struct tally {
    size_t counts[SKIPPED + 1];
};

/* What is known of an entry while it is compared. */
struct comparison {
    const char *id;
    size_t record;
    enum grade grade;
};

static void note(struct comparison *comparison, enum grade grade, const char *quantity, size_t variable,
                 size_t element, double expected, double observed) {
    if (grade == DIVERGES && comparison->grade != DIVERGES)
        printf("%s: record %zu, %s[%zu], element %zu: expected %.17g, got %.17g\n", comparison->id,
               comparison->record, quantity, variable, element, expected, observed);
    if (grade > comparison->grade) comparison->grade = grade;
}

static uint64_t next_pattern(const char **position) {
    char *end;
    uint64_t pattern = strtoull(*position, &end, 16);
    *position = end;
    return pattern;
}

/* The same in a bound, where leading digits are left out that are those of the expected pattern. */
static uint64_t next_end(const char **position, uint64_t expected) {
    const char *start = *position + strspn(*position, " ");
    uint64_t digits = next_pattern(position);
    int bits = 4 * (int)(*position - start);
    return bits == 64 ? digits : (expected >> bits << bits) | digits;
}

static bool is_listed(const struct json *list, size_t index) {
    for (const struct json *item = list->first; item != NULL; item = item->next)
        if (item->number == (double)index) return true;
    return false;
}

/* A digest has no bound: only its window and its hash are right. */
static void compare_digest(struct comparison *comparison, const char *quantity, size_t variable,
                           const struct json *expected, const struct array *observed) {
    const char *window = json_get(expected, "window")->string;
    double hash = json_get(expected, "hash")->number;
    for (size_t i = 0; i < observed->size; i++) {
        if (!is_in_window(observed, i)) continue;
        uint64_t pattern = next_pattern(&window);
        if (to_pattern(observed->dtype, observed->values[i]) != pattern)
            note(comparison, DIVERGES, quantity, variable, i, from_pattern(observed->dtype, pattern),
                 observed->values[i]);
    }
    /* Where the window is right, only the hashes tell. */
    if ((double)array_hash(observed) != hash)
        note(comparison, DIVERGES, quantity, variable, observed->size, hash, (double)array_hash(observed));
}

/* The expected bits are exact, and NaN is one value; else the bound decides, if there is one. */
static void compare_array(struct comparison *comparison, const char *quantity, size_t variable,
                          const struct json *expected, const struct json *bound,
                          const struct array *observed) {
    if (dtype_named(json_get(expected, "dtype")->string) != observed->dtype) {
        note(comparison, DIVERGES, quantity, variable, 0, NAN, NAN);
        return;
    }
    if (json_find(expected, "hash") != NULL) {
        compare_digest(comparison, quantity, variable, expected, observed);
        return;
    }
    const char *bits = json_get(expected, "bits")->string, *lower = NULL, *upper = NULL;
    if (!json_is_null(bound)) {
        lower = json_get(bound, "lower")->string;
        upper = json_get(bound, "upper")->string;
    }
    for (size_t i = 0; i < observed->size; i++) {
        double value = observed->values[i];
        uint64_t pattern = next_pattern(&bits);
        double wanted = from_pattern(observed->dtype, pattern);
        double from = lower == NULL ? NAN : from_pattern(observed->dtype, next_end(&lower, pattern));
        double to = upper == NULL ? NAN : from_pattern(observed->dtype, next_end(&upper, pattern));
        if (to_pattern(observed->dtype, value) == pattern || (isnan(value) && isnan(wanted))) continue;
        bool is_inside = isnan(value) ? lower != NULL && is_listed(json_get(bound, "nan"), i)
                                      : from <= value && value <= to;
        note(comparison, is_inside ? ROUNDING : DIVERGES, quantity, variable, i, wanted, value);
    }
}

static void compare_arrays(struct comparison *comparison, const char *quantity, const struct json *expected,
                           const struct json *bounds, const struct array *observed, size_t count) {
    const struct json *list = json_find(expected, quantity), *bound = json_find(bounds, quantity);
    if (list == NULL) return; /* what a record leaves out is not compared */
    const struct json *array = list->first;
    if (list->count != (observed == NULL ? 0 : count)) {
        note(comparison, DIVERGES, quantity, 0, 0, NAN, NAN);
        return;
    }
    bound = bound == NULL ? NULL : bound->first;
    for (size_t k = 0; array != NULL; k++, array = array->next) {
        compare_array(comparison, quantity, k, array, bound, &observed[k]);
        bound = bound == NULL ? NULL : bound->next;
    }
}

static void compare_number(struct comparison *comparison, const char *quantity, const struct json *expected,
                           const struct json *bounds, bool is_there, double observed) {
    const struct json *number = json_find(expected, quantity);
    struct array array = {FLOAT32, 0, NULL, 1, &observed};
    if ((number != NULL) != is_there)
        note(comparison, DIVERGES, quantity, 0, 0, NAN, observed);
    else if (is_there)
        compare_array(comparison, quantity, 0, number, json_find(bounds, quantity), &array);
}

static void compare_count(struct comparison *comparison, const char *quantity, const struct json *expected,
                          double observed) {
    const struct json *count = json_find(expected, quantity);
    if (count != NULL && count->number != observed)
        note(comparison, DIVERGES, quantity, 0, 0, count->number, observed);
}

static void compare_record(struct comparison *comparison, const struct run *run, const struct json *expected,
                           const struct json *bounds) {
    const struct optimizer *optimizer = &run->optimizer;
    compare_arrays(comparison, "variables", expected, bounds, optimizer->variables, optimizer->count);
    compare_arrays(comparison, "velocities", expected, bounds, optimizer->velocities, optimizer->count);
    compare_arrays(comparison, "averages", expected, bounds, optimizer->averages, optimizer->count);
    compare_arrays(comparison, "accumulators", expected, bounds, optimizer->accumulators, optimizer->count);
    compare_count(comparison, "iterations", expected, iterations(optimizer));
    compare_count(comparison, "calls", expected, optimizer->calls);
    compare_count(comparison, "growth_counter", expected, optimizer->growth_counter);
    compare_number(comparison, "loss_scale", expected, bounds, optimizer->settings.has_loss_scaling,
                   optimizer->loss_scale);
    compare_number(comparison, "learning_rate", expected, bounds, run->has_rate, run->rate);
}

static enum grade check_schedule(const struct json *entry, struct arena *arena) {
    struct comparison comparison = {json_get(entry, "id")->string, 0, EXACT};
    struct array rates = read_array(arena, json_get(entry, "expected"));
    size_t i = 0;
    for (const struct json *step = json_get(entry, "steps")->first; step != NULL; step = step->next)
        rates.values[i++] = scheduled_rate(json_get(entry, "schedule"), step->number);
    compare_array(&comparison, "rates", 0, json_get(entry, "expected"), NULL, &rates);
    return comparison.grade;
}

static enum grade check_norm(const struct json *entry, struct arena *arena) {
    struct comparison comparison = {json_get(entry, "id")->string, 0, EXACT};
    struct array norm = read_array(arena, json_get(entry, "expected"));
    const struct json *list = json_get(json_get(entry, "arguments"), "arrays");
    norm.values[0] = euclidean_norm(norm.dtype, read_arrays(arena, list), list->count);
    compare_array(&comparison, "norm", 0, json_get(entry, "expected"), NULL, &norm);
    return comparison.grade;
}

/* Nothing is computed here; what counts is that it is refused, and in which way. */
static enum grade check_rejection(const struct json *entry, struct arena *arena) {
    const struct json *call = json_get(entry, "call");
    const char *id = json_get(entry, "id")->string, *category = json_get(entry, "category")->string;
    struct run run;
    begin(&run, arena, entry);
    if (run.refusal.type == NULL && !json_is_null(call)) {
        run.gradients = json_get(call, "gradients");
        advance(&run);
    }
    const char *type = run.refusal.type == NULL ? "nothing" : run.refusal.type;
    if (strcmp(type, strcmp(category, "type") == 0 ? "TypeError" : "ValueError") == 0) return EXACT;
    printf("%s: expected the category %s, got %s\n", id, category, type);
    return DIVERGES;
}

static enum grade check_trajectory(const struct json *entry, struct arena *arena) {
    const struct json *document = json_get(entry, "case"), *bounds = json_get(entry, "bounds");
    struct comparison comparison = {json_get(document, "id")->string, 0, EXACT};
    const struct json *bound = bounds->first;
    struct run run;
    begin(&run, arena, document);
    const struct json *expected = json_get(entry, "expected")->first;
    for (; expected != NULL; expected = expected->next, comparison.record++) {
        if (run.refusal.type != NULL || !advance(&run)) {
            printf("%s: record %zu is missing: %s\n", comparison.id, comparison.record, run.refusal.message);
            return DIVERGES;
        }
        /* A record that is left out has no keys. */
        if (expected->first != NULL) compare_record(&comparison, &run, expected, bound);
        bound = bound == NULL ? NULL : bound->next;
    }
    return comparison.grade;
}

static enum grade check_entry(const char *kind, const struct json *entry, struct arena *arena) {
    const struct json *stage = json_find(entry, "stage");
    if (strcmp(kind, "trajectory") == 0) return check_trajectory(entry, arena);
    if (strcmp(kind, "schedule") == 0) return check_schedule(entry, arena);
    if (strcmp(kind, "rejection") == 0) return check_rejection(entry, arena);
    if (stage != NULL && strcmp(stage->string, "norm") == 0) return check_norm(entry, arena);
    return SKIPPED; /* a stage that is no function of its own here */
}

/* The text of a file, which ends with a zero byte; NULL if it cannot be read. */
static char *read_file(const char *path) {
    FILE *file = fopen(path, "rb");
    size_t room = 1 << 16, length = 0;
    char *text = file == NULL ? NULL : malloc(room);
    while (text != NULL && !feof(file) && !ferror(file)) {
        length += fread(text + length, 1, room - length - 1, file);
        if (length + 1 == room) text = realloc(text, room *= 2);
    }
    if (text != NULL) text[length] = '\0';
    if (file != NULL) fclose(file);
    return text;
}

static bool check_file(const char *path, struct tally *tally) {
    struct arena arena = {NULL};
    char *text = read_file(path);
    struct json *document = text == NULL ? NULL : json_parse(&arena, text);
    const struct json *format = json_find(document, "format");
    bool is_golden = format != NULL && format->number == 4;
    if (!is_golden) fprintf(stderr, "%s: no golden file of format 4\n", path);
    if (is_golden) {
        const char *kind = json_get(document, "kind")->string;
        const struct json *entry = json_get(document, "entries")->first;
        for (; entry != NULL; entry = entry->next) tally->counts[check_entry(kind, entry, &arena)]++;
    }
    free(text);
    release(&arena);
    return is_golden;
}

int check_files(char **paths, int count) {
    struct tally tally = {{0}};
    bool is_read = count > 0;
    for (int i = 0; i < count; i++) is_read &= check_file(paths[i], &tally);
    for (int grade = EXACT; grade <= SKIPPED; grade++)
        printf("%zu %s%s", tally.counts[grade], grades[grade], grade == SKIPPED ? "\n" : ", ");
    if (!is_read) return 2;
    return tally.counts[DIVERGES] > 0 ? 1 : 0;
}
