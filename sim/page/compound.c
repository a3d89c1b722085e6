/* SPDX-License-Identifier: MIT */
/*
 * Making and destroying compound pages, and the queue of THPs waiting to be split.
 *
 * The allocator gives a page its first reference and then makes it compound, as Linux does: who finds the frame by its
 * number may hold a reference while the tails are still being written, and has to look at what it got after that.
 * free_pages_prepare (page_alloc.c) takes the tails apart again.
 *
 * Locking: split_queue_lock is taken by the last reference's holder, so it ranks inside everything a page may be put
 * under.
 * Source: Linux 6.1 mm/page_alloc.c, mm/huge_memory.c (behaviour).
 */
#include <pagesim/compound.h>

#include <pagesim/page_alloc.h>

void prep_compound_page(struct page *page, unsigned int order)
{
	unsigned long i, nr = 1UL << order;

	VM_BUG_ON_PAGE(!order, page);
	__SetPageHead(page);
	for (i = 1; i < nr; i++) {
		struct page *tail = page + i;

		tail->mapping = TAIL_MAPPING;
		set_page_private(tail, 0);
		set_compound_head(tail, page);
	}
	set_compound_page_dtor(page, COMPOUND_PAGE_DTOR);
	page[1].compound_order = (unsigned char)order;
	page[1].compound_nr = (unsigned int)nr;
	atomic_set(compound_mapcount_ptr(page), -1);
	atomic_set(compound_pincount_ptr(page), 0);
	page[1].nr_pages_mapped = 0;
}

void prep_transhuge_page(struct page *page)
{
	VM_BUG_ON_PAGE(compound_order(page) < 2, page);
	INIT_LIST_HEAD(page_deferred_list(page));
	set_compound_page_dtor(page, TRANSHUGE_PAGE_DTOR);
}

static void free_compound_page(struct page *page)
{
	free_unref_page(page, compound_order(page));
}

bool deferred_split_take(struct page *page)
{
	struct deferred_split *queue = get_deferred_split_queue(page);
	bool queued;

	spin_lock(&queue->split_queue_lock);
	queued = !list_empty(page_deferred_list(page));
	if (queued) {
		queue->split_queue_len--;
		list_del_init(page_deferred_list(page));
	}
	spin_unlock(&queue->split_queue_lock);
	return queued;
}

void deferred_split_return(struct page *page)
{
	struct deferred_split *queue = get_deferred_split_queue(page);

	spin_lock(&queue->split_queue_lock);
	list_add_tail(page_deferred_list(page), &queue->split_queue);
	queue->split_queue_len++;
	spin_unlock(&queue->split_queue_lock);
}

static void free_transhuge_page(struct page *page)
{
	deferred_split_take(page);
	free_compound_page(page);
}

void destroy_compound_page(struct page *page)
{
	switch (page[1].compound_dtor) {
	case COMPOUND_PAGE_DTOR:
		free_compound_page(page);
		break;
	case TRANSHUGE_PAGE_DTOR:
		free_transhuge_page(page);
		break;
	default:
		VM_BUG_ON_PAGE(true, page);
	}
}

void deferred_split_huge_page(struct page *page)
{
	struct deferred_split *queue = get_deferred_split_queue(page);

	VM_BUG_ON_PAGE(!PageTransHuge(page), page);
	if (PageSwapCache(page))
		return;
	if (!list_empty(page_deferred_list(page)))
		return;
	spin_lock(&queue->split_queue_lock);
	if (list_empty(page_deferred_list(page))) {
		count_vm_event(THP_DEFERRED_SPLIT_PAGE);
		list_add_tail(page_deferred_list(page), &queue->split_queue);
		queue->split_queue_len++;
	}
	spin_unlock(&queue->split_queue_lock);
}
