/* SPDX-License-Identifier: MIT */
/*
 * Advice about how soon memory may be reclaimed: MADV_FREE (its contents are worth nothing unless written again), MADV_COLD
 * (it will not be used soon) and MADV_PAGEOUT (reclaim it now). All look at each page of the range that nobody else maps, and
 * split a huge page of which only a part is advised; if it cannot be split, the rest of its table is left alone.
 *
 * MADV_FREE and MADV_COLD leave the page mapped. MADV_FREE makes entry and page clean and takes PG_swapbacked away: reclaim
 * may then drop the page as long as nobody has written to it; what is in swap already is given up. MADV_PAGEOUT isolates the
 * pages of a table and, with the table unlocked, hands them to reclaim.
 */
#include "fault/madvise.h"

#include <pagesim/address_space.h>
#include <pagesim/compound.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>

#include "fault/vm_fault.h"

/* The split and reclaim engines are a higher layer; they have told the cache how to reach them. */
static int split_page_hook(struct page *page)
{
	struct ps_files *files = this_machine()->files;

	return files && files->hooks.split_page ? files->hooks.split_page(page) : -EBUSY;
}

static void reclaim_hook(struct list_head *list)
{
	struct ps_files *files = this_machine()->files;
	struct page *page, *next;

	if (files && files->hooks.reclaim_pages) {
		files->hooks.reclaim_pages(list);
		return;
	}
	list_for_each_entry_safe(page, next, list, lru) {
		list_del(&page->lru);
		putback_lru_page(page);
	}
}

static void isolate(struct page *page, struct list_head *list)
{
	if (isolate_lru_page(page))
		return;
	if (PageUnevictable(page))
		putback_lru_page(page);
	else
		list_add(&page->lru, list);
}

/* Not needed any more, and in swap. Context: its page-table lock. */
static void free_swap_pte(struct mm_struct *mm, pte_t *ptep)
{
	swp_entry_t entry = pte_to_swp_entry(*ptep);

	if (non_swap_entry(entry))
		return;
	add_mm_counter(mm, MM_SWAPENTS, -1);
	free_swap_and_cache(entry);
	set_pte_at(ptep, __pte(0));
}

/* What to do with one page that is ours alone. Context: its page-table lock. */
static void free_pte(pte_t *ptep, struct page *page)
{
	pte_t pte = *ptep;

	if (PageSwapCache(page) || PageDirty(page)) {
		if (!trylock_page(page))
			return;
		if (page_mapcount(page) != 1 || (PageSwapCache(page) && !try_to_free_swap(page))) {
			unlock_page(page);
			return;
		}
		ClearPageDirty(page);
		unlock_page(page);
	}
	if (pte_young(pte) || pte_dirty(pte)) {
		pte = ptep_get_and_clear(ptep);
		set_pte_at(ptep, pte_mkclean(pte_mkold(pte)));
	}
	mark_page_lazyfree(page);
}

/* @list: where MADV_PAGEOUT collects, NULL: MADV_COLD. */
static void cold_pte(pte_t *ptep, struct page *page, struct list_head *list)
{
	if (!PageLRU(page) || page_mapcount(page) != 1)
		return;
	ptep_test_and_clear_young(ptep);
	ClearPageReferenced(page);
	if (list)
		isolate(page, list);
	else
		deactivate_page(page);
}

/*
 * A huge page mapped by PTEs, found at addr. Context: *ptlp held; dropped and taken again.
 * Return: true if it was split: look at addr again; false: leave the rest of the table.
 */
static bool split_for(struct page_tables *pt, pmd_t *pmd, u64 addr, struct page *page, bool lazyfree, spinlock_t **ptlp,
		      pte_t **ptepp)
{
	struct page *head = compound_head(page);
	int error;

	/* MADV_FREE takes the first page's mappings for those of all (folio_estimated_sharers), COLD asks the page itself. */
	if (page_mapcount(lazyfree ? head : page) != 1)
		return false;
	get_page(head);
	if (!trylock_page(head)) {
		put_page(head);
		return false;
	}
	spin_unlock(*ptlp);
	error = split_page_hook(head);
	unlock_page(head);
	put_page(head);
	*ptepp = pte_offset_map_lock(pt, pmd, addr, ptlp);
	return !error;
}

