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
 *
 * A process that is still there can be asked for its image (lackey_watch()): then a segment is mapped as a whole, by its file's name,
 * and only what has no file is mapped page by page.
 */
#include "trace/lackey.h"

#include <stdlib.h>
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
	memset(&k->ranges, 0, sizeof(k->ranges));
	forget_slots(k);
}

void known_clear(struct known *k)
{
	k->ranges.n = 0;
	forget_slots(k);
}

void known_destroy(struct known *k)
{
	ps_grow_free(&k->ranges);
}

static struct known_range *range_at(const struct known *k, size_t i)
{
	return (struct known_range *)k->ranges.data + i;
}

/* Index of the first range that ends behind @vpn; the number of ranges when none does. */
static size_t first_behind(const struct known *k, u64 vpn)
{
	size_t low = 0, high = k->ranges.n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (range_at(k, middle)->end > vpn)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

bool known_copy(struct known *to, const struct known *from)
{
	known_clear(to);
	return ps_grow_add_many(&to->ranges, from->ranges.data, from->ranges.n, sizeof(struct known_range));
}

bool known_remove(struct known *k, u64 start, u64 end)
{
	size_t i;

	if (start >= end)
		return true;
	/* A hole in the middle of a range makes two of it. */
	if (!ps_grow_reserve(&k->ranges, 1, sizeof(struct known_range)))
		return false;
	forget_slots(k);
	i = first_behind(k, start);
	while (i < k->ranges.n && range_at(k, i)->start < end) {
		struct known_range r = *range_at(k, i);

		ps_grow_remove(&k->ranges, i, sizeof(r));
		if (r.start < start) {
			struct known_range left = { r.start, start };

			ps_grow_insert(&k->ranges, i, &left, sizeof(left));
			i++;
		}
		if (r.end > end) {
			struct known_range right = { end, r.end };

			ps_grow_insert(&k->ranges, i, &right, sizeof(right));
			break;
		}
	}
	return true;
}

bool known_add(struct known *k, u64 start, u64 end)
{
	struct known_range all = { start, end };
	size_t i;

	if (start >= end)
		return true;
	if (!ps_grow_reserve(&k->ranges, 1, sizeof(all)))
		return false;
	/* The first range that touches or overlaps [start, end): it ends at start or behind. */
	i = start ? first_behind(k, start - 1) : 0;
	while (i < k->ranges.n && range_at(k, i)->start <= end) {
		all.start = MIN(all.start, range_at(k, i)->start);
		all.end = MAX(all.end, range_at(k, i)->end);
		ps_grow_remove(&k->ranges, i, sizeof(all));
	}
	return ps_grow_insert(&k->ranges, i, &all, sizeof(all));
}

bool known_lookup(struct known *k, u64 vpn)
{
	size_t i = first_behind(k, vpn);

	if (i == k->ranges.n || range_at(k, i)->start > vpn)
		return false;
	k->slot[vpn % KNOWN_SLOTS] = vpn;
	return true;
}

bool known_gap(const struct known *k, u64 start, u64 end, u64 *gap_start, u64 *gap_end)
{
	size_t i = first_behind(k, start);

	for (; i < k->ranges.n && range_at(k, i)->start <= start; i++)
		start = range_at(k, i)->end;
	if (start >= end)
		return false;
	*gap_start = start;
	*gap_end = i < k->ranges.n ? MIN(end, range_at(k, i)->start) : end;
	return true;
}

void process_know(struct process *p, u64 start, u64 end)
{
	if (!known_add(&p->known, start, end))
		p->lackey->no_memory = true;
}

void process_forget(struct process *p, u64 start, u64 end)
{
	if (!known_remove(&p->known, start, end))
		p->lackey->no_memory = true;
}

/* ---- what was there when the program began ---- */

static void put_image(struct image *image)
{
	if (!image || --image->references)
		return;
	for (size_t i = 0; i < image->ranges.n; i++)
		ps_free(((struct image_range *)image->ranges.data)[i].path);
	ps_grow_free(&image->ranges);
	ps_free(image);
}

/*
 * A line of /proc/PID/maps: "00108000-0010a000 r--p 00002000 fe:00 248056    /usr/bin/sleep". Valgrind keeps a program's
 * segments as the program's own kernel would.
 * Return: false when it is no file's, nor without any name, or none.
 */
static bool maps_line(const char *line, size_t n, struct image_range *ret_range, const char **ret_path,
		      size_t *ret_length)
{
	const char *end = line + n, *path = memchr(line, '/', n);
	u64 start, behind, offset;
	char *at;

	if (!path)
		path = end;
	if (path == end && memchr(line, '[', n))
		return false;
	start = strtoull(line, &at, 16);
	if (at == line || *at != '-')
		return false;
	behind = strtoull(at + 1, &at, 16);
	if (*at != ' ' || strspn(at + 1, "rwxps-") != 4 || start >= behind)
		return false;
	ret_range->start = start >> PS_TRACE_PAGE_SHIFT;
	ret_range->end = behind >> PS_TRACE_PAGE_SHIFT;
	ret_range->prot = (at[1] == 'r' ? PS_PROT_READ : 0) | (at[2] == 'w' ? PS_PROT_WRITE : 0) |
			  (at[3] == 'x' ? PS_PROT_EXEC : 0);
	offset = strtoull(at + 5, &at, 16);
	if (*at != ' ' || at > path)
		return false;
	ret_range->offset = offset;
	*ret_path = path;
	*ret_length = (size_t)(end - path);
	return true;
}

void process_set_image(struct process *p, const char *maps)
{
	struct image *image;

	put_image(p->image);
	p->image = NULL;
	if (!maps)
		return;
	image = p->image = ps_zalloc(sizeof(*image));
	if (!image) {
		p->lackey->no_memory = true;
		return;
	}
	image->references = 1;
	for (const char *line = maps, *next; *line; line = next) {
		struct image_range r, *before = NULL;
		size_t n = strcspn(line, "\n"), length;
		const char *path;

		next = line + n + (line[n] != 0);
		if (image->ranges.n)
			before = (struct image_range *)image->ranges.data + image->ranges.n - 1;
		if (!maps_line(line, n, &r, &path, &length))
			continue;
		/* Without a file: a program's zeroed data lies directly behind its other data. All else is not the image. */
		if (!length && !(before && before->prot == (PS_PROT_READ | PS_PROT_WRITE) && r.prot == before->prot &&
				 before->end == r.start))
			continue;
		/*
		 * Data whose first part is read-only, without a gap: the loader was faster than we, it protects what it has
		 * relocated. The trace says that when it comes to it.
		 */
		if (length && before && r.prot & PS_PROT_WRITE && before->end == r.start &&
		    !(before->prot & PS_PROT_EXEC) &&
		    before->offset + ((before->end - before->start) << PS_TRACE_PAGE_SHIFT) == r.offset)
			before->prot |= PS_PROT_WRITE;
		r.path = lackey_text(p->lackey, path, length);
		if (!r.path || !ps_grow_add(&image->ranges, &r, sizeof(r))) {
			ps_free(r.path);
			p->lackey->no_memory = true;
			return;
		}
	}
}

static const struct image_range *image_at(const struct process *p, u64 vpn)
{
	const struct image_range *r = p->image ? p->image->ranges.data : NULL;

	for (size_t i = 0; r && i < p->image->ranges.n; i++)
		if (r[i].start <= vpn && vpn < r[i].end)
			return &r[i];
	return NULL;
}

/* ---- processes and threads ---- */

static void put_file(struct open_file *f)
{
	if (!--f->references)
		ps_free(f);
}

static struct thread **threads_of(const struct process *p)
{
	return p->threads.data;
}

static size_t thread_index(const struct process *p, u32 number)
{
	size_t i = 0;

	while (i < p->threads.n && threads_of(p)[i]->number < number)
		i++;
	return i;
}

bool process_has_thread(const struct process *p, u32 number)
{
	size_t i = thread_index(p, number);

	return i < p->threads.n && threads_of(p)[i]->number == number;
}

static struct thread *add_thread(struct process *p, u32 number, u32 task)
{
	struct thread *t = ps_zalloc(sizeof(*t));

	if (!t || !ps_grow_insert(&p->threads, thread_index(p, number), &t, sizeof(t))) {
		ps_free(t);
		p->lackey->no_memory = true;
		t = &p->spare;
	}
	t->number = number;
	t->task = task;
	return t;
}

static void remove_thread(struct process *p, size_t i)
{
	struct thread *t = threads_of(p)[i];

	ps_grow_remove(&p->threads, i, sizeof(t));
	ps_free(t->call.text);
	ps_free(t);
}

struct process *process_alloc(struct ps_lackey *lackey)
{
	struct process *p = ps_zalloc(sizeof(*p));

	if (!p)
		return NULL;
	p->lackey = lackey;
	p->running = 1;
	known_init(&p->known);
	return p;
}

struct process *process_new(struct ps_lackey *lackey, u32 pid)
{
	struct process *p = NULL;

	/* So that it can be entered among the others. */
	if (ps_grow_reserve(&lackey->all, 1, sizeof(p)) && ps_grow_reserve(&lackey->processes, 1, sizeof(p)))
		p = process_alloc(lackey);
	if (!p) {
		lackey->no_memory = true;
		p = lackey->spare;
	}
	p->pid = pid;
	p->task = lackey->tasks++;
	return p;
}

static void forget_files(struct process *p, bool all)
{
	struct descriptor *d = p->files.data;
	size_t kept = 0;

	for (size_t i = 0; i < p->files.n; i++) {
		if (all || d[i].close_on_exec)
			put_file(d[i].file);
		else
			d[kept++] = d[i];
	}
	p->files.n = kept;
}

void process_free(struct process *p)
{
	if (!p)
		return;
	known_destroy(&p->known);
	put_image(p->image);
	ps_free(p->directory);
	forget_files(p, true);
	ps_grow_free(&p->files);
	ps_grow_free(&p->attached);
	while (p->threads.n)
		remove_thread(p, p->threads.n - 1);
	ps_grow_free(&p->threads);
	ps_free(p->spare.call.text);
	ps_free(p);
}

struct ps_event process_event(struct process *p, u32 number, enum ps_event_kind kind)
{
	struct ps_event e = { .kind = kind, .name = "", .time = lackey_time(p->lackey) };

	e.task = process_thread(p, number)->task;
	return e;
}

struct thread *process_thread(struct process *p, u32 number)
{
	struct ps_event e = { .kind = PS_EVENT_THREAD, .name = "", .task = p->task, .pid = p->pid, .tid = number };

	if (process_has_thread(p, number))
		return threads_of(p)[thread_index(p, number)];
	/* The first one to be seen is the one the process began with; all others were made by clone. */
	if (!p->threads.n)
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
	if (process_has_thread(p, number))
		remove_thread(p, thread_index(p, number));
	if (!p->threads.n)
		p->exited = true;
}

/* Ends every thread but @keep, in the order of their numbers. */
static void end_threads(struct process *p, u32 keep)
{
	size_t i = 0;

	while (i < p->threads.n) {
		if (threads_of(p)[i]->number == keep)
			i++;
		else
			process_thread_exit(p, threads_of(p)[i]->number);
	}
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

	end_threads(p, p->running);
	e.name = command;
	ps_trace_writer_event(p->lackey->writer, &e);
	while (p->threads.n)
		remove_thread(p, p->threads.n - 1);
	p->task = task;
	p->running = 1;
	add_thread(p, 1, task);
	known_clear(&p->known);
	process_set_image(p, NULL);
	p->attached.n = 0;
	p->stack_known = false;
	p->stack_top = p->heap_start = p->heap_end = 0;
	forget_files(p, false);
}

struct process *process_fork(struct process *parent, u32 thread, u32 pid)
{
	struct ps_event e = process_event(parent, thread, PS_EVENT_FORK);
	struct process *child = process_new(parent->lackey, pid);
	const struct descriptor *d = parent->files.data;

	e.other = child->task;
	e.pid = pid;
	e.tid = 1;
	ps_trace_writer_event(parent->lackey->writer, &e);
	if (child == parent->lackey->spare)
		return child;
	child->running = thread;
	add_thread(child, thread, child->task);
	child->stack_known = parent->stack_known;
	child->stack_top = parent->stack_top;
	child->heap_start = parent->heap_start;
	child->heap_end = parent->heap_end;
	child->image = parent->image;
	if (child->image)
		child->image->references++;
	if (parent->directory)
		child->directory = lackey_text(parent->lackey, parent->directory, strlen(parent->directory));
	if (!known_copy(&child->known, &parent->known) ||
	    !ps_grow_add_many(&child->attached, parent->attached.data, parent->attached.n, sizeof(struct segment)) ||
	    !ps_grow_add_many(&child->files, d, parent->files.n, sizeof(*d)))
		child->lackey->no_memory = true;
	for (size_t i = 0; i < child->files.n; i++)
		d[i].file->references++;
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
	process_know(p, start, end);
}

/* All of the segment @r around @vpn that is not known. */
static void infer_segment(struct process *p, const struct image_range *r, u64 vpn)
{
	struct ps_event e = process_event(p, p->running, PS_EVENT_MMAP);
	u64 start = r->start, end = r->end;

	while (known_gap(&p->known, start, r->end, &start, &end) && end <= vpn)
		start = end;
	e.vpn = start;
	e.pages = end - start;
	e.prot = r->prot;
	e.flags = PS_MAP_IMAGE | PS_MAP_INFERRED;
	e.name = r->path;
	e.offset = *r->path ? r->offset + ((start - r->start) << PS_TRACE_PAGE_SHIFT) : 0;
	ps_trace_writer_event(p->lackey->writer, &e);
	process_know(p, start, end);
}

void process_infer(struct process *p, u64 vpn, bool fetch)
{
	const u32 rw = PS_PROT_READ | PS_PROT_WRITE;
	const struct image_range *r = image_at(p, vpn);

	if (r) {
		infer_segment(p, r, vpn);
		return;
	}
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
		const struct image_range *r = image_at(p, gap_start);

		if (r) {
			infer_segment(p, r, gap_start);
			if (p->lackey->no_memory)
				return;
			continue;
		}
		r = p->image ? p->image->ranges.data : NULL;
		for (size_t i = 0; r && i < p->image->ranges.n; i++)
			if (r[i].start > gap_start)
				gap_end = MIN(gap_end, r[i].start);
		infer_mapping(p, gap_start, gap_end, PS_PROT_READ | PS_PROT_WRITE, stack ? PS_MAP_STACK : PS_MAP_IMAGE);
		if (stack)
			p->stack_top = gap_end;
		start = gap_end;
	}
}

