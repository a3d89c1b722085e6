/* SPDX-License-Identifier: MIT */
/*
 * The interpreter of the trace language. A table says for each verb which function executes it and whether it prints its
 * return value; a verb without a function is not in this build and says so.
 *
 * Names live here and nowhere below: tasks by name, regions by name and address space (a forked child has its parent's),
 * files by path. The k-th region name of a script has the same address in every task.
 *
 * After every statement the per-CPU LRU batches are drained and the watched counters compared with what they were, as the
 * recorder on the real kernel did.
 */
#include <pagesim/script.h>

#include <string.h>

#include <pagesim/check.h>
#include <pagesim/compound.h>
#include <pagesim/errname.h>
#include <pagesim/fault.h>
#include <pagesim/gup.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/mem.h>
#include <pagesim/mempolicy.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mmap.h>
#include <pagesim/mmzone.h>
#include <pagesim/page_ref.h>
#include <pagesim/shrinker.h>
#include <pagesim/split.h>
#include <pagesim/trace_text.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#include "replay/look.h"

/* ---- who and where */

struct region {
	char *name;
	u64 addr;
	u64 pages;
	u64 at; /* file offset of its first page, in pages */
};

/* The regions of one address space; shared by its threads. */
struct space {
	GArray *regions; /* of struct region */
	GArray *holds;   /* of struct hold: pipes and rings belong to the process, whichever thread made them */
	unsigned int users;
};

/* What `get` and `pin` hold. */
struct hold {
	unsigned int flags;
	u64 addr, n, step;
	struct page **pages;
	unsigned long nr;
};

struct actor {
	char *name;
	struct task_struct *task;
	struct space *space;
	bool thread;
};

struct run {
	const struct ps_script *script;
	const struct ps_script_settings *settings;
	struct ps_world *world;
	GPtrArray *actors;            /* of struct actor, living ones */
	GPtrArray *slots;             /* region names in order of first use */
	GString *out;                 /* lines of the statement being executed */
	struct ps_vmstat last, since; /* counters at the last statement, at the last `kernel vmstat` */
	bool no_autodrain;
	GError *error; /* set: the script ends here */
	const struct ps_statement *st;
	struct actor *actor; /* who executes it, NULL for the kernel */
};

#define SCRIPT_ERROR (g_quark_from_static_string("pagesim-script"))

static void G_GNUC_PRINTF(2, 3) fail(struct run *run, const char *format, ...)
{
	va_list args;
	char *message;

	if (run->error)
		return;
	va_start(args, format);
	message = g_strdup_vprintf(format, args);
	va_end(args);
	run->error = g_error_new(SCRIPT_ERROR, 0, "%s:%u: %s", run->script->name, run->st->line, message);
	g_free(message);
}

static struct actor *find_actor(struct run *run, const char *name)
{
	guint i;

	for (i = 0; i < run->actors->len; i++) {
		struct actor *actor = g_ptr_array_index(run->actors, i);

		if (!strcmp(actor->name, name))
			return actor;
	}
	return NULL;
}

static struct region *find_region(const struct space *space, const char *name)
{
	guint i;

	for (i = 0; i < space->regions->len; i++) {
		struct region *region = &g_array_index(space->regions, struct region, i);

		if (!strcmp(region->name, name))
			return region;
	}
	return NULL;
}

/* Where the k-th region of a script lies: far apart, aligned to a huge page, its first page number 0 modulo 2, 3 and 512. */
static u64 slot_address(struct run *run, const char *name)
{
	unsigned int bits = run->world->machine->pt_bits;
	guint i;

	for (i = 0; i < run->slots->len; i++)
		if (!strcmp(g_ptr_array_index(run->slots, i), name))
			break;
	if (i == run->slots->len)
		g_ptr_array_add(run->slots, g_strdup(name));
	if (bits == 9)
		return 0x100000000000ULL + (u64)i * 0x180000000ULL;
	/* A small address space: sixteen slots of three quarters of a top-level entry's share. */
	return (u64)(i + 1) << (PAGE_SHIFT + 4 * bits - 4);
}

static struct region *set_region(struct run *run, const char *name, u64 pages, u64 at)
{
	struct space *space = run->actor->space;
	struct region *region = find_region(space, name);

	if (!region) {
		struct region fresh = { .name = g_strdup(name) };

		g_array_append_val(space->regions, fresh);
		region = &g_array_index(space->regions, struct region, space->regions->len - 1);
	}
	region->addr = slot_address(run, name);
	region->pages = pages;
	region->at = at;
	return region;
}

static struct space *space_new(const struct space *copy)
{
	struct space *space = g_new0(struct space, 1);
	guint i;

	space->users = 1;
	space->regions = g_array_new(FALSE, FALSE, sizeof(struct region));
	space->holds = g_array_new(FALSE, FALSE, sizeof(struct hold));
	for (i = 0; copy && i < copy->regions->len; i++) {
		struct region region = g_array_index(copy->regions, struct region, i);

		region.name = g_strdup(region.name);
		g_array_append_val(space->regions, region);
	}
	return space;
}

static void space_put(struct space *space)
{
	guint i;

	if (--space->users)
		return;
	for (i = 0; i < space->regions->len; i++)
		g_free(g_array_index(space->regions, struct region, i).name);
	g_array_free(space->regions, TRUE);
	g_array_free(space->holds, TRUE);
	g_free(space);
}

