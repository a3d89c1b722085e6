/* SPDX-License-Identifier: MIT */
/*
 * What happens when the last reference goes, one page at a time or many; and pins.
 */
#include <pagesim/page_ref.h>

#include <pagesim/compound.h>
#include <pagesim/lru.h>
#include <pagesim/page_alloc.h>

void __put_page(struct page *page)
{
	__page_cache_release(page);
	if (PageHead(page))
		destroy_compound_page(page);
	else
		free_unref_page(page, 0);
}

void release_pages(struct page **pages, int nr)
{
	struct lruvec *locked = NULL;
	LIST_HEAD(to_free);
	int i;

	for (i = 0; i < nr; i++) {
		struct page *page = compound_head(pages[i]);

		if (!put_page_testzero(page))
			continue;
		if (PageHead(page)) {
			if (locked)
				spin_unlock(&locked->lru_lock);
			locked = NULL;
			__put_page(page);
			continue;
		}
		if (PageLRU(page)) {
			struct lruvec *lruvec = page_lruvec(page);

			if (lruvec != locked) {
				if (locked)
					spin_unlock(&locked->lru_lock);
				spin_lock(&lruvec->lru_lock);
				locked = lruvec;
			}
			del_page_from_lru_list(page, lruvec);
			__clear_page_lru_flags(page);
		}
		/* Unmapping under truncation and munlock can miss each other. */
		if (unlikely(PageMlocked(page))) {
			__ClearPageMlocked(page);
			mod_zone_page_state(page_zone(page), NR_MLOCK, -1);
			count_vm_event(UNEVICTABLE_PGCLEARED);
		}
		list_add(&page->lru, &to_free);
	}
	if (locked)
		spin_unlock(&locked->lru_lock);
	free_unref_page_list(&to_free);
}

bool page_pin(struct page *page, int refs)
{
	page = compound_head(page);
	if (WARN_ON_ONCE(page_ref_count(page) <= 0))
		return false;
	if (PageHead(page)) {
		page_ref_add(page, refs);
		atomic_add(refs, compound_pincount_ptr(page));
	} else {
		page_ref_add(page, refs * GUP_PIN_COUNTING_BIAS);
	}
	/* The pin is visible before the caller looks at the page table again; pairs with the test before sharing a page. */
	smp_mb__after_atomic();
	mod_node_page_state(page_to_nid(page), NR_FOLL_PIN_ACQUIRED, refs);
	return true;
}

void page_unpin(struct page *page, int refs)
{
	page = compound_head(page);
	mod_node_page_state(page_to_nid(page), NR_FOLL_PIN_RELEASED, refs);
	if (PageHead(page))
		atomic_sub(refs, compound_pincount_ptr(page));
	else
		refs *= GUP_PIN_COUNTING_BIAS;
	put_page_refs(page, refs);
}
