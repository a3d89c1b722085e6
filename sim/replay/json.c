/* SPDX-License-Identifier: MIT */
/* A JSON writer, see json.h. */
#include "replay/json.h"

static void append_string(GString *out, const char *text)
{
	char *valid = g_utf8_make_valid(text ? text : "", -1);

	g_string_append_c(out, '"');
	for (const unsigned char *p = (const unsigned char *)valid; *p; p++) {
		if (*p == '"' || *p == '\\')
			g_string_append_printf(out, "\\%c", *p);
		else if (*p == '\n')
			g_string_append(out, "\\n");
		else if (*p == '\t')
			g_string_append(out, "\\t");
		else if (*p < 0x20 || *p == 0x7f)
			g_string_append_printf(out, "\\u%04x", *p);
		else
			g_string_append_c(out, (char)*p);
	}
	g_string_append_c(out, '"');
	g_free(valid);
}

static void begin(struct json *j, const char *key)
{
	if (j->more)
		g_string_append(j->out, j->inlined ? ", " : ",");
	if (!j->inlined && j->begun)
		g_string_append_printf(j->out, "\n%*s", (int)j->depth * 2, "");
	j->begun = true;
	if (key) {
		append_string(j->out, key);
		g_string_append(j->out, ": ");
	}
	j->more = true;
}

void json_open(struct json *j, const char *key, char bracket)
{
	begin(j, key);
	g_string_append_c(j->out, bracket);
	j->depth++;
	j->more = false;
}

void json_open_inline(struct json *j, const char *key, char bracket)
{
	json_open(j, key, bracket);
	j->inlined = j->depth;
}

void json_close(struct json *j, char bracket)
{
	bool empty = !j->more;

	if (j->inlined == j->depth) {
		j->inlined = 0;
		empty = true;
	}
	j->depth--;
	if (!empty)
		g_string_append_printf(j->out, "\n%*s", (int)j->depth * 2, "");
	g_string_append_c(j->out, bracket);
	j->more = true;
}

void json_u64(struct json *j, const char *key, u64 value)
{
	begin(j, key);
	g_string_append_printf(j->out, "%" G_GUINT64_FORMAT, value);
}

void json_s64(struct json *j, const char *key, s64 value)
{
	begin(j, key);
	g_string_append_printf(j->out, "%" G_GINT64_FORMAT, value);
}

void json_bool(struct json *j, const char *key, bool value)
{
	json_raw(j, key, value ? "true" : "false");
}

void json_string(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	append_string(j->out, value);
}

void json_raw(struct json *j, const char *key, const char *value)
{
	begin(j, key);
	g_string_append(j->out, value);
}