static struct actor *add_actor(struct run *run, const char *name, struct task_struct *task, struct space *space)
{
	struct actor *actor = g_new0(struct actor, 1);

	actor->name = g_strdup(name);
	actor->task = task;
	actor->space = space;
	g_ptr_array_add(run->actors, actor);
	return actor;
}

/* ---- ranges */

/* A range of the language with its sizes known. */
struct span {
	const char *name;
	u64 addr;  /* of the first page */
	u64 first; /* its number in the region or file */
	u64 n;     /* pages named */
	u64 step;
	u64 at; /* file offset of the region */
};

static u64 span_addr(const struct span *span, u64 i)
{
	return span->addr + ((i * span->step) << PAGE_SHIFT);
}

static bool get_span(struct run *run, const struct ps_range *range, struct span *ret)
{
	struct region *region = find_region(run->actor->space, range->name);

	if (!region) {
		fail(run, "task %s has no region %s", run->actor->name, range->name);
		return false;
	}
	if (!range->whole && range->end > region->pages) {
		fail(run,
		     "bad range '%s[%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT
		     "]': %s has pages 0 to %" G_GUINT64_FORMAT,
		     range->name, range->first, range->end, range->name, region->pages);
		return false;
	}
	ret->name = range->name;
	ret->first = range->whole ? 0 : range->first;
	ret->step = range->whole ? 1 : range->step;
	ret->n = ps_range_pages(range, region->pages);
	ret->addr = region->addr + (ret->first << PAGE_SHIFT);
	ret->at = region->at;
	return true;
}

static bool get_range(struct run *run, struct span *ret)
{
	if (run->st->range.is_file) {
		fail(run, "expected a region, found the file %s", run->st->range.name);
		return false;
	}
	return get_span(run, &run->st->range, ret);
}

static void append_run(GString *out, const char *prefix, u64 first, u64 last, u64 step)
{
	if (first == last)
		g_string_append_printf(out, "%s[%" G_GUINT64_FORMAT "]", prefix, first);
	else if (step == 1)
		g_string_append_printf(out, "%s[%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "]", prefix, first, last + 1);
	else
		g_string_append_printf(out, "%s[%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT ":%" G_GUINT64_FORMAT "]",
				       prefix, first, last + step, step);
}

/* Calls fn for the whole range, or for each page of one with a step until one fails. */
static long each(const struct span *span, long (*fn)(void *arg, u64 addr, u64 len), void *arg)
{
	long ret = 0;
	u64 i;

	if (span->step == 1)
		return fn(arg, span->addr, span->n << PAGE_SHIFT);
	for (i = 0; i < span->n && !ret; i++)
		ret = fn(arg, span_addr(span, i), PAGE_SIZE);
	return ret;
}

/* ---- verbs; each returns what the system call returns */

static struct mm_struct *mm_of(struct run *run)
{
	return run->actor->task->mm;
}

static bool check_free_name(struct run *run, const char *name)
{
	if (!strcmp(name, "kernel"))
		fail(run, "'kernel' is a reserved word");
	else if (find_actor(run, name))
		fail(run, "task %s exists", name);
	else
		return true;
	return false;
}

static long v_fork(struct run *run)
{
	struct task_struct *task;
	struct space *space;
	long error;

	if (!check_free_name(run, run->st->name))
		return 0;
	if (run->st->verb == PS_VERB_THREAD) {
		error = ps_world_thread(run->world, run->st->name, &task);
		if (error)
			return error;
		space = run->actor->space;
		space->users++;
	} else {
		error = ps_world_fork(run->world, run->st->name, &task);
		if (error)
			return error;
		space = space_new(run->actor->space);
	}
	add_actor(run, run->st->name, task, space)->thread = run->st->verb == PS_VERB_THREAD;
	return 0;
}

static long v_cpu(struct run *run)
{
	if (run->st->number >= run->world->machine->nr_cpus)
		return -EINVAL;
	run->actor->task->cpu = (int)run->st->number;
	return 0;
}

/* The whole process drops them: the C library does so for every thread. */
static long v_unprivileged(struct run *run)
{
	guint i;

	for (i = 0; i < run->actors->len; i++) {
		struct actor *other = g_ptr_array_index(run->actors, i);

		if (other->space == run->actor->space)
			other->task->unprivileged = true;
	}
	return 0;
}

/* Opens a file for reading and writing; what a privileged task made (mode 644) only such a task may write. */
static int open_file(struct run *run, const char *path, bool create, bool write, struct inode **ret)
{
	int error = ps_file_open(run->world->machine->files, path, create, ret);

	if (!error && write && current->unprivileged && !(*ret)->unprivileged) {
		iput(*ret);
		*ret = NULL;
		error = -EACCES;
	}
	return error;
}

static unsigned int mm_prot(u32 prot)
{
	return (prot & PS_PROT_READ ? MM_PROT_READ : 0) | (prot & PS_PROT_WRITE ? MM_PROT_WRITE : 0);
}

