/* SPDX-License-Identifier: MIT */
/*
 * pagesim info: what is in a trace, and how its memory grows. The totals are in the trace; distinct pages and the chart need a
 * walk over all of it, which keeps one entry per page touched: in which address space, and in which column of the chart it
 * was seen last.
 *
 * The chart. Each column is an equal part of the trace's time. ':' reaches up to the footprint (pages touched so far that are
 * still mapped), '#' to the working set (pages touched in that part).
 */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include <pagesim/trace_file.h>
#include <pagesim/trace_text.h>

#include "cmd.h"

#define COLUMNS 64
#define ROWS    8

/* A page of an address space. */
struct page {
	u64 vpn;
	u32 space;  /* 1 + number of the address space; 0 = free slot */
	s32 column; /* seen last in it; -1: not mapped any more */
};

struct task {
	u32 space;
	bool alive;
	bool thread;
};

struct survey {
	struct page *pages; /* open addressing */
	size_t slots, used;
	GArray *tasks; /* struct task */
	GArray *users; /* of each address space: how many tasks run in it */
	u64 events[PS_EVENT_KINDS];
	u64 distinct; /* pages ever touched, per address space */
	u64 footprint, peak;
	u64 footprint_at[COLUMNS], working[COLUMNS];
	u64 columns_filled;
	u64 end; /* of the trace's time */
	u64 processes, threads;
};

static size_t slot_of(const struct survey *s, u32 space, u64 vpn)
{
	size_t mask = s->slots - 1;
	size_t i = (size_t)(((vpn ^ (u64)space << 40) * 0x9e3779b97f4a7c15ull) >> 20) & mask;

	while (s->pages[i].space && (s->pages[i].space != space || s->pages[i].vpn != vpn))
		i = (i + 1) & mask;
	return i;
}

static void grow(struct survey *s)
{
	struct survey old = *s;

	s->slots = old.slots ? 2 * old.slots : 1 << 12;
	s->pages = g_new0(struct page, s->slots);
	for (size_t i = 0; i < old.slots; i++)
		if (old.pages[i].space)
			s->pages[slot_of(s, old.pages[i].space, old.pages[i].vpn)] = old.pages[i];
	g_free(old.pages);
}

static int column_at(const struct survey *s, u64 time)
{
	if (!s->end)
		return 0;
	return (int)MIN((u64)((double)time / ((double)s->end + 1) * COLUMNS), COLUMNS - 1);
}

static struct task *task_of(struct survey *s, u32 task)
{
	while (s->tasks->len <= task) {
		struct task t = { 0 };

		g_array_append_val(s->tasks, t);
	}
	return &g_array_index(s->tasks, struct task, task);
}

static u32 new_space(struct survey *s)
{
	u32 one = 1;

	g_array_append_val(s->users, one);
	return s->users->len;
}

/* A task the trace never introduced has an address space of its own. */
static struct task *live_task(struct survey *s, u32 task)
{
	struct task *t = task_of(s, task);

	if (!t->space) {
		t->space = new_space(s);
		t->alive = true;
		s->processes++;
	}
	return t;
}

/* Columns up to @column end with the footprint as it is. */
static void fill_columns(struct survey *s, int column)
{
	while (s->columns_filled < (u64)column)
		s->footprint_at[s->columns_filled++] = s->footprint;
}

static void touch(struct survey *s, u32 space, u64 vpn, int column)
{
	struct page *p;

	if (2 * s->used >= s->slots)
		grow(s);
	p = &s->pages[slot_of(s, space, vpn)];
	if (!p->space) {
		p->space = space;
		p->vpn = vpn;
		p->column = -1;
		s->used++;
		s->distinct++;
	}
	if (p->column == column)
		return;
	if (p->column < 0)
		s->footprint++;
	s->peak = MAX(s->peak, s->footprint);
	s->working[column]++;
	p->column = column;
}

static void forget(struct survey *s, struct page *p)
{
	if (p->column < 0)
		return;
	p->column = -1;
	s->footprint--;
}

static void forget_range(struct survey *s, u32 space, u64 vpn, u64 pages)
{
	if (!s->slots)
		return;
	if (pages > s->slots) {
		for (size_t i = 0; i < s->slots; i++)
			if (s->pages[i].space == space && s->pages[i].vpn - vpn < pages)
				forget(s, &s->pages[i]);
		return;
	}
	for (u64 i = 0; i < pages; i++) {
		struct page *p = &s->pages[slot_of(s, space, vpn + i)];

		if (p->space)
			forget(s, p);
	}
}

/* One user less; the last one takes the pages along. */
static void leave_space(struct survey *s, u32 space)
{
	u32 *users = &g_array_index(s->users, u32, space - 1);

	if (!--*users)
		forget_range(s, space, 0, PS_TRACE_VPN_END);
}

