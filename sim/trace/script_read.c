/* SPDX-License-Identifier: MIT */
/*
 * A script as a trace: every statement is an event whose name is its text, so that one trace can carry statements to wherever a
 * `.pgt` goes and a script needs no second path through convert. Who replays scripts uses trace_text.h directly.
 */
#include "trace/reader.h"

#include <pagesim/alloc.h>

#include "base/grow.h"

struct script_reader {
	struct ps_script *script;
	u32 next;
};

static enum ps_trace_next script_next(struct ps_trace_reader *r, struct ps_trace_batch *batch, GError **error)
{
	static const char *const zeroes[] = { "accesses", "reads", "writes", "fetches", "records", "time" };
	struct script_reader *s = r->own;
	const struct ps_statement *st;

	if (s->next == s->script->n) {
		if (s->script->error) {
			*error = g_error_copy(s->script->error);
			return PS_TRACE_FAILED;
		}
		for (size_t i = 0; i < G_N_ELEMENTS(zeroes); i++)
			reader_add_total(r, zeroes[i], strlen(zeroes[i]), 0);
		reader_add_total(r, "events", strlen("events"), s->script->n);
		reader_add_total(r, "tasks", strlen("tasks"), s->script->n ? 1 : 0);
		if (r->no_memory) {
			reader_no_memory(r, error);
			return PS_TRACE_FAILED;
		}
		r->totals_known = true;
		return PS_TRACE_END;
	}
	st = &s->script->statements[s->next++];
	memset(batch, 0, sizeof(*batch));
	memset(&r->event, 0, sizeof(r->event));
	r->event.kind = PS_EVENT_STATEMENT;
	r->event.name = st->text;
	r->event.line = st->line;
	batch->event = &r->event;
	return PS_TRACE_BATCH;
}

static void script_free(struct ps_trace_reader *r)
{
	struct script_reader *s = r->own;

	if (s)
		ps_script_free(s->script);
	ps_free(s);
}

static const struct reader_ops script_ops = {
	.next = script_next,
	.free = script_free,
};

bool script_open(struct ps_trace_reader *r, GError **error)
{
	struct script_reader *s = ps_zalloc(sizeof(*s));
	struct ps_grow text = { 0 };
	bool full = false;
	const u8 *bytes;
	ssize_t n = 0;

	r->ops = &script_ops;
	r->own = s;
	r->source = ps_strdup("script");
	full = !r->source;
	reader_set_info(r);
	r->info.clock = PS_CLOCK_NS;
	while (!full && (n = input_peek(&r->in, 1, &bytes, error)) > 0) {
		full = !ps_grow_add_many(&text, bytes, (size_t)n, 1);
		r->in.at += (size_t)n;
		r->in.offset += (u64)n;
	}
	if (n == 0 && s)
		s->script = ps_script_parse(text.n ? text.data : "", text.n, r->name);
	full |= n == 0 && (!s || !s->script);
	if (full)
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", r->name);
	ps_grow_free(&text);
	return n == 0 && !full;
}
