/* SPDX-License-Identifier: MIT */
/*
 * What the importer knows of a process: the pages that are mapped, the threads, the open files. The first is what makes
 * inference possible. An access to a page nobody mapped must be to something that was there before the program ran:
 *
 *    the first data access after exec      the stack (a program's first instruction that touches memory pushes or pops)
 *    a page just above the known stack     arguments and environment, still the stack
 *    anything else                         the program's image: its segments, its loader's, the vdso; one page at a time
 *
 * and the trace gets an mmap event marked PS_MAP_INFERRED right before the access. The heap needs no inference: the first brk
 * call asks where it is.
 */
#include "trace/lackey.h"

#include <string.h>

/* What a stack may grow to, and what may lie above the first stack pointer: the kernel's default limits. */
#define STACK_PAGES       2048
#define STACK_ABOVE_PAGES 64

/* ---- known pages ---- */

static void forget_slots(struct known *k)
{
	memset(k->slot, 0xff, sizeof(k->slot));
}

void known_init(struct known *k)
{
	k->ranges = g_array_new(false, false, sizeof(struct known_range));
	forget_slots(k);
}

void known_clear(struct known *k)
{
	g_array_set_size(k->ranges, 0);
	forget_slots(k);
}

void known_destroy(struct known *k)
{
	g_array_free(k->ranges, true);
}

static struct known_range *range_at(const struct known *k, guint i)
{
	return &g_array_index(k->ranges, struct known_range, i);
}