static long v_mmap(struct run *run)
{
	const struct ps_statement *st = run->st;
	struct space *space = run->actor->space;
	struct region *old = find_region(space, st->name), before = { 0 };
	struct inode *inode = NULL;
	unsigned int flags = MM_MAP_FIXED_NOREPLACE;
	struct region *region;
	long error = 0;

	if (old)
		before = *old;
	region = set_region(run, st->name, st->bytes >> PAGE_SHIFT, st->number);
	if (st->map & PS_MAP_SHARED)
		flags |= MM_MAP_SHARED;
	if (st->map & PS_MAP_POPULATE)
		flags |= MM_MAP_POPULATE;
	if (st->path) {
		error = open_file(run, st->path, true, true, &inode);
		if (!error)
			file_extend(inode, (st->number << PAGE_SHIFT) + st->bytes);
	}
	if (!error)
		error = do_mmap(mm_of(run), region->addr, st->bytes, mm_prot(st->prot), flags, inode, st->number);
	if (inode)
		iput(inode);
	if (error) {
		if (before.name) {
			*region = before;
		} else {
			g_free(region->name);
			g_array_set_size(space->regions, space->regions->len - 1);
		}
	}
	return error;
}

static long v_reserve(struct run *run)
{
	set_region(run, run->st->name, run->st->bytes >> PAGE_SHIFT, 0);
	return 0;
}

static long munmap_one(void *mm, u64 addr, u64 len)
{
	return do_munmap(mm, addr, len);
}

static long mlock_one(void *mm, u64 addr, u64 len)
{
	return do_mlock(mm, addr, len);
}

static long munlock_one(void *mm, u64 addr, u64 len)
{
	return do_munlock(mm, addr, len);
}

static long v_range(struct run *run)
{
	struct span span;

	if (!get_range(run, &span))
		return 0;
	switch (run->st->verb) {
	case PS_VERB_MUNMAP:
		return each(&span, munmap_one, mm_of(run));
	case PS_VERB_MLOCK:
		return each(&span, mlock_one, mm_of(run));
	default:
		return each(&span, munlock_one, mm_of(run));
	}
}

static long mprotect_one(void *opaque, u64 addr, u64 len)
{
	struct run *run = opaque;

	return do_mprotect(mm_of(run), addr, len, mm_prot(run->st->prot));
}

static long v_mprotect(struct run *run)
{
	struct span span;

	return get_range(run, &span) ? each(&span, mprotect_one, run) : 0;
}

static long v_mremap(struct run *run)
{
	struct region *from, *to;
	struct span span, dest;
	long error;

	if (!get_range(run, &span) || !get_span(run, &run->st->other, &dest))
		return 0;
	error = do_mremap(mm_of(run), span.addr, span.n << PAGE_SHIFT, dest.addr);
	if (!error) {
		/* File pages keep their numbers in the new region. */
		from = find_region(run->actor->space, span.name);
		to = find_region(run->actor->space, dest.name);
		if (from->at || to->at)
			to->at = from->at + span.first - dest.first;
	}
	return error;
}

static const struct {
	int word;
	enum ps_madvice advice;
} advices[] = {
	{ PS_ADVICE_DONTNEED, PS_MADV_DONTNEED },
	{ PS_ADVICE_HUGEPAGE, PS_MADV_HUGEPAGE },
	{ PS_ADVICE_NOHUGEPAGE, PS_MADV_NOHUGEPAGE },
	{ PS_ADVICE_REMOVE, PS_MADV_REMOVE },
	{ PS_ADVICE_POPULATE_READ, PS_MADV_POPULATE_READ },
	{ PS_ADVICE_POPULATE_WRITE, PS_MADV_POPULATE_WRITE },
	{ PS_ADVICE_WILLNEED, PS_MADV_WILLNEED },
	{ PS_ADVICE_DONTFORK, PS_MADV_DONTFORK },
	{ PS_ADVICE_DOFORK, PS_MADV_DOFORK },
	{ PS_ADVICE_COLD, PS_MADV_COLD },
	{ PS_ADVICE_FREE, PS_MADV_FREE },
	{ PS_ADVICE_COLLAPSE, PS_MADV_COLLAPSE },
};

struct madvise_arg {
	struct mm_struct *mm;
	enum ps_madvice advice;
};

static long madvise_one(void *opaque, u64 addr, u64 len)
{
	struct madvise_arg *arg = opaque;

	return do_madvise(arg->mm, addr, len, arg->advice);
}

static long v_madvise(struct run *run)
{
	struct madvise_arg arg = { .mm = mm_of(run) };
	struct span span;
	unsigned int i;

	if (!get_range(run, &span))
		return 0;
	for (i = 0; i < ARRAY_SIZE(advices); i++)
		if (advices[i].word == run->st->advice)
			break;
	if (i == ARRAY_SIZE(advices)) {
		fail(run, "madvise %s is not in this build yet", ps_advice_word(run->st->advice));
		return 0;
	}
	arg.advice = advices[i].advice;
	return each(&span, madvise_one, &arg);
}

static void get_nodes(const struct ps_node_list *list, nodemask_t *ret)
{
	u32 i;

	nodes_clear(*ret);
	for (i = 0; i < list->n; i++)
		if (list->node[i] >= 0 && list->node[i] < MAX_NUMNODES)
			node_set(list->node[i], *ret);
}

static int policy_mode(struct run *run)
{
	switch (run->st->policy.mode) {
	case PS_POLICY_BIND:
		return MPOL_BIND;
	case PS_POLICY_PREFERRED:
		return MPOL_PREFERRED;
	case PS_POLICY_INTERLEAVE:
		return MPOL_INTERLEAVE;
	case PS_POLICY_WEIGHTED:
		fail(run, "policy weighted is not in this build yet");
		return MPOL_DEFAULT;
	default:
		return MPOL_DEFAULT;
	}
}

