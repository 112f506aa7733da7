#include "json.h"

#include <ctype.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { DEEPEST = 64, BLOCK = 1 << 16 };

struct block {
    struct block *next;
    size_t size, used;
    max_align_t memory[];
};

void *allocate(struct arena *arena, size_t size) {
    size = (size + sizeof(max_align_t) - 1) / sizeof(max_align_t) * sizeof(max_align_t);
    struct block *block = arena->blocks;
    if (block == NULL || block->size - block->used < size) {
        size_t room = size > BLOCK ? size : BLOCK;
        block = calloc(1, sizeof *block + room);
        if (block == NULL) {
            fprintf(stderr, "no memory left\n");
            exit(2);
        }
        block->size = room;
        block->next = arena->blocks;
        arena->blocks = block;
    }
    void *memory = (char *)block->memory + block->used;
    block->used += size;
    return memory;
}

void release(struct arena *arena) {
    while (arena->blocks != NULL) {
        struct block *block = arena->blocks;
        arena->blocks = block->next;
        free(block);
    }
}

struct reader {
    struct arena *arena;
    const char *position;
    int depth;
};

static struct json *read_value(struct reader *reader);

static void skip_space(struct reader *reader) {
    while (*reader->position != '\0' && strchr(" \t\r\n", *reader->position) != NULL) reader->position++;
}

static bool accept(struct reader *reader, const char *text) {
    skip_space(reader);
    size_t length = strlen(text);
    if (strncmp(reader->position, text, length) != 0) return false;
    reader->position += length;
    return true;
}

static bool read_four_digits(struct reader *reader, unsigned *code) {
    char digits[5] = {0};
    for (int i = 0; i < 4; i++) {
        if (!isxdigit((unsigned char)*reader->position)) return false;
        digits[i] = *reader->position++;
    }
    *code = (unsigned)strtoul(digits, NULL, 16);
    return true;
}

static bool read_escape(struct reader *reader, char **out) {
    static const char names[] = "\"\\/bfnrt", meanings[] = "\"\\/\b\f\n\r\t";
    char name = *reader->position;
    if (name == '\0') return false;
    reader->position++;
    const char *found = strchr(names, name);
    if (found != NULL) {
        *(*out)++ = meanings[found - names];
        return true;
    }
    unsigned code, second;
    if (name != 'u' || !read_four_digits(reader, &code)) return false;
    if (code >= 0xd800 && code < 0xdc00) { /* the first half of a pair */
        if (strncmp(reader->position, "\\u", 2) != 0) return false;
        reader->position += 2;
        if (!read_four_digits(reader, &second) || second < 0xdc00 || second > 0xdfff) return false;
        code = 0x10000 + ((code - 0xd800) << 10) + (second - 0xdc00);
    }
    if (code < 0x80) {
        *(*out)++ = (char)code;
        return code != 0; /* our strings end at a zero byte */
    }
    int shift = code < 0x800 ? 6 : code < 0x10000 ? 12 : 18;
    *(*out)++ = (char)((shift == 6 ? 0xc0 : shift == 12 ? 0xe0 : 0xf0) | code >> shift);
    for (shift -= 6; shift >= 0; shift -= 6) *(*out)++ = (char)(0x80 | ((code >> shift) & 0x3f));
    return true;
}

/* The text after the opening quote; NULL if it is not a string of JSON. */
static const char *read_string(struct reader *reader) {
    const char *end = reader->position;
    while (*end != '"' && *end != '\0') end += *end == '\\' && end[1] != '\0' ? 2 : 1;
    /* No escape is longer than what it stands for. */
    char *string = allocate(reader->arena, (size_t)(end - reader->position) + 1), *out = string;
    while (*reader->position != '"') {
        if ((unsigned char)*reader->position < 0x20) return NULL; /* the end of the text is a zero byte */
        if (*reader->position != '\\') {
            *out++ = *reader->position++;
            continue;
        }
        reader->position++;
        if (!read_escape(reader, &out)) return NULL;
    }
    reader->position++;
    return string;
}

static struct json *read_number(struct reader *reader, struct json *value) {
    const char *p = reader->position;
    p += *p == '-';
    if (!isdigit((unsigned char)*p)) return NULL;
    p += strspn(p, "0123456789.eE+-");
    char *end;
    value->type = JSON_NUMBER;
    value->number = strtod(reader->position, &end);
    if (end != p) return NULL;
    reader->position = p;
    return value;
}

static struct json *read_members(struct reader *reader, struct json *value, const char *close) {
    bool is_object = value->type == JSON_OBJECT;
    struct json **last = &value->first;
    if (++reader->depth > DEEPEST) return NULL;
    if (!accept(reader, close)) {
        do {
            const char *key = NULL;
            if (is_object) {
                if (!accept(reader, "\"") || (key = read_string(reader)) == NULL) return NULL;
                if (!accept(reader, ":")) return NULL;
            }
            if ((*last = read_value(reader)) == NULL) return NULL;
            (*last)->key = key;
            last = &(*last)->next;
            value->count++;
        } while (accept(reader, ","));
        if (!accept(reader, close)) return NULL;
    }
    reader->depth--;
    return value;
}

static struct json *read_value(struct reader *reader) {
    struct json *value = allocate(reader->arena, sizeof *value);
    if (accept(reader, "{")) {
        value->type = JSON_OBJECT;
        return read_members(reader, value, "}");
    }
    if (accept(reader, "[")) {
        value->type = JSON_LIST;
        return read_members(reader, value, "]");
    }
    if (accept(reader, "\"")) {
        value->type = JSON_STRING;
        value->string = read_string(reader);
        return value->string == NULL ? NULL : value;
    }
    if (accept(reader, "null")) return value;
    if (accept(reader, "false")) {
        value->type = JSON_FALSE;
        return value;
    }
    if (accept(reader, "true")) {
        value->type = JSON_TRUE;
        return value;
    }
    return read_number(reader, value);
}

struct json *json_parse(struct arena *arena, const char *text) {
    struct reader reader = {arena, text, 0};
    struct json *value = read_value(&reader);
    skip_space(&reader);
    return value != NULL && *reader.position == '\0' ? value : NULL;
}

const struct json *json_find(const struct json *object, const char *key) {
    if (object == NULL || object->type != JSON_OBJECT) return NULL;
    for (const struct json *member = object->first; member != NULL; member = member->next)
        if (strcmp(member->key, key) == 0) return member;
    return NULL;
}

const struct json *json_get(const struct json *object, const char *key) {
    const struct json *member = json_find(object, key);
    if (member == NULL) {
        fprintf(stderr, "the key '%s' is missing\n", key);
        exit(2);
    }
    return member;
}

bool json_is_null(const struct json *value) { return value == NULL || value->type == JSON_NULL; }