/* A forked child has all its parent's pages, as long as nobody writes; they count when it touches them. */
static void take_event(struct survey *s, const struct ps_event *e)
{
	struct task *t, *child;
	u32 space;

	s->events[e->kind]++;
	switch (e->kind) {
	case PS_EVENT_STATEMENT:
		break;
	case PS_EVENT_START:
		live_task(s, e->task);
		break;
	case PS_EVENT_FORK:
		live_task(s, e->task);
		if (e->other != PS_TASK_NONE)
			live_task(s, e->other);
		break;
	case PS_EVENT_THREAD:
		space = live_task(s, e->task)->space;
		child = task_of(s, e->other == PS_TASK_NONE ? e->task : e->other);
		if (child->space)
			break;
		child->space = space;
		child->alive = child->thread = true;
		g_array_index(s->users, u32, space - 1)++;
		s->threads++;
		break;
	case PS_EVENT_EXEC:
		t = live_task(s, e->task);
		leave_space(s, t->space);
		t->space = new_space(s);
		break;
	case PS_EVENT_EXIT:
		t = live_task(s, e->task);
		if (t->alive)
			leave_space(s, t->space);
		t->alive = false;
		break;
	case PS_EVENT_MUNMAP:
	case PS_EVENT_MREMAP:
		forget_range(s, live_task(s, e->task)->space, e->vpn, e->pages);
		break;
	case PS_EVENT_MMAP:
		if (!(e->flags & PS_MAP_INFERRED))
			forget_range(s, live_task(s, e->task)->space, e->vpn, e->pages);
		break;
	case PS_EVENT_MADVISE:
		if (e->advice == PS_ADVICE_DONTNEED)
			forget_range(s, live_task(s, e->task)->space, e->vpn, e->pages);
		break;
	default:
		live_task(s, e->task);
	}
}

static void take_batch(struct survey *s, const struct ps_trace_batch *b)
{
	u32 space = live_task(s, b->task)->space;
	u64 last = ~0ull;
	int last_column = -1;

	for (u32 i = 0; i < b->n; i++) {
		int column =
			b->span ? column_at(s, b->time + (u64)((double)b->span * i / b->n)) : column_at(s, b->time);

		if (b->vpn[i] == last && column == last_column)
			continue;
		fill_columns(s, column);
		touch(s, space, b->vpn[i], column);
		last = b->vpn[i];
		last_column = column;
	}
}

/* Reads the whole trace; @error is set where it stops being one, and @s is of what came before. */
static void walk(struct survey *s, struct ps_trace_reader *r, GError **error)
{
	struct ps_trace_batch b;

	while (ps_trace_reader_next(r, &b, error) == PS_TRACE_BATCH) {
		if (b.event) {
			fill_columns(s, column_at(s, b.time));
			take_event(s, b.event);
		} else {
			take_batch(s, &b);
		}
	}
	fill_columns(s, COLUMNS);
}

/* ---- printing ---- */

/* 26652931 as 26,652,931. Return: from a few static places, good for one printf. */
static const char *grouped(u64 v)
{
	static char texts[8][32];
	static int turn;
	char plain[32];
	char *to = texts[turn = (turn + 1) % 8];
	size_t n = (size_t)g_snprintf(plain, sizeof(plain), "%" PRIu64, v);
	char *p = to;

	for (size_t i = 0; i < n; i++) {
		if (i && (n - i) % 3 == 0)
			*p++ = ',';
		*p++ = plain[i];
	}
	*p = 0;
	return to;
}

static const char *size_text(u64 bytes)
{
	static const char *const unit[] = { "bytes", "KiB", "MiB", "GiB", "TiB" };
	static char texts[4][32];
	static int turn;
	double v = (double)bytes;
	unsigned int u = 0;
	char *to = texts[turn = (turn + 1) % 4];

	for (; v >= 1024 && u + 1 < G_N_ELEMENTS(unit); u++)
		v /= 1024;
	g_snprintf(to, 32, u ? "%.1f %s" : "%.0f %s", v, unit[u]);
	return to;
}

static double percent(u64 part, u64 whole)
{
	return whole ? 100.0 * (double)part / (double)whole : 0;
}

static void line(const char *key, const char *format, ...) G_GNUC_PRINTF(2, 3);

static void line(const char *key, const char *format, ...)
{
	va_list args;

	printf("  %-14s ", key);
	va_start(args, format);
	vprintf(format, args);
	va_end(args);
	putchar('\n');
}

