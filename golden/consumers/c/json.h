/* A small reader of JSON. All of a document lives in one arena and is freed with it. */
#ifndef JSON_H
#define JSON_H

#include <stdbool.h>
#include <stddef.h>

struct arena {
    struct block *blocks;
};

void *allocate(struct arena *arena, size_t size); /* zeroed; ends the program if there is no memory */
void release(struct arena *arena);

enum json_type { JSON_NULL, JSON_FALSE, JSON_TRUE, JSON_NUMBER, JSON_STRING, JSON_LIST, JSON_OBJECT };

struct json {
    enum json_type type;
    const char *key;    /* in an object; else NULL */
    const char *string; /* of a JSON_STRING, UTF-8 */
    double number;
    size_t count; /* of the members of a list or an object */
    struct json *first, *next;
};

/* Returns NULL if `text` is not one JSON value; `text` must end with a zero byte. */
struct json *json_parse(struct arena *arena, const char *text);

/* The member of an object, or NULL if it is missing. */
const struct json *json_find(const struct json *object, const char *key);

/* The member of an object; ends the program with a message if it is missing. */
const struct json *json_get(const struct json *object, const char *key);

bool json_is_null(const struct json *value); /* true for NULL, too */

#endif
