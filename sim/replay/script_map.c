/* SPDX-License-Identifier: MIT */
/*
 * The words about an address space: mmap, munmap, mprotect, mremap, madvise, mlock. A range with a step is one call a page,
 * stopping at the first that fails.
 */
#include "replay/script_run.h"

#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/mmap.h>

static unsigned int mm_prot(u32 prot)
{
	return (prot & PS_PROT_READ ? MM_PROT_READ : 0) | (prot & PS_PROT_WRITE ? MM_PROT_WRITE : 0);
}

long verb_mmap(struct script_run *run)
{
	const struct ps_statement *st = run->st;
	struct script_space *space = run->actor->space;
	struct script_region *old = script_find_region(space, st->name), before = { 0 };
	struct inode *inode = NULL;
	unsigned int flags = MM_MAP_FIXED_NOREPLACE;
	struct script_region *region;
	long error = 0;

	if (old)
		before = *old;
	region = script_set_region(run, st->name, st->bytes >> PAGE_SHIFT, st->number);
	if (st->map & PS_MAP_SHARED)
		flags |= MM_MAP_SHARED;
	if (st->map & PS_MAP_POPULATE)
		flags |= MM_MAP_POPULATE;
	if (st->path) {
		error = script_open_file(run, st->path, true, true, &inode);
		if (!error)
			file_extend(inode, (st->number << PAGE_SHIFT) + st->bytes);
	}
	if (!error)
		error = do_mmap(script_mm(run), region->addr, st->bytes, mm_prot(st->prot), flags, inode, st->number);
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

long verb_reserve(struct script_run *run)
{
	script_set_region(run, run->st->name, run->st->bytes >> PAGE_SHIFT, 0);
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

/* A call that takes nothing but the range. */
static long on_range(struct script_run *run, long (*one)(void *mm, u64 addr, u64 len))
{
	struct script_span span;

	return script_get_range(run, &span) ? script_each(&span, one, script_mm(run)) : 0;
}

long verb_munmap(struct script_run *run)
{
	return on_range(run, munmap_one);
}

long verb_mlock(struct script_run *run)
{
	return on_range(run, mlock_one);
}

long verb_munlock(struct script_run *run)
{
	return on_range(run, munlock_one);
}

static long mprotect_one(void *opaque, u64 addr, u64 len)
{
	struct script_run *run = opaque;

	return do_mprotect(script_mm(run), addr, len, mm_prot(run->st->prot));
}

long verb_mprotect(struct script_run *run)
{
	struct script_span span;

	return script_get_range(run, &span) ? script_each(&span, mprotect_one, run) : 0;
}

long verb_mremap(struct script_run *run)
{
	struct script_region *from, *to;
	struct script_span span, dest;
	long error;

	if (!script_get_range(run, &span) || !script_get_span(run, &run->st->other, &dest))
		return 0;
	error = do_mremap(script_mm(run), span.addr, span.n << PAGE_SHIFT, dest.addr);
	if (!error) {
		/* File pages keep their numbers in the new region. */
		from = script_find_region(run->actor->space, span.name);
		to = script_find_region(run->actor->space, dest.name);
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
	{ PS_ADVICE_PAGEOUT, PS_MADV_PAGEOUT },
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

long verb_madvise(struct script_run *run)
{
	struct madvise_arg arg = { .mm = script_mm(run) };
	struct script_span span;
	unsigned int i;

	if (!script_get_range(run, &span))
		return 0;
	for (i = 0; i < ARRAY_SIZE(advices); i++)
		if (advices[i].word == run->st->advice)
			break;
	if (i == ARRAY_SIZE(advices)) {
		script_fail(run, "madvise %s is not in this build yet", ps_advice_word(run->st->advice));
		return 0;
	}
	arg.advice = advices[i].advice;
	return script_each(&span, madvise_one, &arg);
}

long verb_clear_refs(struct script_run *run)
{
	return clear_soft_dirty(script_mm(run));
}
