/* SPDX-License-Identifier: MIT */
/*
 * Just enough of a JSON writer for one document: objects and arrays that close themselves in the right place, commas
 * where they belong, strings that are always valid. Keys are NULL inside arrays. What is opened inline stays on its line.
 */
#ifndef PS_REPLAY_JSON_H
#define PS_REPLAY_JSON_H

#include <glib.h>
#include <pagesim/types.h>

struct json {
	GString *out;
	unsigned depth;   /* of indentation, two blanks each */
	unsigned inlined; /* depth of an inline array, 0: none */
	bool more;        /* the next element needs a comma before it */
	bool begun;       /* false: the very first element stands where the writer begins */
};

void json_open(struct json *j, const char *key, char bracket);
void json_open_inline(struct json *j, const char *key, char bracket);
void json_close(struct json *j, char bracket);
void json_u64(struct json *j, const char *key, u64 value);
void json_s64(struct json *j, const char *key, s64 value);
void json_bool(struct json *j, const char *key, bool value);
/** NULL counts as "". What is not UTF-8 is replaced. */
void json_string(struct json *j, const char *key, const char *value);
/** A value that is written as it is: a decimal number. */
void json_raw(struct json *j, const char *key, const char *value);

#endif
