/* SPDX-License-Identifier: MIT */
/*
 * Taking pages off their LRU lists, so that nobody else takes them, and putting them back. An isolated page hangs on the
 * isolator's list by page->lru, is counted in nr_isolated_*, and has one reference more, the isolator's. Movable pages
 * outside the LRU (movable.h) come on the same lists, are not counted, and go back to their owner.
 */
#include <pagesim/compound.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/movable.h>
#include <pagesim/page_flags.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

#include "engines/isolate.h"

void count_isolated(struct page *page, long pages)
{
	__mod_node_page_state(page_to_nid(page), page_is_file_lru(page) ? NR_ISOLATED_FILE : NR_ISOLATED_ANON, pages);
}

int isolate_page_for_migration(struct page *page, struct list_head *list)
{
	int error = isolate_lru_page(page);

	ps_charge(this_machine()->costs.lru_ns, PS_TIME_MIGRATE);
	if (error)
		return error;
	list_add_tail(&page->lru, list);
	count_isolated(page, thp_nr_pages(page));
	return 0;
}

void release_isolated_page(struct page *page)
{
	list_del(&page->lru);
	/* The mark stays until the page is freed, also when its owner has given it up. */
	if (likely(!__PageMovable(page)))
		count_isolated(page, -thp_nr_pages(page));
	put_page(page);
}

void putback_movable_pages(struct list_head *list)
{
	struct page *page, *next;

	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		if (unlikely(__PageMovable(page))) {
			putback_movable_page(page);
			continue;
		}
		count_isolated(page, -thp_nr_pages(page));
		putback_lru_page(page);
	}
}