static long v_mempolicy(struct run *run)
{
	int mode = policy_mode(run);
	nodemask_t nodes;

	if (run->error)
		return 0;
	get_nodes(&run->st->policy.nodes, &nodes);
	return set_mempolicy((enum mempolicy_mode)mode, &nodes);
}

struct mbind_arg {
	struct mm_struct *mm;
	int mode;
	nodemask_t nodes;
	unsigned int flags;
};

static long mbind_one(void *opaque, u64 addr, u64 len)
{
	struct mbind_arg *arg = opaque;

	return ps_mbind(arg->mm, addr, len, arg->mode, &arg->nodes, arg->flags);
}

static long v_mbind(struct run *run)
{
	struct mbind_arg arg = { .mm = mm_of(run), .mode = policy_mode(run) };
	struct span span;

	if (run->error || !get_range(run, &span))
		return 0;
	get_nodes(&run->st->policy.nodes, &arg.nodes);
	if (run->st->bind & PS_BIND_STRICT)
		arg.flags |= MPOL_MF_STRICT;
	if (run->st->bind & PS_BIND_MOVE)
		arg.flags |= MPOL_MF_MOVE;
	if (run->st->bind & PS_BIND_MOVE_ALL)
		arg.flags |= MPOL_MF_MOVE_ALL;
	return each(&span, mbind_one, &arg);
}

/* The word a store writes: of its value and of the page's number. Never the token of an untouched page, which is 0. */
static u64 word_of(u64 value, u64 page)
{
	u64 x = (value + 1) * 0x9E3779B97F4A7C15ULL ^ (page + 1) * 0xC2B2AE3D27D4EB4FULL;

	return x ? x : 1;
}

static void print_result(struct run *run, long ret)
{
	if (ret < 0)
		g_string_append_printf(run->out, "  = -%s\n", ps_errno_name((int)-ret));
	else
		g_string_append_printf(run->out, "  = %ld\n", ret);
}

static long v_touch(struct run *run)
{
	const struct ps_statement *st = run->st;
	bool write = st->verb == PS_VERB_STORE;
	struct ps_access access;
	struct span span;
	long wrong = 0;
	int error = 0;
	u64 i;

	if (!get_range(run, &span))
		return 0;
	for (i = 0; i < span.n; i++) {
		u64 number = span.at + span.first + i * span.step, word = word_of(st->value, number);

		error = ps_mmu_access(span_addr(&span, i), write, &access);
		if (error)
			break;
		if (write)
			page_word_write(pfn_to_page(access.pfn), word);
		else if (st->verb == PS_VERB_CHECK)
			wrong += page_word_read(pfn_to_page(access.pfn)) != word;
		ps_charge(ps_access_ns(run->world->machine, numa_node_id(), access.nid, write), PS_TIME_ACCESS);
	}
	if (error == -ENOMEM) {
		fail(run, "task %s was killed: out of memory", run->actor->name);
	} else if (error) {
		g_string_append(run->out, "  = -EFAULT\n  fault: ");
		append_run(run->out, "", span.first + i * span.step, span.first + i * span.step, 1);
		g_string_append(run->out, error == -ENXIO ? " SIGBUS\n" : " SIGSEGV\n");
	} else if (st->verb == PS_VERB_CHECK) {
		print_result(run, wrong);
	}
	return 0;
}

static void append_status(GString *out, const char *prefix, const struct ps_move *moves, const struct span *span)
{
	u64 start = 0, i;

	for (i = 1; i <= span->n; i++) {
		if (i < span->n && moves[i].status == moves[start].status)
			continue;
		g_string_append_c(out, ' ');
		append_run(out, prefix, span->first + start * span->step, span->first + (i - 1) * span->step,
			   span->step);
		if (moves[start].status == PS_STATUS_UNSET)
			g_string_append(out, "=unset");
		else if (moves[start].status < 0)
			g_string_append_printf(out, "=-%s", ps_errno_name(-moves[start].status));
		else
			g_string_append_printf(out, "=%d", moves[start].status);
		start = i;
	}
}

static long v_move_pages(struct run *run)
{
	const struct ps_statement *st = run->st;
	bool query = st->verb == PS_VERB_STATUS;
	GArray *moves = g_array_new(FALSE, FALSE, sizeof(struct ps_move));
	struct span *spans = g_new(struct span, st->n_items);
	u64 base = 0;
	long ret = 0;
	u32 i;

	for (i = 0; i < st->n_items && !run->error; i++) {
		u64 k;

		if (!get_span(run, &st->items[i].range, &spans[i]))
			break;
		for (k = 0; k < spans[i].n; k++) {
			struct ps_move move = { .addr = span_addr(&spans[i], k),
						.node = st->items[i].node,
						.status = PS_STATUS_UNSET };

			g_array_append_val(moves, move);
		}
	}
	if (!run->error) {
		struct ps_move *array = (struct ps_move *)(void *)moves->data;

		ret = ps_move_pages(mm_of(run), array, moves->len, query, st->all);
		print_result(run, ret);
		g_string_append(run->out, "  status:");
		for (i = 0; i < st->n_items; i++) {
			append_status(run->out, st->n_items > 1 ? spans[i].name : "", array + base, &spans[i]);
			base += spans[i].n;
		}
		g_string_append_c(run->out, '\n');
	}
	g_free(spans);
	g_array_free(moves, TRUE);
	return ret;
}

