/* SPDX-License-Identifier: MIT */
/*
 * Advice about how soon memory may be reclaimed: MADV_FREE (its contents are worth nothing unless written again) and
 * MADV_COLD (it will not be used soon). Both look at each page of the range that nobody else maps, and both split a huge
 * page of which only a part is advised; if it cannot be split, the rest of its table is left alone.
 *
 * Both leave the page mapped. MADV_FREE makes entry and page clean and takes PG_swapbacked away: reclaim may then drop the page
 * as long as nobody has written to it.
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
#include <pagesim/tlbflush.h>

#include "fault/vm_fault.h"

/* The split engine is a higher layer; it has told the cache how to reach it. */
static int split_page_hook(struct page *page)
{
	struct ps_files *files = this_machine()->files;

	return files && files->hooks.split_page ? files->hooks.split_page(page) : -EBUSY;
}

/* What to do with one page that is ours alone. Context: its page-table lock. */
static void free_pte(pte_t *ptep, struct page *page)
{
	pte_t pte = *ptep;

	if (PageSwapCache(page) || PageDirty(page)) {
		if (!trylock_page(page))
			return;
		if (page_mapcount(page) != 1) {
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

static void cold_pte(pte_t *ptep, struct page *page)
{
	if (!PageLRU(page) || page_mapcount(page) != 1)
		return;
	ptep_test_and_clear_young(ptep);
	ClearPageReferenced(page);
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

static void advise_ptes(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 end, bool lazyfree)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *ptl;
	pte_t *ptep;

	if (!pmd_table(pmdp_get(pmd)))
		return;
	ptep = pte_offset_map_lock(pt, pmd, addr, &ptl);
	flush_tlb_batched_pending(pt);
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
			cold_pte(ptep, page);
		addr += PAGE_SIZE;
		ptep++;
	}
	spin_unlock(ptl);
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
static bool advise_pmd(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 next, bool lazyfree)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *ptl = pmd_trans_huge_lock(vma, pmd);
	struct page *page;
	bool done = true;
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
		deactivate_page(page);
	}
out:
	spin_unlock(ptl);
	return done;
}

int madvise_lru(struct vm_area_struct *vma, u64 start, u64 end, bool lazyfree)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = start;
	pmd_t *pmd;

	if (vma->vm_flags & VM_LOCKED)
		return -EINVAL;
	if (lazyfree && !vma_is_anonymous(vma))
		return -EINVAL;
	lru_add_drain();
	while ((pmd = pmd_next(pt, &addr, end))) {
		u64 next = pmd_addr_end(pt, addr, end);

		if (!advise_pmd(vma, pmd, addr, next, lazyfree))
			advise_ptes(vma, pmd, addr, next, lazyfree);
		addr = next;
		cond_resched();
	}
	/* Stores through a stale, dirty translation would not be noticed. */
	flush_tlb_range(pt, start, end);
	return 0;
}