static void advise_ptes(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 end, enum lru_advice advice)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	bool lazyfree = advice == LRU_ADVICE_FREE;
	LIST_HEAD(list);
	spinlock_t *ptl;
	pte_t *ptep;

	if (!pmd_table(pmdp_get(pmd)))
		return;
	ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);
	while (addr < end) {
		struct page *page = vm_normal_page(*ptep);

		if (page && PageTransCompound(page)) {
			if (!split_for(pt, pmd, addr, page, lazyfree, &ptl, &ptep))
				break;
			continue;
		}
		if (page && lazyfree)
			free_pte(ptep, page);
		else if (page)
			cold_pte(ptep, page, advice == LRU_ADVICE_PAGEOUT ? &list : NULL);
		else if (lazyfree && is_swap_pte(*ptep))
			free_swap_pte(vma->vm_mm, ptep);
		addr += PAGE_SIZE;
		ptep++;
	}
	spin_unlock(ptl);
	if (!list_empty(&list))
		reclaim_hook(&list);
}

/* Splits the huge page of a PMD for the sake of a part. Context: ptl held, released; the page is locked for MADV_FREE. */
static int split_pmd_page(struct page *page, spinlock_t *ptl, bool locked)
{
	int error;

	get_page(page);
	spin_unlock(ptl);
	if (!locked)
		lock_page(page);
	error = split_page_hook(page);
	unlock_page(page);
	put_page(page);
	return error;
}

/* Return: true when the PMD has been dealt with; false: go on with its PTEs, if it has any. */
static bool advise_pmd(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 next, enum lru_advice advice)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	bool lazyfree = advice == LRU_ADVICE_FREE;
	spinlock_t *ptl = pmd_trans_huge_lock(vma, pmd);
	struct page *page;
	bool done = true;
	LIST_HEAD(list);
	pmd_t entry;

	if (!ptl)
		return false;
	entry = *pmd;
	if (!pmd_present(entry) || is_huge_zero_pmd(entry))
		goto out;
	page = pfn_to_page(pmd_pfn(entry));
	if ((lazyfree ? total_mapcount(page) : page_mapcount(page)) != 1)
		goto out;
	if (lazyfree && !trylock_page(page))
		goto out;
	if (next - addr != pmd_size(pt))
		return split_pmd_page(page, ptl, lazyfree) != 0;
	if (lazyfree) {
		if (PageDirty(page))
			ClearPageDirty(page);
		unlock_page(page);
	}
	if (pmd_young(entry) || (lazyfree && pmd_dirty(entry))) {
		entry = pmdp_invalidate(pmd);
		flush_tlb_range(pt, addr, next);
		entry = pmd_mkold(entry);
		set_pmd_at(pmd, lazyfree ? pmd_mkclean(entry) : entry);
	}
	if (lazyfree) {
		mark_page_lazyfree(page);
	} else {
		ClearPageReferenced(page);
		if (advice == LRU_ADVICE_PAGEOUT)
			isolate(page, &list);
		else
			deactivate_page(page);
	}
out:
	spin_unlock(ptl);
	if (!list_empty(&list))
		reclaim_hook(&list);
	return done;
}

/* May who asks see, by the time an access takes, whether others use the file? */
static bool can_do_pageout(const struct vm_area_struct *vma)
{
	const struct inode *inode;

	if (vma_is_anonymous(vma))
		return true;
	inode = vma->vm_mapping->host;
	return !current->unprivileged || inode->unprivileged || inode->anon;
}

int madvise_lru(struct vm_area_struct *vma, u64 start, u64 end, enum lru_advice advice)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = start;
	pmd_t *pmd;

	if (vma->vm_flags & VM_LOCKED)
		return -EINVAL;
	if (advice == LRU_ADVICE_FREE && !vma_is_anonymous(vma))
		return -EINVAL;
	if (advice == LRU_ADVICE_PAGEOUT && !can_do_pageout(vma))
		return 0;
	lru_add_drain();
	while ((pmd = pmd_next(pt, &addr, end))) {
		u64 next = pmd_addr_end(pt, addr, end);

		if (!advise_pmd(vma, pmd, addr, next, advice))
			advise_ptes(vma, pmd, addr, next, advice);
		addr = next;
		cond_resched();
	}
	/* Stores through a stale, dirty translation would not be noticed. */
	flush_tlb_range(pt, start, end);
	return 0;
}
