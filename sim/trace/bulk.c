/* SPDX-License-Identifier: MIT */
/*
 * The readable form of a binary trace, and the way back. Every line is one event or the head of one batch, a batch's records
 * follow it indented; the form is described in docs/traces.md. It holds all that the binary form holds: dumping a trace and
 * reading the dump gives the same batches, events and totals.
 *
 *    # pagesim bulk trace 1
 *    source lackey
 *    ...
 *    @0 0 start other=- pid=812 tid=1 name=/bin/true
 *    @12+340 0
 *     401a r5
 *     1fff000 r2w1
 *     1fff001 w1r2
 *     4035 x7
 *    total loads 123
 *    end
 *
 * Numbers are decimal, page numbers hexadecimal. A name runs to the end of its line; in it a backslash, a control
 * character and anything that is not UTF-8 is written \xHH.
 */
#define _GNU_SOURCE
#include "trace/reader.h"

#include <pagesim/alloc.h>

#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#define BULK_HEAD    "# pagesim bulk trace "
#define BULK_VERSION 1
/* No line of a dump is longer. */
#define LINE_MAX_BYTES (1u << 19)

/* ---- writing ---- */

struct out {
	int fd;
	const char *name;
	GString *text;
};

static bool flush(struct out *o, GError **error)
{
	const char *p = o->text->str;
	size_t n = o->text->len;

	while (n) {
		ssize_t k = write(o->fd, p, n);

		if (k < 0 && errno == EINTR)
			continue;
		if (k < 0) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "%s: cannot write: %s", o->name,
				    g_strerror(errno));
			return false;
		}
		p += k;
		n -= k;
	}
	g_string_truncate(o->text, 0);
	return true;
}

static void put_name(GString *s, const char *name)
{
	const char *p = name;

	while (*p) {
		gunichar c = g_utf8_get_char_validated(p, -1);
		bool plain = c != (gunichar)-1 && c != (gunichar)-2 && c >= ' ' && c != 127 && c != '\\';
		const char *next = plain ? g_utf8_next_char(p) : p + 1;

		if (plain)
			g_string_append_len(s, p, next - p);
		else
			g_string_append_printf(s, "\\x%02x", (u8)*p);
		p = next;
	}
}

static void put_words(GString *s, const char *key, const char *value)
{
	g_string_append(s, key);
	if (*value) {
		g_string_append_c(s, ' ');
		put_name(s, value);
	}
	g_string_append_c(s, '\n');
}

static void put_event(GString *s, const struct ps_event *e)
{
	unsigned int fields = ps_event_fields(e->kind);

	g_string_append_printf(s, "@%" PRIu64 " %u %s", e->time, e->task, ps_event_word(e->kind));
	if (fields & PS_FIELD_OTHER) {
		if (e->other == PS_TASK_NONE)
			g_string_append(s, " other=-");
		else
			g_string_append_printf(s, " other=%u", e->other);
	}
	if (fields & PS_FIELD_IDS)
		g_string_append_printf(s, " pid=%u tid=%u", e->pid, e->tid);
	if (fields & PS_FIELD_RANGE)
		g_string_append_printf(s, " at=%" PRIx64 "+%" PRIu64, e->vpn, e->pages);
	if (fields & PS_FIELD_TO)
		g_string_append_printf(s, " to=%" PRIx64 "+%" PRIu64, e->to_vpn, e->to_pages);
	if (fields & PS_FIELD_PROT)
		g_string_append_printf(s, " prot=%u", e->prot);
	if (fields & PS_FIELD_FLAGS)
		g_string_append_printf(s, " flags=%u", e->flags);
	if (fields & PS_FIELD_ADVICE)
		g_string_append_printf(s, " advice=%u", (u32)e->advice);
	if (fields & PS_FIELD_OFFSET)
		g_string_append_printf(s, " offset=%" PRIu64, e->offset);
	if (fields & PS_FIELD_LENGTH)
		g_string_append_printf(s, " length=%" PRIu64, e->length);
	if (fields & PS_FIELD_LINE)
		g_string_append_printf(s, " line=%u", e->line);
	if (fields & PS_FIELD_NAME) {
		g_string_append(s, " name=");
		put_name(s, e->name);
	}
	g_string_append_c(s, '\n');
}

