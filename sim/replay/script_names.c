/* SPDX-License-Identifier: MIT */
/*
 * Who and where: tasks by name, regions by name and address space (a forked child has its parent's), and the ranges of the
 * language with their sizes known. The k-th region name of a script has the same address in every task.
 */
#include "replay/script_run.h"

#include <string.h>

struct script_actor *script_find_actor(struct script_run *run, const char *name)
{
	guint i;

	for (i = 0; i < run->actors->len; i++) {
		struct script_actor *actor = g_ptr_array_index(run->actors, i);

		if (!strcmp(actor->name, name))
			return actor;
	}
	return NULL;
}

struct script_region *script_find_region(const struct script_space *space, const char *name)
{
	guint i;

	for (i = 0; i < space->regions->len; i++) {
		struct script_region *region = &g_array_index(space->regions, struct script_region, i);

		if (!strcmp(region->name, name))
			return region;
	}
	return NULL;
}

/* Where the k-th region of a script lies: far apart, aligned to a huge page, its first page number 0 modulo 2, 3 and 512. */
static u64 slot_address(struct script_run *run, const char *name)
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

struct script_region *script_set_region(struct script_run *run, const char *name, u64 pages, u64 at)
{
	struct script_space *space = run->actor->space;
	struct script_region *region = script_find_region(space, name);

	if (!region) {
		struct script_region fresh = { .name = g_strdup(name) };

		g_array_append_val(space->regions, fresh);
		region = &g_array_index(space->regions, struct script_region, space->regions->len - 1);
	}
	region->addr = slot_address(run, name);
	region->pages = pages;
	region->at = at;
	return region;
}

struct script_space *script_space_new(const struct script_space *copy)
{
	struct script_space *space = g_new0(struct script_space, 1);
	guint i;

	space->users = 1;
	space->regions = g_array_new(FALSE, FALSE, sizeof(struct script_region));
	space->holds = g_array_new(FALSE, FALSE, sizeof(struct script_hold));
	for (i = 0; copy && i < copy->regions->len; i++) {
		struct script_region region = g_array_index(copy->regions, struct script_region, i);

		region.name = g_strdup(region.name);
		g_array_append_val(space->regions, region);
	}
	return space;
}

void script_space_put(struct script_space *space)
{
	guint i;

	if (--space->users)
		return;
	for (i = 0; i < space->regions->len; i++)
		g_free(g_array_index(space->regions, struct script_region, i).name);
	g_array_free(space->regions, TRUE);
	g_array_free(space->holds, TRUE);
	g_free(space);
}

struct script_actor *script_add_actor(struct script_run *run, const char *name, struct task_struct *task,
				      struct script_space *space)
{
	struct script_actor *actor = g_new0(struct script_actor, 1);

	actor->name = g_strdup(name);
	actor->task = task;
	actor->space = space;
	g_ptr_array_add(run->actors, actor);
	return actor;
}

bool script_check_free_name(struct script_run *run, const char *name)
{
	if (!strcmp(name, "kernel"))
		script_fail(run, "'kernel' is a reserved word");
	else if (script_find_actor(run, name))
		script_fail(run, "task %s exists", name);
	else
		return true;
	return false;
}

/* ---- ranges */

bool script_get_span(struct script_run *run, const struct ps_range *range, struct script_span *ret)
{
	struct script_region *region = script_find_region(run->actor->space, range->name);

	if (!region) {
		script_fail(run, "task %s has no region %s", run->actor->name, range->name);
		return false;
	}
	if (!range->whole && range->end > region->pages) {
		script_fail(run,
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

bool script_get_range(struct script_run *run, struct script_span *ret)
{
	if (run->st->range.is_file) {
		script_fail(run, "expected a region, found the file %s", run->st->range.name);
		return false;
	}
	return script_get_span(run, &run->st->range, ret);
}

long script_each(const struct script_span *span, long (*fn)(void *arg, u64 addr, u64 len), void *arg)
{
	long ret = 0;
	u64 i;

	if (span->step == 1)
		return fn(arg, span->addr, span->n << PAGE_SHIFT);
	for (i = 0; i < span->n && !ret; i++)
		ret = fn(arg, script_span_addr(span, i), PAGE_SIZE);
	return ret;
}