/* Index of the first range that ends behind @vpn; the number of ranges when none does. */
static guint first_behind(const struct known *k, u64 vpn)
{
	guint low = 0, high = k->ranges->len;

	while (low < high) {
		guint middle = (low + high) / 2;

		if (range_at(k, middle)->end > vpn)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

void known_copy(struct known *to, const struct known *from)
{
	g_array_set_size(to->ranges, 0);
	g_array_append_vals(to->ranges, from->ranges->data, from->ranges->len);
	forget_slots(to);
}

void known_remove(struct known *k, u64 start, u64 end)
{
	guint i;

	if (start >= end)
		return;
	forget_slots(k);
	i = first_behind(k, start);
	while (i < k->ranges->len && range_at(k, i)->start < end) {
		struct known_range r = *range_at(k, i);

		g_array_remove_index(k->ranges, i);
		if (r.start < start) {
			struct known_range left = { r.start, start };

			g_array_insert_val(k->ranges, i, left);
			i++;
		}
		if (r.end > end) {
			struct known_range right = { end, r.end };

			g_array_insert_val(k->ranges, i, right);
			break;
		}
	}
}

void known_add(struct known *k, u64 start, u64 end)
{
	struct known_range all = { start, end };
	guint i;

	if (start >= end)
		return;
	/* The first range that touches or overlaps [start, end): it ends at start or behind. */
	i = start ? first_behind(k, start - 1) : 0;
	while (i < k->ranges->len && range_at(k, i)->start <= end) {
		all.start = MIN(all.start, range_at(k, i)->start);
		all.end = MAX(all.end, range_at(k, i)->end);
		g_array_remove_index(k->ranges, i);
	}
	g_array_insert_val(k->ranges, i, all);
}

bool known_lookup(struct known *k, u64 vpn)
{
	guint i = first_behind(k, vpn);

	if (i == k->ranges->len || range_at(k, i)->start > vpn)
		return false;
	k->slot[vpn % KNOWN_SLOTS] = vpn;
	return true;
}

bool known_gap(const struct known *k, u64 start, u64 end, u64 *gap_start, u64 *gap_end)
{
	guint i = first_behind(k, start);

	for (; i < k->ranges->len && range_at(k, i)->start <= start; i++)
		start = range_at(k, i)->end;
	if (start >= end)
		return false;
	*gap_start = start;
	*gap_end = i < k->ranges->len ? MIN(end, range_at(k, i)->start) : end;
	return true;
}

/* ---- processes and threads ---- */

static void put_file(gpointer data)
{
	struct open_file *f = data;

	if (--f->references)
		return;
	g_free(f->path);
	g_free(f);
}

static void free_thread(gpointer data)
{
	struct thread *t = data;

	g_free(t->call.text);
	g_free(t);
}

static struct thread *add_thread(struct process *p, u32 number, u32 task)
{
	struct thread *t = g_new0(struct thread, 1);

	t->task = task;
	g_hash_table_insert(p->threads, GUINT_TO_POINTER(number), t);
	return t;
}

struct process *process_new(struct ps_lackey *lackey, u32 pid)
{
	struct process *p = g_new0(struct process, 1);

	p->lackey = lackey;
	p->pid = pid;
	p->task = lackey->tasks++;
	p->running = 1;
	known_init(&p->known);
	p->files = g_hash_table_new_full(NULL, NULL, NULL, put_file);
	p->closing = g_hash_table_new(NULL, NULL);
	p->threads = g_hash_table_new_full(NULL, NULL, NULL, free_thread);
	return p;
}

void process_free(struct process *p)
{
	if (!p)
		return;
	known_destroy(&p->known);
	g_hash_table_destroy(p->files);
	g_hash_table_destroy(p->closing);
	g_hash_table_destroy(p->threads);
	g_free(p);
}

struct ps_event process_event(struct process *p, u32 number, enum ps_event_kind kind)
{
	struct ps_event e = { .kind = kind, .name = "", .time = lackey_time(p->lackey) };

	e.task = process_thread(p, number)->task;
	return e;
}

struct thread *process_thread(struct process *p, u32 number)
{
	struct thread *t = g_hash_table_lookup(p->threads, GUINT_TO_POINTER(number));
	struct ps_event e = { .kind = PS_EVENT_THREAD, .name = "", .task = p->task, .pid = p->pid, .tid = number };

	if (t)
		return t;
	/* The first one to be seen is the one the process began with; all others were made by clone. */
	if (!g_hash_table_size(p->threads))
		return add_thread(p, number, p->task);
	e.time = lackey_time(p->lackey);
	e.other = p->lackey->tasks++;
	ps_trace_writer_event(p->lackey->writer, &e);
	return add_thread(p, number, e.other);
}

void process_thread_exit(struct process *p, u32 number)
{
	struct ps_event e = process_event(p, number, PS_EVENT_EXIT);

	ps_trace_writer_event(p->lackey->writer, &e);
	g_hash_table_remove(p->threads, GUINT_TO_POINTER(number));
	if (!g_hash_table_size(p->threads))
		p->exited = true;
}

static gint compare_numbers(gconstpointer a, gconstpointer b)
{
	guint x = GPOINTER_TO_UINT(a), y = GPOINTER_TO_UINT(b);

	return x < y ? -1 : x > y;
}

/* Ends every thread but @keep, in the order of their numbers: a hash table has none. */
static void end_threads(struct process *p, u32 keep)
{
	GList *numbers = g_list_sort(g_hash_table_get_keys(p->threads), compare_numbers);

	for (GList *n = numbers; n; n = n->next)
		if (GPOINTER_TO_UINT(n->data) != keep)
			process_thread_exit(p, GPOINTER_TO_UINT(n->data));
	g_list_free(numbers);
}

void process_exit(struct process *p)
{
	if (p->exited)
		return;
	process_thread(p, p->running);
	end_threads(p, 0);
	p->exited = true;
}

void process_exec(struct process *p, const char *command)
{
	struct thread *t = process_thread(p, p->running);
	struct ps_event e = process_event(p, p->running, PS_EVENT_EXEC);
	u32 task = t->task;
	GHashTableIter i;
	gpointer fd;

	end_threads(p, p->running);
	e.name = command;
	ps_trace_writer_event(p->lackey->writer, &e);
	g_hash_table_remove_all(p->threads);
	p->task = task;
	p->running = 1;
	add_thread(p, 1, task);
	known_clear(&p->known);
	p->stack_known = false;
	p->stack_top = p->heap_start = p->heap_end = 0;
	g_hash_table_iter_init(&i, p->closing);
	while (g_hash_table_iter_next(&i, &fd, NULL))
		g_hash_table_remove(p->files, fd);
	g_hash_table_remove_all(p->closing);
}

struct process *process_fork(struct process *parent, u32 thread, u32 pid)
{
	struct ps_event e = process_event(parent, thread, PS_EVENT_FORK);
	struct process *child = process_new(parent->lackey, pid);
	GHashTableIter i;
	gpointer key, value;

	e.other = child->task;
	e.pid = pid;
	e.tid = 1;
	ps_trace_writer_event(parent->lackey->writer, &e);
	child->running = thread;
	add_thread(child, thread, child->task);
	known_copy(&child->known, &parent->known);
	child->stack_known = parent->stack_known;
	child->stack_top = parent->stack_top;
	child->heap_start = parent->heap_start;
	child->heap_end = parent->heap_end;
	g_hash_table_iter_init(&i, parent->files);
	while (g_hash_table_iter_next(&i, &key, &value)) {
		((struct open_file *)value)->references++;
		g_hash_table_insert(child->files, key, value);
	}
	g_hash_table_iter_init(&i, parent->closing);
	while (g_hash_table_iter_next(&i, &key, NULL))
		g_hash_table_add(child->closing, key);
	return child;
}

/* ---- inference ---- */

static void infer_mapping(struct process *p, u64 start, u64 end, u32 prot, u32 flags)
{
	struct ps_event e = process_event(p, p->running, PS_EVENT_MMAP);

	e.vpn = start;
	e.pages = end - start;
	e.prot = prot;
	e.flags = flags | PS_MAP_INFERRED;
	ps_trace_writer_event(p->lackey->writer, &e);
	known_add(&p->known, start, end);
}

void process_infer(struct process *p, u64 vpn, bool fetch)
{
	const u32 rw = PS_PROT_READ | PS_PROT_WRITE;

	if (!fetch && !p->stack_known) {
		u64 low = vpn + 1 > STACK_PAGES ? vpn + 1 - STACK_PAGES : 0;
		u64 gap_start = low, gap_end;

		p->stack_known = true;
		/* A text that begins in the middle may begin with anything: what is mapped around it bounds the guess. */
		while (known_gap(&p->known, low, vpn + 1, &gap_start, &gap_end) && gap_end != vpn + 1)
			low = gap_end;
		if (low < gap_start)
			low = gap_start;
		p->stack_top = vpn + 1;
		infer_mapping(p, low, vpn + 1, rw, PS_MAP_STACK);
		return;
	}
	if (p->stack_top && vpn >= p->stack_top && vpn < p->stack_top + STACK_ABOVE_PAGES) {
		process_infer_range(p, p->stack_top, vpn + 1);
		return;
	}
	infer_mapping(p, vpn, vpn + 1, fetch ? rw | PS_PROT_EXEC : rw, PS_MAP_IMAGE);
}

void process_infer_range(struct process *p, u64 start, u64 end)
{
	u64 gap_start, gap_end;

	while (known_gap(&p->known, start, end, &gap_start, &gap_end)) {
		bool stack = p->stack_top && gap_start == p->stack_top && gap_end <= p->stack_top + STACK_ABOVE_PAGES;

		infer_mapping(p, gap_start, gap_end, PS_PROT_READ | PS_PROT_WRITE, stack ? PS_MAP_STACK : PS_MAP_IMAGE);
		if (stack)
			p->stack_top = gap_end;
		start = gap_end;
	}
}

/* ---- files ---- */

struct open_file *process_file(struct process *p, s64 fd)
{
	return fd < 0 || fd > G_MAXINT ? NULL : g_hash_table_lookup(p->files, GINT_TO_POINTER((int)fd));
}

static void set_file(struct process *p, s64 fd, struct open_file *f, bool close_on_exec)
{
	g_hash_table_insert(p->files, GINT_TO_POINTER((int)fd), f);
	if (close_on_exec)
		g_hash_table_add(p->closing, GINT_TO_POINTER((int)fd));
	else
		g_hash_table_remove(p->closing, GINT_TO_POINTER((int)fd));
}

void process_open(struct process *p, s64 fd, const char *path, bool close_on_exec)
{
	struct open_file *f;

	if (fd < 0 || fd > G_MAXINT)
		return;
	f = g_new0(struct open_file, 1);
	f->path = g_strdup(path);
	f->references = 1;
	set_file(p, fd, f, close_on_exec);
}

void process_dup(struct process *p, s64 from, s64 to, bool close_on_exec)
{
	struct open_file *f = process_file(p, from);

	if (from == to || to < 0 || to > G_MAXINT)
		return;
	if (!f) {
		process_close(p, to);
		return;
	}
	f->references++;
	set_file(p, to, f, close_on_exec);
}

void process_close(struct process *p, s64 fd)
{
	if (fd < 0 || fd > G_MAXINT)
		return;
	g_hash_table_remove(p->files, GINT_TO_POINTER((int)fd));
	g_hash_table_remove(p->closing, GINT_TO_POINTER((int)fd));
}