static void put_batch(GString *s, const struct ps_trace_batch *b)
{
	g_string_append_printf(s, "@%" PRIu64 "+%" PRIu64 " %u\n", b->time, b->span, b->task);
	for (u32 i = 0; i < b->n; i++) {
		u32 meta = b->meta[i], reads = ps_meta_reads(meta), writes = ps_meta_writes(meta);

		g_string_append_printf(s, " %" PRIx64 " ", b->vpn[i]);
		if (ps_meta_is_fetch(meta))
			g_string_append_printf(s, "x%u\n", reads);
		else if (!writes)
			g_string_append_printf(s, "r%u\n", reads);
		else if (!reads)
			g_string_append_printf(s, "w%u\n", writes);
		else if (ps_meta_first_is_write(meta))
			g_string_append_printf(s, "w%ur%u\n", writes, reads);
		else
			g_string_append_printf(s, "r%uw%u\n", reads, writes);
	}
}

bool ps_trace_dump(struct ps_trace_reader *r, int fd, const char *name, GError **error)
{
	struct out o = { .fd = fd, .name = name, .text = g_string_sized_new(1 << 17) };
	const struct ps_trace_info *info = ps_trace_reader_info(r);
	const struct ps_trace_total *totals;
	struct ps_trace_batch b;
	enum ps_trace_next next;
	GError *read_error = NULL;
	bool ok = true;
	size_t n;

	g_string_append_printf(o.text, BULK_HEAD "%d\n", BULK_VERSION);
	put_words(o.text, "source", info->source);
	put_words(o.text, "command", info->command);
	put_words(o.text, "created-by", info->created_by);
	put_words(o.text, "note", info->note);
	g_string_append_printf(o.text, "clock %s\nfold %u\n", ps_trace_clock_word(info->clock), info->fold);
	while (ok && (next = ps_trace_reader_next(r, &b, &read_error)) == PS_TRACE_BATCH) {
		if (b.event)
			put_event(o.text, b.event);
		else
			put_batch(o.text, &b);
		if (o.text->len > 1 << 16)
			ok = flush(&o, error);
	}
	if (ok && !read_error) {
		totals = ps_trace_reader_totals(r, &n);
		for (size_t i = 0; i < n; i++) {
			g_string_append_printf(o.text, "total %" PRIu64 " ", totals[i].value);
			put_name(o.text, totals[i].name);
			g_string_append_c(o.text, '\n');
		}
		g_string_append(o.text, "end\n");
	}
	ok = ok && flush(&o, error);
	if (read_error) {
		if (ok)
			g_propagate_error(error, read_error);
		else
			g_error_free(read_error);
		ok = false;
	}
	g_string_free(o.text, true);
	return ok;
}

/* ---- reading ---- */

enum { ACCESSES, READS, WRITES, FETCHES, RECORDS, EVENTS, TASKS, TIME, OWN_TOTALS };

static const char *const names[OWN_TOTALS] = { "accesses", "reads",  "writes", "fetches",
					       "records",  "events", "tasks",  "time" };

struct bulk {
	char *line; /* the current one, without its newline */
	size_t room;
	u32 number;
	bool held;           /* the current line is still to be used */
	u64 sum[OWN_TOTALS]; /* in the order of names[] */
};

static bool wrong(struct ps_trace_reader *r, GError **error, const char *expected)
{
	struct bulk *b = r->own;
	char *found = g_utf8_make_valid(b->line, (gssize)strnlen(b->line, 60));

	g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX, "%s:%u: expected %s, found '%s'", r->name, b->number,
		    expected, found);
	g_free(found);
	return false;
}

/* Makes the next line current. Return: false with @error set, also at the end of the file: a dump ends with "end". */
static bool next_line(struct ps_trace_reader *r, GError **error)
{
	struct bulk *b = r->own;
	size_t n = 0;

	if (b->held) {
		b->held = false;
		return true;
	}
	b->number++;
	for (;;) {
		const u8 *bytes, *newline;
		ssize_t k = input_peek(&r->in, 1, &bytes, error);
		size_t some;
		char *line;

		if (k < 0)
			return false;
		if (!k) {
			g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_TRUNCATED,
				    "%s:%u: ends early at byte %" PRIu64 ": expected %s, found the end of the file",
				    r->name, b->number, r->in.offset,
				    n ? "the rest of a line" : "another line or 'end'");
			return false;
		}
		newline = memchr(bytes, '\n', k);
		some = newline ? (size_t)(newline - bytes) + 1 : (size_t)k;
		if (n + some + 1 > b->room) {
			if (n + some >= LINE_MAX_BYTES) {
				g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX, "%s:%u: the line is too long",
					    r->name, b->number);
				return false;
			}
			line = ps_realloc(b->line, 2 * (n + some + 1));
			if (!line)
				return reader_no_memory(r, error);
			b->line = line;
			b->room = 2 * (n + some + 1);
		}
		input_read(&r->in, b->line + n, some, NULL);
		n += some;
		b->line[n] = 0;
		if (!newline)
			continue;
		b->line[n - 1] = 0;
		if (strlen(b->line) != n - 1)
			return wrong(r, error, "text");
		return true;
	}
}

