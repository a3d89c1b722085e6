/* SPDX-License-Identifier: MIT */
/*
 * The part of the flags word that changes as a field: last_cpupid. Other bits of the word change atomically beside it,
 * so it is replaced by compare-and-swap.
 */
#include <pagesim/page.h>

int page_cpupid_xchg_last(struct page *page, int cpupid)
{
	unsigned long old = READ_ONCE(page->flags), flags;

	do {
		flags = old & ~(LAST_CPUPID_MASK << LAST_CPUPID_PGSHIFT);
		flags |= ((unsigned long)cpupid & LAST_CPUPID_MASK) << LAST_CPUPID_PGSHIFT;
	} while (!try_cmpxchg(&page->flags, &old, flags));
	return (int)(old >> LAST_CPUPID_PGSHIFT & LAST_CPUPID_MASK);
}