static long v_migrate_pages(struct run *run)
{
	nodemask_t from, to;

	get_nodes(&run->st->nodes, &from);
	get_nodes(&run->st->to_nodes, &to);
	return ps_migrate_pages(mm_of(run), &from, &to);
}

static long v_split(struct run *run)
{
	struct span span;

	if (!get_range(run, &span))
		return 0;
	if (run->st->number) {
		fail(run, "splitting to order %" G_GUINT64_FORMAT " is not in this build yet: order 0 only",
		     run->st->number);
		return 0;
	}
	split_huge_pages_range(mm_of(run), span.addr, span.addr + (span.n << PAGE_SHIFT));
	return 0;
}

static long v_clear_refs(struct run *run)
{
	return clear_soft_dirty(mm_of(run));
}

/* ---- holds */

static void hold_drop(struct hold *hold)
{
	unsigned long i;

	for (i = 0; i < hold->nr; i++)
		put_user_page(hold->pages[i], hold->flags, false); /* neither io_uring nor a pipe marks it dirty */
	g_free(hold->pages);
}

static void holds_drop_all(struct space *space)
{
	while (space->holds->len) {
		hold_drop(&g_array_index(space->holds, struct hold, space->holds->len - 1));
		g_array_set_size(space->holds, space->holds->len - 1);
	}
}

/*
 * A buffer of a disk file cannot be registered: a device would dirty it behind its file system's back. That is found out
 * only when all its pages are there and pinned. (io_pin_pages)
 */
static bool pins_disk_file(struct mm_struct *mm, u64 addr, u64 nr)
{
	bool found = false;

	mmap_read_lock(mm);
	for (; nr && !found; nr--, addr += PAGE_SIZE) {
		struct vm_area_struct *vma = vma_lookup(mm, addr);

		found = vma && vma->vm_mapping && file_wants_mkwrite(vma->vm_mapping->host);
	}
	mmap_read_unlock(mm);
	return found;
}

static long v_hold(struct run *run)
{
	bool pin = run->st->verb == PS_VERB_PIN;
	struct hold hold = { .flags = pin ? FOLL_PIN | FOLL_WRITE | FOLL_LONGTERM : FOLL_GET };
	struct span span;
	long got = 0, refused = 0;
	u64 i, wanted;

	if (!get_range(run, &span))
		return 0;
	/* The references lie in a pipe. Only privileges make one larger than 256 pages; it then stays as made, 16 pages. */
	wanted = !pin && current->unprivileged && span.n > 256 ? 16 : span.n;
	hold.addr = span.addr;
	hold.n = span.n;
	hold.step = span.step;
	hold.pages = g_new(struct page *, span.n);
	if (span.step == 1) {
		got = get_user_pages(mm_of(run), span.addr, wanted, hold.flags, hold.pages);
		hold.nr = got > 0 ? (unsigned long)got : 0;
		if (pin && hold.nr == span.n && pins_disk_file(mm_of(run), span.addr, span.n))
			refused = -EOPNOTSUPP;
	} else {
		for (i = 0; i < wanted; i++) {
			got = get_user_pages(mm_of(run), span_addr(&span, i), 1, hold.flags, hold.pages + i);
			if (got != 1)
				break;
			hold.nr++;
			if (pin && pins_disk_file(mm_of(run), span_addr(&span, i), 1)) {
				refused = -EOPNOTSUPP;
				break;
			}
		}
		got = hold.nr ? (long)hold.nr : got;
	}
	/* A buffer is registered whole or not at all; a pipe takes what it gets. */
	if (refused || (pin && hold.nr < span.n)) {
		long error = refused ? refused : got < 0 ? got : -EFAULT;

		hold_drop(&hold);
		return error;
	}
	if (got <= 0) {
		g_free(hold.pages);
		return got;
	}
	g_array_append_val(run->actor->space->holds, hold);
	return pin ? 0 : got;
}

static long v_unhold(struct run *run)
{
	unsigned int kind = run->st->verb == PS_VERB_UNPIN ? FOLL_PIN : FOLL_GET;
	struct span span;
	guint i;

	if (!get_range(run, &span))
		return 0;
	for (i = run->actor->space->holds->len; i-- > 0;) {
		struct hold *hold = &g_array_index(run->actor->space->holds, struct hold, i);

		if ((hold->flags & kind) && hold->addr == span.addr && hold->n == span.n && hold->step == span.step) {
			hold_drop(hold);
			g_array_remove_index(run->actor->space->holds, i);
			return 0;
		}
	}
	return -EINVAL;
}

/* ---- looking */

static long v_show(struct run *run)
{
	GString *now = g_string_new(NULL), *before = g_string_new(NULL);
	struct span span;
	u64 start = 0, i;

	if (!get_range(run, &span))
		goto out;
	for (i = 0; i <= span.n; i++) {
		g_string_truncate(now, 0);
		if (i < span.n)
			look_describe(now, mm_of(run), span_addr(&span, i));
		if (i && (i == span.n || strcmp(now->str, before->str))) {
			g_string_append(run->out, "  ");
			append_run(run->out, "", span.first + start * span.step, span.first + (i - 1) * span.step,
				   span.step);
			g_string_append_printf(run->out, " %s\n", before->str);
			start = i;
		}
		g_string_assign(before, now->str);
	}
out:
	g_string_free(now, TRUE);
	g_string_free(before, TRUE);
	return 0;
}