static bool digits(const char **at, int base, u64 *ret)
{
	const char *p = *at;
	u64 v = 0;

	for (;; p++) {
		int d = g_ascii_xdigit_value(*p);

		if (d < 0 || d >= base || (*p >= 'A' && *p <= 'F'))
			break;
		if (__builtin_mul_overflow(v, (u64)base, &v) || __builtin_add_overflow(v, (u64)d, &v))
			return false;
	}
	if (p == *at)
		return false;
	*at = p;
	*ret = v;
	return true;
}

static bool number(const char **at, u64 *ret)
{
	return digits(at, 10, ret);
}

static bool number32(const char **at, u32 *ret)
{
	u64 v;

	if (!number(at, &v) || v > 0xffffffffu)
		return false;
	*ret = (u32)v;
	return true;
}

static bool skip(const char **at, const char *what)
{
	size_t n = strlen(what);

	if (strncmp(*at, what, n))
		return false;
	*at += n;
	return true;
}

/* "VPN+PAGES" */
static bool pages(const char **at, u64 *vpn, u64 *n)
{
	return digits(at, 16, vpn) && skip(at, "+") && number(at, n) && *vpn <= PS_TRACE_VPN_END &&
	       *n <= PS_TRACE_VPN_END - *vpn;
}

/* Takes the escapes out of a name, in place. */
static bool unescape(char *name)
{
	char *to = name;

	for (char *p = name; *p; p++) {
		if (*p == '\\') {
			int high = p[1] == 'x' ? g_ascii_xdigit_value(p[2]) : -1;
			int low = high >= 0 ? g_ascii_xdigit_value(p[3]) : -1;

			if (low < 0 || !(high | low))
				return false;
			*to++ = (char)(high << 4 | low);
			p += 3;
		} else {
			*to++ = *p;
		}
	}
	*to = 0;
	return true;
}

static bool header_line(struct ps_trace_reader *r, const char *key, char **ret, GError **error)
{
	struct bulk *b = r->own;
	char expected[32];
	const char *at;

	if (!next_line(r, error))
		return false;
	at = b->line;
	g_snprintf(expected, sizeof(expected), "'%s ...'", key);
	if (!skip(&at, key) || (*at && !skip(&at, " ")))
		return wrong(r, error, expected);
	*ret = reader_string(r, at, strlen(at));
	if (!*ret)
		return reader_no_memory(r, error);
	if (!unescape(*ret) || !g_utf8_validate(*ret, -1, NULL))
		return wrong(r, error, "text with \\xHH escapes");
	return true;
}

static bool read_header(struct ps_trace_reader *r, GError **error)
{
	struct bulk *b = r->own;
	char *clock = NULL;
	const char *at;
	u64 version;
	int c;

	if (!next_line(r, error))
		return false;
	at = b->line;
	if (!skip(&at, BULK_HEAD) || !number(&at, &version) || *at || !version)
		return wrong(r, error, "'" BULK_HEAD "1'");
	if (version > BULK_VERSION) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_VERSION,
			    "%s: written by a newer pagesim: expected bulk text version %d, found %" PRIu64, r->name,
			    BULK_VERSION, version);
		return false;
	}
	if (!header_line(r, "source", &r->source, error) || !header_line(r, "command", &r->command, error) ||
	    !header_line(r, "created-by", &r->created_by, error) || !header_line(r, "note", &r->note, error))
		return false;
	reader_set_info(r);
	if (!header_line(r, "clock", &clock, error)) {
		ps_free(clock);
		return false;
	}
	c = ps_trace_clock_from_word(clock);
	ps_free(clock);
	if (c < 0)
		return wrong(r, error, "clock ns, instructions or accesses");
	r->info.clock = (enum ps_trace_clock)c;
	if (!next_line(r, error))
		return false;
	at = b->line;
	if (!skip(&at, "fold ") || !number32(&at, &r->info.fold) || *at)
		return wrong(r, error, "'fold N'");
	return true;
}

