/* SPDX-License-Identifier: MIT */
/*
 * check_machine(): the census first, then each check against it, then the validators the lower layers have of their own
 * structures (memory M1 to M9, files).
 */
#include <pagesim/check.h>

#include <pagesim/alloc.h>
#include <pagesim/inode.h>
#include <pagesim/lock.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page.h>
#include <pagesim/runtime.h>

#include "check/census.h"

static const char *const texts[] = {
#define PS_INVARIANT_TEXT(number, text) [number] = text,
	PS_INVARIANTS(PS_INVARIANT_TEXT)
#undef PS_INVARIANT_TEXT
};

const char *ps_invariant_text(int number)
{
	return number > 0 && number < (int)ARRAY_SIZE(texts) ? texts[number] : NULL;
}

static void check_memory(struct census *c)
{
	struct ps_mem_fault faults[PS_MAX_VIOLATIONS];
	int nr = ps_mem_check(c->machine, faults, PS_MAX_VIOLATIONS), i;

	for (i = 0; i < nr && i < PS_MAX_VIOLATIONS; i++)
		violation(c, 8, faults[i].page ? page_to_pfn(faults[i].page) : U64_MAX, "memory: %s", faults[i].text);
	if (nr < 0)
		c->out_of_memory = true;
}

static void check_files(struct census *c)
{
	char why[200] = "";

	if (c->machine->files && !ps_files_validate(c->machine->files, why, sizeof(why)))
		violation(c, 17, U64_MAX, "files: %s", why);
}

/* The locks of tasks that are at rest. What the lock checker cannot tell (it may be off) the mmap_locks can. */
static void check_locks(struct census *c)
{
	struct task_struct *task;
	struct mm_struct *mm;

	if (c->settings->busy)
		return;
	for (task = ps_task_next(current->rt, NULL); task; task = ps_task_next(current->rt, task))
		if (ps_locks_held(task))
			violation(c, 18, U64_MAX, "task %s holds %u locks", task->comm, ps_locks_held(task));
	list_for_each_entry(mm, &c->machine->mms->list, mmlist)
		if (rwsem_is_locked(&mm->mmap_lock))
			violation(c, 18, U64_MAX, "mm %u: mmap_lock is held", mm->pt.asid);
}

int check_machine(struct ps_machine *machine, const struct ps_check_settings *settings, struct ps_check_report *report)
{
	static const struct ps_check_settings at_rest;
	struct census c = { .machine = machine, .settings = settings ? settings : &at_rest, .report = report };

	report->nr = 0;
	census_take(&c);
	census_owned(&c);
	check_pages(&c);
	check_rmap(&c);
	check_tlbs(&c);
	check_memory(&c);
	check_files(&c);
	check_swap(&c);
	check_locks(&c);
	ps_free(c.table);
	ps_free(c.swap_users);
	return c.out_of_memory ? -ENOMEM : (int)report->nr;
}
