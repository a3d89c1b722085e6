/* SPDX-License-Identifier: MIT */
/*
 * What the engines keep for a machine, and the named sets of rules they can work by. A new generation is a line in the table.
 */
#include <pagesim/migrate.h>

#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/balloon.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/split.h>

#include "engines/longterm_pin.h"

static const struct migrate_recipe generations[] = {
	{ .name = "6.1",
	  .what = "page by page, ten passes, one TLB flush per mapping",
	  .passes = 10,
	  .force_after = 2 },
	{ .name = "6.3-batch",
	  .what = "batches of 512 pages with one TLB flush; asynchronous first, stragglers one by one",
	  .passes = 10,
	  .force_after = 2,
	  .batch = true,
	  .batch_pages = 512,
	  .async_passes = 3,
	  .sync_passes = 7 },
};

const struct migrate_recipe *ps_generation_find(const char *name)
{
	unsigned int i;

	if (!name)
		return &generations[0];
	for (i = 0; i < ARRAY_SIZE(generations); i++)
		if (!strcmp(generations[i].name, name))
			return &generations[i];
	return NULL;
}

const struct migrate_recipe *ps_generation_at(unsigned int i)
{
	return i < ARRAY_SIZE(generations) ? &generations[i] : NULL;
}

static const char *const failure_names[PS_NR_MIGRATE_FAILURES] = {
	[PS_FAIL_NO_MEMORY] = "no memory on target",
	[PS_FAIL_LOCKED] = "page locked",
	[PS_FAIL_WRITEBACK] = "under writeback",
	[PS_FAIL_MAPPED] = "not unmapped (pinned)",
	[PS_FAIL_REFERENCES] = "extra references",
	[PS_FAIL_BUFFERS] = "buffers busy",
	[PS_FAIL_OTHER] = "other",
};

const char *ps_migrate_failure_name(enum ps_migrate_failure failure)
{
	return (unsigned int)failure < PS_NR_MIGRATE_FAILURES ? failure_names[failure] : "?";
}

static int hook_split_page(struct page *page)
{
	return split_huge_page(page);
}

int ps_engines_init(struct ps_machine *machine)
{
	machine->engines = ps_zalloc(sizeof(*machine->engines));
	if (!machine->engines)
		return -ENOMEM;
	machine->engines->recipe = ps_generation_find(NULL);
	if (machine->files)
		machine->files->hooks.split_page = hook_split_page;
	if (machine->faults)
		machine->faults->migrate_movable = check_and_migrate_movable_pages;
	register_deferred_split_shrinker(&machine->engines->deferred_split_shrinker);
	return 0;
}

void ps_engines_destroy(struct ps_machine *machine)
{
	ps_balloon_destroy(machine);
	if (machine->engines)
		unregister_shrinker(&machine->engines->deferred_split_shrinker);
	ps_free(machine->engines);
	machine->engines = NULL;
}
