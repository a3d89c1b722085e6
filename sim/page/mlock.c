/* SPDX-License-Identifier: MIT */
/*
 * Pages of mlocked VMAs: PG_mlocked and NR_MLOCK change at once, where a page belongs on the LRU is settled in batches.
 * An unevictable page counts in mlock_count (in the place of its list links) how many mlocked VMAs map it; the count is
 * a hint that can be too low, and reclaim corrects a page that was taken for munlocked too early.
 *
 * A batch holds three kinds of work, told apart by the low bits of the page's address:
 *     LRU_PAGE  mlock_page(): the page is on the LRU (or will be): make it unevictable, or count one more
 *     NEW_PAGE  mlock_new_page(): the page is on no list yet: add it, unevictable
 *     neither   munlock_page(): count one less; at 0 it is evictable again
 *
 * Locking: as lru.c.
 * Source: Linux 6.1 mm/mlock.c (behaviour).
 */
#include <pagesim/lru.h>

#include <pagesim/mem.h>

#include "page/buddy.h"
#include "page/lru_batch.h"

#define LRU_PAGE 0x1UL
#define NEW_PAGE 0x2UL

static struct page *mlock_mark(struct page *page, unsigned long mark)
{
	return (struct page *)((unsigned long)page | mark);
}

static struct lruvec *__mlock_page(struct page *page, struct lruvec *lruvec)
{
	/* Isolated: whoever puts it back sees PG_mlocked. */
	if (!TestClearPageLRU(page))
		return lruvec;
	lruvec = page_lruvec_relock(page, lruvec);

	if (unlikely(page_evictable(page))) {
		/* Munlocked again already. */
		if (PageUnevictable(page)) {
			del_page_from_lru_list(page, lruvec);
			ClearPageUnevictable(page);
			add_page_to_lru_list(page, lruvec);
			__count_vm_events(UNEVICTABLE_PGRESCUED, thp_nr_pages(page));
		}
	} else if (PageUnevictable(page)) {
		if (PageMlocked(page))
			page->mlock_count++;
	} else {
		del_page_from_lru_list(page, lruvec);
		ClearPageActive(page);
		SetPageUnevictable(page);
		page->mlock_count = PageMlocked(page);
		add_page_to_lru_list(page, lruvec);
		__count_vm_events(UNEVICTABLE_PGCULLED, thp_nr_pages(page));
	}
	SetPageLRU(page);
	return lruvec;
}

static struct lruvec *__mlock_new_page(struct page *page, struct lruvec *lruvec)
{
	VM_BUG_ON_PAGE(PageLRU(page), page);
	lruvec = page_lruvec_relock(page, lruvec);
	if (likely(!page_evictable(page))) {
		SetPageUnevictable(page);
		page->mlock_count = PageMlocked(page);
		__count_vm_events(UNEVICTABLE_PGCULLED, thp_nr_pages(page));
	}
	add_page_to_lru_list(page, lruvec);
	SetPageLRU(page);
	return lruvec;
}

static struct lruvec *__munlock_page(struct page *page, struct lruvec *lruvec)
{
	long nr = thp_nr_pages(page);
	bool isolated = TestClearPageLRU(page);

	if (isolated) {
		lruvec = page_lruvec_relock(page, lruvec);
		if (PageUnevictable(page)) {
			if (page->mlock_count)
				page->mlock_count--;
			if (page->mlock_count)
				goto out;
		}
	}
	/* On no list: take it for the last munlock; reclaim mends it if it was not. */
	if (TestClearPageMlocked(page)) {
		mod_zone_page_state(page_zone(page), NR_MLOCK, -nr);
		if (isolated || !PageUnevictable(page))
			__count_vm_events(UNEVICTABLE_PGMUNLOCKED, nr);
		else
			__count_vm_events(UNEVICTABLE_PGSTRANDED, nr);
	}
	/* Mlocked is cleared before Unevictable is looked at: pairs with lru_add_fn. */
	if (isolated && PageUnevictable(page) && page_evictable(page)) {
		del_page_from_lru_list(page, lruvec);
		ClearPageUnevictable(page);
		add_page_to_lru_list(page, lruvec);
		__count_vm_events(UNEVICTABLE_PGRESCUED, nr);
	}
out:
	if (isolated)
		SetPageLRU(page);
	return lruvec;
}

/** **Context:** the batch's lock. */
static void mlock_flush(struct page_batch *batch)
{
	struct lruvec *lruvec = NULL;
	unsigned int i;

	for (i = 0; i < batch->nr; i++) {
		unsigned long word = (unsigned long)batch->pages[i];
		struct page *page = (struct page *)(word & ~(LRU_PAGE | NEW_PAGE));

		batch->pages[i] = page;
		if (word & LRU_PAGE)
			lruvec = __mlock_page(page, lruvec);
		else if (word & NEW_PAGE)
			lruvec = __mlock_new_page(page, lruvec);
		else
			lruvec = __munlock_page(page, lruvec);
	}
	if (lruvec)
		spin_unlock(&lruvec->lru_lock);
	release_pages(batch->pages, (int)batch->nr);
	ps_show(batch->nr, 0);
}

static void mlock_batch_add(struct page *page, unsigned long mark)
{
	struct lru_batches *cpu = this_cpu_batches();
	struct page_batch *batch = &cpu->mlock;

	get_page(page);
	spin_lock(&cpu->lock);
	batch->pages[batch->nr] = mlock_mark(page, mark);
	ps_show(batch->nr, batch->nr + 1);
	if (batch->nr == PAGEVEC_SIZE || PageHead(page) || lru_cache_disabled())
		mlock_flush(batch);
	spin_unlock(&cpu->lock);
}

void mlock_page(struct page *page)
{
	if (!TestSetPageMlocked(page)) {
		long nr = thp_nr_pages(page);

		mod_zone_page_state(page_zone(page), NR_MLOCK, nr);
		__count_vm_events(UNEVICTABLE_PGMLOCKED, nr);
	}
	mlock_batch_add(page, LRU_PAGE);
}

void mlock_new_page(struct page *page)
{
	long nr = thp_nr_pages(page);

	SetPageMlocked(page);
	mod_zone_page_state(page_zone(page), NR_MLOCK, nr);
	__count_vm_events(UNEVICTABLE_PGMLOCKED, nr);
	mlock_batch_add(page, NEW_PAGE);
}

void munlock_page(struct page *page)
{
	/* PG_mlocked is cleared when the batch is flushed: it takes mlock_count to know whether this was the last. */
	mlock_batch_add(page, 0);
}

bool need_mlock_page_drain(int cpu)
{
	return ps_glance(this_mem()->batches[cpu].mlock.nr) != 0;
}

void mlock_page_drain_cpu(int cpu)
{
	struct lru_batches *b = &this_mem()->batches[cpu];

	spin_lock(&b->lock);
	if (b->mlock.nr)
		mlock_flush(&b->mlock);
	spin_unlock(&b->lock);
}

void mlock_page_drain_local(void)
{
	mlock_page_drain_cpu(ps_current->cpu);
}