static long v_smaps(struct run *run)
{
	struct span span;

	if (!get_range(run, &span))
		return 0;
	g_string_append(run->out, "  ");
	look_smaps(run->out, mm_of(run), span.addr, span.addr + (span.n << PAGE_SHIFT));
	g_string_append_c(run->out, '\n');
	return 0;
}

/* ---- files */

static bool get_file(struct run *run, bool create, struct inode **ret, struct span *span, long *error)
{
	const struct ps_range *range = &run->st->range;

	if (!range->is_file) {
		fail(run, "expected a file, found the region %s", range->name);
		return false;
	}
	*error = open_file(run, range->name, create, run->st->verb != PS_VERB_PREAD, ret);
	if (*error)
		return false;
	span->name = range->name;
	span->first = range->whole ? 0 : range->first;
	span->step = range->whole ? 1 : range->step;
	span->n = ps_range_pages(range, i_size_pages(*ret));
	return true;
}

static long v_file(struct run *run)
{
	const struct ps_statement *st = run->st;
	struct ps_page_source source;
	struct inode *inode;
	struct span span;
	long ret = 0;
	u64 i, word;

	if (!get_file(run, st->verb == PS_VERB_PWRITE, &inode, &span, &ret))
		return ret;
	ps_vma_page_source(NULL, &source);
	switch (st->verb) {
	case PS_VERB_PWRITE:
		for (i = 0; i < span.n; i++, ret++) {
			u64 number = span.first + i * span.step;
			int error = file_write_page(inode, number, word_of(st->value, number), &source);

			if (error) {
				ret = error;
				break;
			}
		}
		break;
	case PS_VERB_PREAD:
		for (i = 0; i < span.n; i++, ret++) {
			int got = file_read_page(inode, span.first + i * span.step, &word, &source);

			if (got <= 0) {
				ret = got < 0 ? got : ret;
				break;
			}
		}
		break;
	case PS_VERB_FSYNC:
		ret = file_fsync(inode);
		break;
	case PS_VERB_TRUNCATE:
		ret = file_truncate(inode, st->number << PAGE_SHIFT);
		break;
	default:
		ret = file_fadvise_dontneed(inode, span.first, span.n ? span.first + span.n - 1 : span.first);
		break;
	}
	iput(inode);
	return ret;
}

/* ---- the kernel's verbs */

static long k_drain(struct run *run)
{
	(void)run;
	lru_add_drain_all();
	return 0;
}

static long k_drop_caches(struct run *run)
{
	if (run->st->number & 1)
		ps_files_drop_pagecache(run->world->machine->files);
	if (run->st->number & 2)
		drop_slab();
	return 0;
}

static long k_nodes(struct run *run)
{
	struct ps_machine *machine = run->world->machine;
	unsigned int nid, to, cpu;

	for (nid = 0; nid < machine->nr_nodes; nid++) {
		bool first = true;

		g_string_append_printf(run->out, "  node%u: %luM cpus=", nid,
				       (unsigned long)(machine->nodes[nid].present_pages >> (20 - PAGE_SHIFT)));
		for (cpu = 0; cpu < machine->nr_cpus; cpu++)
			if (machine->cpus[cpu].node == (nid_t)nid) {
				g_string_append_printf(run->out, "%s%u", first ? "" : ",", cpu);
				first = false;
			}
		g_string_append(run->out, first ? "- distance=" : " distance=");
		for (to = 0; to < machine->nr_nodes; to++)
			g_string_append_printf(run->out, "%s%d", to ? "," : "", node_distance((nid_t)nid, (nid_t)to));
		g_string_append_c(run->out, '\n');
	}
	return 0;
}

static void print_counters(struct run *run, const struct ps_vmstat *now, const struct ps_vmstat *before)
{
	struct ps_vmstat delta;
	char text[4096];

	ps_vmstat_delta(now, before, &delta);
	if (ps_vmstat_format_watched(text, sizeof(text), &delta) > 0)
		g_string_append_printf(run->out, "  vmstat:%s\n", text);
}

static long k_vmstat(struct run *run)
{
	struct ps_vmstat now;

	ps_vmstat_snapshot(run->world->stats, NUMA_NO_NODE, &now);
	print_counters(run, &now, &run->since);
	run->since = now;
	return 0;
}

static long k_set(struct run *run)
{
	struct ps_faults *faults = run->world->machine->faults;
	const char *name = run->st->name, *word = run->st->word;

	if (!strcmp(name, "autodrain")) {
		run->no_autodrain = !strcmp(word, "0");
	} else if (!strcmp(name, "thp_enabled")) {
		if (!strcmp(word, "always"))
			faults->thp_enabled = THP_ALWAYS;
		else if (!strcmp(word, "madvise"))
			faults->thp_enabled = THP_MADVISE;
		else if (!strcmp(word, "never"))
			faults->thp_enabled = THP_NEVER;
		else
			return -EINVAL;
	} else if (!strcmp(name, "use_zero_page")) {
		faults->no_zero_page = !strcmp(word, "0");
	} else {
		fail(run, "setting '%s' is not in this build yet", name);
	}
	return 0;
}

/* ---- the table */

enum verb_print {
	PRINT_RET,   /* the return value, always */
	PRINT_ERROR, /* only if it failed */
	PRINT_OWN,   /* the verb prints what it prints */
};