/* " VPN COUNTS" */
static bool read_record(struct ps_trace_reader *r, u32 i)
{
	struct bulk *b = r->own;
	const char *at = b->line + 1;
	u32 n[2] = { 0, 0 };
	char letter;
	int k = 0;

	if (!digits(&at, 16, &r->vpn[i]) || r->vpn[i] >= PS_TRACE_VPN_END || !skip(&at, " "))
		return false;
	letter = *at++;
	if ((letter != 'r' && letter != 'w' && letter != 'x') || !number32(&at, &n[0]))
		return false;
	if (*at && letter != 'x') {
		k = 1;
		if (*at++ != (letter == 'r' ? 'w' : 'r') || !number32(&at, &n[1]))
			return false;
	}
	if (*at || !n[0] || n[0] > PS_META_COUNT_MAX || n[1] > PS_META_COUNT_MAX || (k && !n[1]))
		return false;
	if (letter == 'x') {
		r->meta[i] = ps_meta_fetch(n[0]);
		b->sum[FETCHES] += n[0];
	} else if (letter == 'r') {
		r->meta[i] = ps_meta_data(n[0], n[1], false);
		b->sum[READS] += n[0];
		b->sum[WRITES] += n[1];
	} else {
		r->meta[i] = ps_meta_data(n[1], n[0], true);
		b->sum[READS] += n[1];
		b->sum[WRITES] += n[0];
	}
	b->sum[ACCESSES] += (u64)n[0] + n[1];
	b->sum[RECORDS]++;
	return true;
}

static bool read_event(struct ps_trace_reader *r, const char *at, struct ps_event *e, GError **error)
{
	struct bulk *b = r->own;
	const char *word = at;
	unsigned int fields, kind;
	bool ok = true;
	u32 advice = 0;

	at = strchrnul(at, ' ');
	for (kind = 0; kind < PS_EVENT_KINDS; kind++) {
		const char *k = ps_event_word((enum ps_event_kind)kind);

		if (strlen(k) == (size_t)(at - word) && !strncmp(k, word, (size_t)(at - word)))
			break;
	}
	if (kind == PS_EVENT_KINDS)
		return wrong(r, error, "the name of an event");
	e->kind = (enum ps_event_kind)kind;
	e->name = "";
	fields = ps_event_fields(e->kind);
	if (fields & PS_FIELD_OTHER) {
		ok = ok && skip(&at, " other=");
		if (ok && skip(&at, "-"))
			e->other = PS_TASK_NONE;
		else
			ok = ok && number32(&at, &e->other) && e->other < PS_TASK_MAX;
		if (ok && e->other != PS_TASK_NONE)
			b->sum[TASKS] = MAX(b->sum[TASKS], e->other + 1ull);
	}
	if (fields & PS_FIELD_IDS)
		ok = ok && skip(&at, " pid=") && number32(&at, &e->pid) && skip(&at, " tid=") && number32(&at, &e->tid);
	if (fields & PS_FIELD_RANGE)
		ok = ok && skip(&at, " at=") && pages(&at, &e->vpn, &e->pages);
	if (fields & PS_FIELD_TO)
		ok = ok && skip(&at, " to=") && pages(&at, &e->to_vpn, &e->to_pages);
	if (fields & PS_FIELD_PROT)
		ok = ok && skip(&at, " prot=") && number32(&at, &e->prot);
	if (fields & PS_FIELD_FLAGS)
		ok = ok && skip(&at, " flags=") && number32(&at, &e->flags);
	if (fields & PS_FIELD_ADVICE) {
		ok = ok && skip(&at, " advice=") && number32(&at, &advice);
		e->advice = (int)advice;
	}
	if (fields & PS_FIELD_OFFSET)
		ok = ok && skip(&at, " offset=") && number(&at, &e->offset);
	if (fields & PS_FIELD_LENGTH)
		ok = ok && skip(&at, " length=") && number(&at, &e->length);
	if (fields & PS_FIELD_LINE)
		ok = ok && skip(&at, " line=") && number32(&at, &e->line);
	if (fields & PS_FIELD_NAME) {
		char *name = b->line + (at - b->line) + strlen(" name=");

		ok = ok && skip(&at, " name=") && unescape(name);
		if (ok) {
			e->name = name;
			at = "";
		}
	}
	if (!ok || *at)
		return wrong(r, error, "the fields of the event");
	b->sum[EVENTS]++;
	return true;
}