static void print_chart(const struct survey *s)
{
	u64 top = 1;

	for (int i = 0; i < COLUMNS; i++)
		top = MAX(top, MAX(s->footprint_at[i], s->working[i]));
	printf("\n  memory over time: ':' footprint, '#' touched in that 1/%d of the trace\n", COLUMNS);
	for (int row = ROWS; row >= 1; row--) {
		if (row == ROWS)
			printf("  %11s |", size_text(top * PS_TRACE_PAGE_SIZE));
		else
			printf("  %11s |", "");
		for (int i = 0; i < COLUMNS; i++) {
			/* A column shows at least a mark for anything at all. */
			u64 below = top * (u64)(row - 1) / ROWS;

			putchar(s->working[i] > below ? '#' : s->footprint_at[i] > below ? ':' : ' ');
		}
		putchar('\n');
	}
	printf("  %11s +", "0");
	for (int i = 0; i < COLUMNS; i++)
		putchar('-');
	putchar('\n');
}

/* Names and numbers, as many as fit a line, beginning below the first. */
struct list {
	size_t width;
	bool any;
};

static void list_add(struct list *l, const char *key, const char *name, u64 value)
{
	char text[96];
	size_t n = (size_t)g_snprintf(text, sizeof(text), "%s %s", grouped(value), name);

	n = MIN(n, sizeof(text) - 1);
	if (!l->any) {
		printf("  %-14s ", key);
		l->width = 17;
	} else if (l->width + n + 2 > 100) {
		printf(",\n  %-14s ", "");
		l->width = 17;
	} else {
		printf(", ");
		l->width += 2;
	}
	fputs(text, stdout);
	l->width += n;
	l->any = true;
}

static gint by_value(gconstpointer a, gconstpointer b)
{
	const struct ps_trace_total *x = a, *y = b;

	if (x->value != y->value)
		return x->value < y->value ? 1 : -1;
	return strcmp(x->name, y->name);
}

static void print_syscalls(const struct ps_trace_reader *r)
{
	static const char prefix[] = "syscall.";
	GArray *calls = g_array_new(false, false, sizeof(struct ps_trace_total));
	struct list l = { 0 };
	size_t n;
	const struct ps_trace_total *totals = ps_trace_reader_totals(r, &n);

	for (size_t i = 0; i < n; i++)
		if (!strncmp(totals[i].name, prefix, strlen(prefix)))
			g_array_append_val(calls, totals[i]);
	g_array_sort(calls, by_value);
	for (guint i = 0; i < calls->len; i++) {
		const struct ps_trace_total *t = &g_array_index(calls, struct ps_trace_total, i);

		list_add(&l, "system calls", t->name + strlen(prefix), t->value);
	}
	if (l.any)
		putchar('\n');
	g_array_free(calls, true);
}

static void print_events(const struct survey *s)
{
	struct list l = { 0 };

	for (int i = 0; i < PS_EVENT_KINDS; i++)
		if (s->events[i] && i != PS_EVENT_STATEMENT)
			list_add(&l, "events", ps_event_word((enum ps_event_kind)i), s->events[i]);
	if (l.any)
		putchar('\n');
}

static void print_head(const struct ps_trace_reader *r)
{
	const struct ps_trace_info *info = ps_trace_reader_info(r);

	printf("%s\n", ps_trace_reader_name(r));
	if (*info->command)
		line("command", "%s", info->command);
	line("source", "%s%s%s", *info->source ? info->source : "unknown", *info->created_by ? ", written by " : "",
	     info->created_by);
	if (*info->note)
		line("note", "%s", info->note);
}

static void print_body(const struct ps_trace_reader *r, const struct survey *s, u64 bytes)
{
	u64 accesses = ps_trace_reader_total(r, "accesses", 0), records = ps_trace_reader_total(r, "records", 0);
	u64 reads = ps_trace_reader_total(r, "reads", 0), writes = ps_trace_reader_total(r, "writes", 0);
	u64 fetches = ps_trace_reader_total(r, "fetches", 0);
	const struct ps_trace_info *info = ps_trace_reader_info(r);

	line("accesses", "%s: %s reads (%.1f%%), %s writes (%.1f%%)%s%s", grouped(accesses), grouped(reads),
	     percent(reads, accesses), grouped(writes), percent(writes, accesses), fetches ? ", fetches " : "",
	     fetches ? grouped(fetches) : "");
	line("records", "%s, %.2f accesses each (folded over the last %u)", grouped(records),
	     records ? (double)accesses / (double)records : 0.0, info->fold);
	if (bytes && records)
		line("stored", "%s, %.3f bytes per record", size_text(bytes), (double)bytes / (double)records);
	line("time", "%s %s", grouped(s->end), ps_trace_clock_word(info->clock));
	line("processes", "%s%s%s%s", grouped(s->processes), s->threads ? ", and " : "",
	     s->threads ? grouped(s->threads) : "", s->threads ? " more threads" : "");
	line("pages", "%s distinct (%s), at most %s at once (%s)", grouped(s->distinct),
	     size_text(s->distinct * PS_TRACE_PAGE_SIZE), grouped(s->peak), size_text(s->peak * PS_TRACE_PAGE_SIZE));
	print_events(s);
	print_syscalls(r);
	if (s->distinct)
		print_chart(s);
}