static const struct {
	long (*execute)(struct run *run);
	enum verb_print print;
} verbs[PS_VERBS] = {
	[PS_VERB_FORK] = { v_fork, PRINT_ERROR },
	[PS_VERB_THREAD] = { v_fork, PRINT_ERROR },
	[PS_VERB_CPU] = { v_cpu, PRINT_ERROR },
	[PS_VERB_UNPRIVILEGED] = { v_unprivileged, PRINT_ERROR },
	[PS_VERB_MMAP] = { v_mmap, PRINT_RET },
	[PS_VERB_RESERVE] = { v_reserve, PRINT_ERROR },
	[PS_VERB_MUNMAP] = { v_range, PRINT_RET },
	[PS_VERB_MLOCK] = { v_range, PRINT_RET },
	[PS_VERB_MUNLOCK] = { v_range, PRINT_RET },
	[PS_VERB_MPROTECT] = { v_mprotect, PRINT_RET },
	[PS_VERB_MREMAP] = { v_mremap, PRINT_RET },
	[PS_VERB_MADVISE] = { v_madvise, PRINT_RET },
	[PS_VERB_MEMPOLICY] = { v_mempolicy, PRINT_RET },
	[PS_VERB_MBIND] = { v_mbind, PRINT_RET },
	[PS_VERB_LOAD] = { v_touch, PRINT_OWN },
	[PS_VERB_STORE] = { v_touch, PRINT_OWN },
	[PS_VERB_CHECK] = { v_touch, PRINT_OWN },
	[PS_VERB_PREAD] = { v_file, PRINT_RET },
	[PS_VERB_PWRITE] = { v_file, PRINT_RET },
	[PS_VERB_FSYNC] = { v_file, PRINT_RET },
	[PS_VERB_TRUNCATE] = { v_file, PRINT_RET },
	[PS_VERB_FADVISE] = { v_file, PRINT_RET },
	[PS_VERB_GET] = { v_hold, PRINT_RET },
	[PS_VERB_PIN] = { v_hold, PRINT_RET },
	[PS_VERB_PUT] = { v_unhold, PRINT_RET },
	[PS_VERB_UNPIN] = { v_unhold, PRINT_RET },
	[PS_VERB_MOVE_PAGES] = { v_move_pages, PRINT_OWN },
	[PS_VERB_STATUS] = { v_move_pages, PRINT_OWN },
	[PS_VERB_MIGRATE_PAGES] = { v_migrate_pages, PRINT_RET },
	[PS_VERB_SPLIT] = { v_split, PRINT_RET },
	[PS_VERB_CLEAR_REFS] = { v_clear_refs, PRINT_ERROR },
	[PS_VERB_SHOW] = { v_show, PRINT_OWN },
	[PS_VERB_SMAPS] = { v_smaps, PRINT_OWN },
	[PS_VERB_KERNEL_DRAIN] = { k_drain, PRINT_ERROR },
	[PS_VERB_KERNEL_DROP_CACHES] = { k_drop_caches, PRINT_ERROR },
	[PS_VERB_KERNEL_NODES] = { k_nodes, PRINT_OWN },
	[PS_VERB_KERNEL_VMSTAT] = { k_vmstat, PRINT_OWN },
	[PS_VERB_KERNEL_SET] = { k_set, PRINT_ERROR },
};

/* start and exit make and unmake the very task that would execute them. */
static void execute_start(struct run *run)
{
	const char *name = run->st->subject;
	struct task_struct *task;

	if (!check_free_name(run, name))
		return;
	if (run->st->number >= run->world->machine->nr_cpus) {
		fail(run, "no CPU %" G_GUINT64_FORMAT ": the machine has CPUs 0 to %u", run->st->number,
		     run->world->machine->nr_cpus - 1);
		return;
	}
	task = ps_world_start(run->world, name, (int)run->st->number);
	if (!task)
		fail(run, "out of memory");
	else
		add_actor(run, name, task, space_new(NULL));
}

static void exit_actor(struct run *run, struct actor *actor)
{
	ps_task_enter(actor->task);
	if (!actor->thread)
		holds_drop_all(actor->space);
	ps_task_leave();
	ps_world_exit(run->world, actor->task);
	space_put(actor->space);
	g_free(actor->name);
	g_ptr_array_remove(run->actors, actor);
	g_free(actor);
}

static void execute_exit(struct run *run, struct actor *actor)
{
	struct space *space = actor->space;
	bool whole = !actor->thread;
	guint i;

	exit_actor(run, actor);
	/* When a process ends, so do its threads. */
	for (i = run->actors->len; whole && i-- > 0;) {
		struct actor *other = g_ptr_array_index(run->actors, i);

		if (other->space == space)
			exit_actor(run, other);
	}
}

static void execute_verb(struct run *run, struct task_struct *task)
{
	enum ps_verb verb = run->st->verb;
	long ret;

	if (!verbs[verb].execute) {
		fail(run, "verb '%s' is not in this build yet", ps_verb_word(verb));
		return;
	}
	ps_task_enter(task);
	if (!run->no_autodrain && verbs[verb].print == PRINT_OWN)
		lru_add_drain_all();
	ret = verbs[verb].execute(run);
	ps_task_leave();
	if (run->error)
		return;
	if (verbs[verb].print == PRINT_RET || (verbs[verb].print == PRINT_ERROR && ret < 0))
		print_result(run, ret);
}