/* "total N NAME" lines and "end"; our own totals must be what was read. */
static bool read_end(struct ps_trace_reader *r, GError **error)
{
	struct bulk *b = r->own;
	unsigned int own = 0;
	const u8 *more;
	ssize_t left;

	while (strcmp(b->line, "end")) {
		const char *at = b->line;
		char *name;
		u64 value;

		if (!skip(&at, "total ") || !number(&at, &value) || !skip(&at, " "))
			return wrong(r, error, "an event, a batch, 'total N NAME' or 'end'");
		name = b->line + (at - b->line);
		if (!unescape(name))
			return wrong(r, error, "a name with \\xHH escapes");
		for (int i = 0; i < OWN_TOTALS; i++) {
			if (strcmp(names[i], name))
				continue;
			own |= 1u << i;
			if (value != b->sum[i]) {
				g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX,
					    "%s:%u: expected the total of %s to be %" PRIu64 ", found %" PRIu64,
					    r->name, b->number, names[i], b->sum[i], value);
				return false;
			}
		}
		reader_add_total(r, name, strlen(name), value);
		if (!next_line(r, error))
			return false;
	}
	for (int i = 0; i < OWN_TOTALS; i++)
		if (!(own & 1u << i))
			reader_add_total(r, names[i], strlen(names[i]), b->sum[i]);
	if (r->no_memory)
		return reader_no_memory(r, error);
	r->totals_known = true;
	left = input_peek(&r->in, 1, &more, error);
	if (left < 0)
		return false;
	if (left) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_SYNTAX,
			    "%s:%u: expected the end of the file, found more", r->name, b->number + 1);
		return false;
	}
	return true;
}

static enum ps_trace_next bulk_next(struct ps_trace_reader *r, struct ps_trace_batch *batch, GError **error)
{
	struct bulk *b = r->own;
	const char *at;
	u64 time;
	u32 task;

	if (!next_line(r, error))
		return PS_TRACE_FAILED;
	if (*b->line != '@')
		return read_end(r, error) ? PS_TRACE_END : PS_TRACE_FAILED;
	memset(batch, 0, sizeof(*batch));
	at = b->line + 1;
	if (!number(&at, &time) || (skip(&at, "+") && (!number(&at, &batch->span) || batch->span > ~0ull - time)) ||
	    !skip(&at, " ") || !number32(&at, &task) || task >= PS_TASK_MAX) {
		wrong(r, error, "'@TIME[+SPAN] TASK ...'");
		return PS_TRACE_FAILED;
	}
	batch->time = time;
	batch->task = task;
	b->sum[TIME] = MAX(b->sum[TIME], time + batch->span);
	b->sum[TASKS] = MAX(b->sum[TASKS], task + 1ull);
	if (skip(&at, " ")) {
		memset(&r->event, 0, sizeof(r->event));
		r->event.task = task;
		r->event.time = time;
		if (!read_event(r, at, &r->event, error))
			return PS_TRACE_FAILED;
		batch->span = 0;
		batch->event = &r->event;
		return PS_TRACE_BATCH;
	}
	if (*at) {
		wrong(r, error, "'@TIME[+SPAN] TASK ...'");
		return PS_TRACE_FAILED;
	}
	for (;;) {
		if (!next_line(r, error))
			return PS_TRACE_FAILED;
		if (*b->line != ' ')
			break;
		if (batch->n == PS_TRACE_BATCH_MAX || !read_record(r, batch->n)) {
			wrong(r, error,
			      batch->n == PS_TRACE_BATCH_MAX ? "at most 2048 records in a batch"
							     : "a record ' PAGE rN[wM]'");
			return PS_TRACE_FAILED;
		}
		batch->n++;
	}
	b->held = true;
	if (!batch->n) {
		wrong(r, error, "a record ' PAGE rN[wM]'");
		return PS_TRACE_FAILED;
	}
	batch->vpn = r->vpn;
	batch->meta = r->meta;
	return PS_TRACE_BATCH;
}

static void bulk_free(struct ps_trace_reader *r)
{
	struct bulk *b = r->own;

	if (b)
		ps_free(b->line);
	ps_free(b);
}

static const struct reader_ops bulk_ops = {
	.next = bulk_next,
	.free = bulk_free,
};

bool bulk_open(struct ps_trace_reader *r, GError **error)
{
	r->ops = &bulk_ops;
	r->own = ps_zalloc(sizeof(struct bulk));
	if (!r->own) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_MEMORY, "%s: out of memory", r->name);
		return false;
	}
	return read_header(r, error);
}