/* Statements by verb. */
static int script_info(const char *path)
{
	GError *error = NULL;
	struct ps_script *script = ps_script_open(path, NULL, &error);
	GHashTable *tasks;
	u64 verbs[PS_VERBS] = { 0 };
	struct list l = { 0 };
	int status = CMD_OK;

	if (!script) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		return status;
	}
	tasks = g_hash_table_new(g_str_hash, g_str_equal);
	for (u32 i = 0; i < script->n; i++) {
		const struct ps_statement *st = &script->statements[i];

		verbs[st->verb]++;
		if (ps_verb_subject(st->verb) == PS_SUBJECT_TASK)
			g_hash_table_add(tasks, (gpointer)st->subject);
	}
	printf("%s\n", script->name);
	line("source", "script");
	line("statements", "%s by %u tasks", grouped(script->n), g_hash_table_size(tasks));
	for (int i = 0; i < PS_VERBS; i++)
		if (verbs[i])
			list_add(&l, "verbs", ps_verb_word((enum ps_verb)i), verbs[i]);
	if (l.any)
		putchar('\n');
	if (script->error)
		status = cmd_fail("%s", script->error->message);
	g_hash_table_destroy(tasks);
	ps_script_free(script);
	return status;
}

/* Standard input can be read once; what must be read twice is kept in a file of no name. Return: its descriptor, or -1. */
static int spool(GError **error)
{
	char *path = NULL;
	int fd = g_file_open_tmp("pagesim-XXXXXX", &path, error);
	char buffer[65536];
	ssize_t n = -1;

	if (fd < 0)
		return -1;
	unlink(path);
	g_free(path);
	while ((n = read(STDIN_FILENO, buffer, sizeof(buffer))) > 0)
		if (write(fd, buffer, (size_t)n) != n)
			break;
	if (n || lseek(fd, 0, SEEK_SET)) {
		g_set_error(error, PS_TRACE_ERROR, PS_TRACE_ERROR_IO, "cannot keep standard input: %s",
			    g_strerror(errno));
		close(fd);
		return -1;
	}
	return fd;
}

/* The end of the trace's time: from its index, or by reading it through. A damaged one ends where it stops. */
static u64 find_end(struct ps_trace_reader *r)
{
	struct ps_trace_batch b;
	u64 end = 0;

	if (ps_trace_reader_load_index(r, NULL))
		return ps_trace_reader_total(r, "time", 0);
	while (ps_trace_reader_next(r, &b, NULL) == PS_TRACE_BATCH)
		end = b.time + b.span;
	return end;
}

static int trace_info(const char *path)
{
	struct survey s = { 0 };
	struct ps_trace_reader *r = NULL;
	GError *error = NULL;
	int fd = -1, status = CMD_OK;
	u64 bytes = 0;

	if (!strcmp(path, "-")) {
		fd = spool(&error);
		r = fd < 0 ? NULL : ps_trace_reader_new(fd, "standard input", &error);
	} else {
		r = ps_trace_reader_open(path, &error);
	}
	if (!r)
		goto out_fail;
	s.tasks = g_array_new(false, false, sizeof(struct task));
	s.users = g_array_new(false, false, sizeof(u32));
	s.end = find_end(r);
	ps_trace_reader_free(r);
	if (fd >= 0)
		lseek(fd, 0, SEEK_SET);
	r = fd >= 0 ? ps_trace_reader_new(fd, "standard input", &error) : ps_trace_reader_open(path, &error);
	if (!r)
		goto out_fail;
	print_head(r);
	walk(&s, r, &error);
	ps_trace_reader_position(r, &bytes);
	print_body(r, &s, bytes);
out_fail:
	if (error) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
	}
	ps_trace_reader_free(r);
	if (s.tasks) {
		g_array_free(s.tasks, true);
		g_array_free(s.users, true);
	}
	g_free(s.pages);
	if (fd >= 0)
		close(fd);
	return status;
}

int cmd_info(int argc, char **argv)
{
	GError *error = NULL;
	enum ps_trace_form form;
	int status;

	if (!cmd_parse(&argc, &argv, NULL, "TRACE",
		       "Says what is in a trace: where it is from, accesses, pages, processes, system calls, and its "
		       "memory over time.",
		       &status))
		return status;
	if (argc != 2)
		return cmd_misused("expected one trace");
	form = ps_trace_form_of(argv[1], &error);
	if (error) {
		status = cmd_fail("%s", error->message);
		g_error_free(error);
		return status;
	}
	return form == PS_FORM_SCRIPT ? script_info(argv[1]) : trace_info(argv[1]);
}