static void execute(struct run *run)
{
	const struct ps_statement *st = run->st;
	enum ps_subject subject = ps_verb_subject(st->verb);

	run->actor = NULL;
	if (st->racer || subject == PS_SUBJECT_SCRIPT) {
		if (st->verb != PS_VERB_MACHINE)
			fail(run, "'%s' is not in this build yet", st->racer ? "race" : ps_verb_word(st->verb));
		return;
	}
	if (subject == PS_SUBJECT_KERNEL) {
		execute_verb(run, run->world->boot);
		return;
	}
	if (st->verb == PS_VERB_START) {
		execute_start(run);
		return;
	}
	run->actor = find_actor(run, st->subject);
	if (!run->actor)
		fail(run, "no task %s: expected the name of a started task or 'kernel'", st->subject);
	else if (st->verb == PS_VERB_EXIT)
		execute_exit(run, run->actor);
	else
		execute_verb(run, run->actor->task);
}

static void flush(struct run *run)
{
	if (run->settings->print && run->out->len)
		run->settings->print(run->settings->arg, run->out->str, run->out->len);
	g_string_truncate(run->out, 0);
}

static void settle(struct run *run)
{
	ps_task_enter(run->world->boot);
	if (!run->no_autodrain)
		lru_add_drain_all();
	ps_task_leave();
}

/* References that `get` and `pin` hold, as check_machine() must know them. */
static long held_refs(void *opaque, const struct page *page)
{
	struct run *run = opaque;
	long refs = 0;
	guint i, k;

	for (i = 0; i < run->actors->len; i++) {
		struct actor *actor = g_ptr_array_index(run->actors, i);
		GArray *holds = actor->space->holds;

		for (k = 0; !actor->thread && k < holds->len; k++) {
			struct hold *hold = &g_array_index(holds, struct hold, k);
			unsigned long n;

			for (n = 0; n < hold->nr; n++)
				if (compound_head(hold->pages[n]) == page)
					refs += (hold->flags & FOLL_PIN) && !PageCompound(page) ? GUP_PIN_COUNTING_BIAS
												: 1;
		}
	}
	return refs;
}

static void check(struct run *run)
{
	struct ps_check_settings settings = { .busy = run->no_autodrain, .extra_refs = held_refs, .arg = run };
	struct ps_check_report report;
	int found;

	ps_task_enter(run->world->boot);
	found = check_machine(run->world->machine, &settings, &report);
	ps_task_leave();
	if (found > 0)
		fail(run, "invariant I%d (%s) does not hold: %s%s", report.violation[0].invariant,
		     ps_invariant_text(report.violation[0].invariant), report.violation[0].text,
		     found > 1 ? " (and more)" : "");
	else if (found < 0)
		fail(run, "out of memory while checking");
}

/* Return: false to stop. */
static bool run_statement(struct run *run)
{
	struct ps_vmstat now;

	g_string_append_printf(run->out, "> %s\n", run->st->text);
	execute(run);
	if (run->error) {
		g_string_append_printf(run->out, "%s\n", run->error->message);
		return false;
	}
	settle(run);
	ps_vmstat_snapshot(run->world->stats, NUMA_NO_NODE, &now);
	if (run->st->verb != PS_VERB_KERNEL_VMSTAT)
		print_counters(run, &now, &run->last);
	run->last = now;
	if (run->settings->check)
		check(run);
	if (run->error) {
		g_string_append_printf(run->out, "%s\n", run->error->message);
		return false;
	}
	flush(run);
	return !run->settings->after || run->settings->after(run->settings->arg, run->world, run->st->line);
}

bool ps_script_run(const struct ps_script *script, const struct ps_machine_spec *spec,
		   const struct ps_script_settings *settings, GError **error)
{
	static const struct ps_script_settings defaults;
	struct ps_world_settings world = { .contents = PS_CONTENTS_TAG };
	struct run run = { .script = script, .settings = settings ? settings : &defaults };
	int failed;
	u32 i;

	world.generation = run.settings->generation;
	world.runtime.seed = run.settings->seed;
	failed = ps_world_new(spec, &world, &run.world);
	if (failed) {
		g_set_error(error, SCRIPT_ERROR, 0, "%s: cannot build the machine: %s", script->name,
			    failed == -ENOMEM ? "out of memory" : "no such machine or generation");
		return false;
	}
	/* A script begins with the settings of the guest the transcripts were recorded on. */
	run.world->machine->files->tmpfs_huge = SHMEM_HUGE_ADVISE;
	run.world->machine->files->shmem_enabled = SHMEM_HUGE_ADVISE;
	run.actors = g_ptr_array_new();
	run.slots = g_ptr_array_new_with_free_func(g_free);
	run.out = g_string_new(NULL);
	ps_vmstat_snapshot(run.world->stats, NUMA_NO_NODE, &run.last);
	run.since = run.last;

	for (i = 0; i < script->n; i++) {
		run.st = &script->statements[i];
		if (!run_statement(&run))
			break;
	}
	if (!run.error && i == script->n && script->error) {
		g_string_append_printf(run.out, "> %s\n%s\n", script->error_text, script->error->message);
		run.error = g_error_copy(script->error);
	}
	flush(&run);
	while (run.actors->len)
		exit_actor(&run, g_ptr_array_index(run.actors, run.actors->len - 1));
	ps_world_free(run.world);
	g_ptr_array_free(run.actors, TRUE);
	g_ptr_array_free(run.slots, TRUE);
	g_string_free(run.out, TRUE);
	if (run.error) {
		g_propagate_error(error, run.error);
		return false;
	}
	return true;
}
