/* SPDX-License-Identifier: MIT */
/*
 * A long-term pin may last as long as its owner lives, and memory in ZONE_MOVABLE has promised to be movable at any time.
 * So what lies there is moved out first:
 *
 *    1. get_user_pages faults the pages in and pins them; new ones come from elsewhere (PF_MEMALLOC_PIN)
 *    2. collect: pages of ZONE_MOVABLE are isolated; with none, the pins stay
 *    3. all pins are dropped, or the engine would find references it knows nothing of
 *    4. the isolated pages are migrated to memory that is not of ZONE_MOVABLE, and 1 begins anew: between 3 and now
 *       anything may have happened to them
 *
 * A page that cannot be isolated has somebody else at it; the next round finds out what became of it. Nothing bounds the
 * rounds, in Linux neither: who moves pages into ZONE_MOVABLE faster than they are pinned keeps a pin from ending.
 */
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/gup.h>
#include <pagesim/lru.h>
#include <pagesim/mem.h>
#include <pagesim/migrate.h>
#include <pagesim/page_flags.h>
#include <pagesim/runtime.h>

#include "engines/longterm_pin.h"

/* May a pin of this page last? Fidelity: exact without CMA and device memory, is_longterm_pinnable_page(). */
static bool longterm_pinnable(struct page *page)
{
	return is_zero_page(page) || page_zonenum(page) != ZONE_MOVABLE;
}

/* Return: how many pages may not stay pinned; those that could be isolated are on the list. Fidelity: exact. */
static unsigned long collect_longterm_unpinnable_pages(struct list_head *list, unsigned long nr, struct page **pages)
{
	unsigned long i, collected = 0;
	struct page *head, *before = NULL;
	bool drained = false;

	for (i = 0; i < nr; i++) {
		head = compound_head(pages[i]);
		if (head == before)
			continue;
		before = head;
		if (longterm_pinnable(head))
			continue;
		collected++;
		if (!PageLRU(head) && !drained) {
			lru_add_drain_all();
			drained = true;
		}
		isolate_page_for_migration(head, list);
	}
	return collected;
}

int check_and_migrate_movable_pages(unsigned long nr, struct page **pages, unsigned int flags)
{
	struct migration_target_control mtc = { .nid = NUMA_NO_NODE, .gfp_mask = GFP_USER | __GFP_NOWARN };
	unsigned long i;
	LIST_HEAD(list);
	int error = -EAGAIN;

	if (!collect_longterm_unpinnable_pages(&list, nr, pages))
		return 0;
	for (i = 0; i < nr; i++)
		put_user_page(pages[i], flags, false);
	if (!list_empty(&list) &&
	    migrate_pages(&list, alloc_migration_target, NULL, &mtc, MIGRATE_SYNC, MR_LONGTERM_PIN, NULL))
		error = -ENOMEM;
	putback_movable_pages(&list);
	return error;
}
