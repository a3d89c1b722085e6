/* SPDX-License-Identifier: MIT */
/*
 * The mapcounts that need a look at every small page of a compound page. Each is read on its own: while mappings come
 * and go the sum is a moment that may never have been.
 */
#include <pagesim/page_mapcount.h>

#include <pagesim/compound.h>

int total_mapcount(const struct page *page)
{
	unsigned long i, nr;
	int sum;

	page = compound_head(page);
	if (likely(!PageHead(page)))
		return atomic_read(&page->_mapcount) + 1;
	sum = head_compound_mapcount(page);
	if (!(head_nr_pages_mapped(page) & (COMPOUND_MAPPED - 1)))
		return sum;
	nr = compound_nr(page);
	for (i = 0; i < nr; i++)
		sum += atomic_read(&page[i]._mapcount) + 1;
	return sum;
}

bool page_mapped(const struct page *page)
{
	page = compound_head(page);
	if (likely(!PageHead(page)))
		return atomic_read(&page->_mapcount) >= 0;
	return head_compound_mapcount(page) > 0 || head_nr_pages_mapped(page) > 0;
}