/* ---- files ---- */

/* Index of descriptor @fd, or of the first behind it. */
static size_t descriptor_index(const struct process *p, s64 fd)
{
	const struct descriptor *d = p->files.data;
	size_t low = 0, high = p->files.n;

	while (low < high) {
		size_t middle = (low + high) / 2;

		if (d[middle].fd >= fd)
			high = middle;
		else
			low = middle + 1;
	}
	return low;
}

static struct descriptor *descriptor(const struct process *p, s64 fd)
{
	size_t i = descriptor_index(p, fd);
	struct descriptor *d = (struct descriptor *)p->files.data + i;

	return i < p->files.n && d->fd == fd ? d : NULL;
}

struct open_file *process_file(struct process *p, s64 fd)
{
	struct descriptor *d = descriptor(p, fd);

	return d ? d->file : NULL;
}

void process_set_close_on_exec(struct process *p, s64 fd, bool close_on_exec)
{
	struct descriptor *d = descriptor(p, fd);

	if (d)
		d->close_on_exec = close_on_exec;
}

/* Takes over a reference to @f. */
static void set_file(struct process *p, s64 fd, struct open_file *f, bool close_on_exec)
{
	struct descriptor new = { .fd = (int)fd, .close_on_exec = close_on_exec, .file = f };

	process_close(p, fd);
	if (!ps_grow_insert(&p->files, descriptor_index(p, fd), &new, sizeof(new))) {
		p->lackey->no_memory = true;
		put_file(f);
	}
}

void process_open(struct process *p, s64 fd, const char *path, bool close_on_exec)
{
	struct open_file *f;

	if (fd < 0 || fd > G_MAXINT)
		return;
	f = ps_zalloc(sizeof(*f) + strlen(path) + 1);
	if (!f) {
		p->lackey->no_memory = true;
		return;
	}
	strcpy(f->path, path);
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
	struct descriptor *d = descriptor(p, fd);

	if (!d)
		return;
	put_file(d->file);
	ps_grow_remove(&p->files, descriptor_index(p, fd), sizeof(*d));
}
