#include "protocol.h"

#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "case.h"
#include "digest.h"

/* An answer is written when it is complete, since a case may be refused in its last call. */
struct text {
    char *characters;
    size_t length, room;
};

static void write_text(struct text *text, const char *format, ...) {
    va_list arguments;
    va_start(arguments, format);
    size_t free_room = text->room - text->length;
    size_t needed = (size_t)vsnprintf(text->characters + text->length, free_room, format, arguments);
    va_end(arguments);
    if (needed >= free_room) {
        text->room = 2 * text->room + needed + 1;
        text->characters = realloc(text->characters, text->room);
        if (text->characters == NULL) exit(2);
        va_start(arguments, format);
        vsnprintf(text->characters + text->length, needed + 1, format, arguments);
        va_end(arguments);
    }
    text->length += needed;
}

static void write_string(struct text *text, const char *string) {
    write_text(text, "\"");
    for (; *string != '\0'; string++) {
        if (*string == '"' || *string == '\\')
            write_text(text, "\\%c", *string);
        else if ((unsigned char)*string < 0x20)
            write_text(text, "\\u%04x", *string);
        else
            write_text(text, "%c", *string);
    }
    write_text(text, "\"");
}

/* An array as all its bits, or as a digest: its hash, and the bits of a window. */
static void write_array(struct text *text, const struct array *array, bool is_digest) {
    write_text(text, "{\"dtype\":\"%s\",\"shape\":[", dtype_name(array->dtype));
    for (size_t axis = 0; axis < array->rank; axis++)
        write_text(text, "%s%zu", axis > 0 ? "," : "", array->shape[axis]);
    write_text(text, "],");
    if (is_digest) write_text(text, "\"hash\":%" PRIu64 ",", array_hash(array));
    write_text(text, "\"%s\":\"", is_digest ? "window" : "bits");
    for (size_t i = 0; i < array->size; i++)
        if (!is_digest || is_in_window(array, i))
            write_text(text, "%s%0*" PRIx64, i > 0 ? " " : "", dtype_digits(array->dtype),
                       to_pattern(array->dtype, array->values[i]));
    write_text(text, "\"}");
}

static void write_number(struct text *text, const char *name, double value) {
    write_text(text, ",\"%s\":", name);
    write_array(text, &(struct array){FLOAT32, 0, NULL, 1, &value}, false);
}

static void write_arrays(struct text *text, const char *name, const struct array *arrays,
                         const struct run *run) {
    write_text(text, "\"%s\":[", name);
    for (size_t k = 0; arrays != NULL && k < run->optimizer.count; k++) {
        if (k > 0) write_text(text, ",");
        write_array(text, &arrays[k], run->is_big);
    }
    write_text(text, "],");
}

static void write_record(struct text *text, const struct run *run) {
    const struct optimizer *optimizer = &run->optimizer;
    write_text(text, "{");
    write_arrays(text, "variables", optimizer->variables, run);
    write_arrays(text, "velocities", optimizer->velocities, run);
    write_arrays(text, "averages", optimizer->averages, run);
    write_arrays(text, "accumulators", optimizer->accumulators, run);
    write_text(text, "\"iterations\":%.0f,\"calls\":%.0f", iterations(optimizer), optimizer->calls);
    if (optimizer->settings.has_loss_scaling) {
        write_number(text, "loss_scale", optimizer->loss_scale);
        write_text(text, ",\"growth_counter\":%.0f", optimizer->growth_counter);
    }
    if (run->has_rate) write_number(text, "learning_rate", run->rate);
    write_text(text, "}");
}

static void answer(struct text *text, struct arena *arena, const char *line) {
    struct json *document = json_parse(arena, line);
    if (document == NULL) {
        fprintf(stderr, "a request must be one line of JSON\n");
        exit(2);
    }
    struct run run;
    begin(&run, arena, document);
    write_text(text, "{\"id\":");
    write_string(text, json_get(document, "id")->string);
    size_t length_of_identity = text->length;
    write_text(text, ",\"trajectory\":[");
    for (bool is_first = true; run.refusal.type == NULL && advance(&run); is_first = false) {
        if (!is_first) write_text(text, ",");
        write_record(text, &run);
    }
    if (run.refusal.type == NULL) {
        write_text(text, "]}\n");
        return;
    }
    text->length = length_of_identity;
    write_text(text, ",\"error\":{\"type\":\"%s\",\"message\":", run.refusal.type);
    write_string(text, run.refusal.message);
    if (run.optimizer.is_decayed == NULL) /* refused before the first call */
        write_text(text, ",\"call\":null}}\n");
    else
        write_text(text, ",\"call\":%zu}}\n", run.call);
}

/* The next line, without its end; false where the input ends. */
static bool read_line(struct text *line) {
    int character;
    line->length = 0;
    while ((character = getchar()) != EOF && character != '\n') {
        if (line->length + 2 > line->room) {
            line->room = 2 * line->room + 4096;
            line->characters = realloc(line->characters, line->room);
            if (line->characters == NULL) exit(2);
        }
        line->characters[line->length++] = (char)character;
        line->characters[line->length] = '\0';
    }
    return character != EOF;
}

int serve(void) {
    struct text line = {NULL, 0, 0}, text = {NULL, 0, 0};
    printf("{\"protocol\":1,\"name\":\"golden-c\",\"version\":\"1.0\",\"language\":\"C11\","
           "\"dtypes\":[\"float16\",\"bfloat16\",\"float32\",\"float64\"],\"digests\":true}\n");
    fflush(stdout);
    while (read_line(&line)) {
        struct arena arena = {NULL};
        text.length = 0;
        answer(&text, &arena, line.length > 0 ? line.characters : "");
        fwrite(text.characters, 1, text.length, stdout);
        fflush(stdout);
        release(&arena);
    }
    free(line.characters);
    free(text.characters);
    return 0;
}
