/* SPDX-License-Identifier: MIT */
/*
 * Collapse of a tmpfs file's pages, and of the mappings of a huge page that its file has already.
 *
 *    1. scan       the slots of one huge page's worth, without locks: no compound page, all on the LRU, nobody else's
 *    2. allocate   the huge page: locked and not uptodate, so that who finds it waits; slots for every index
 *    3. replace    index by index: the page is locked, isolated and unmapped everywhere, and under xa_lock its references are
 *                  frozen at 3 (ours, the cache's, the isolator's) and its slot is given to the huge page; holes as well
 *    4. join       the slots become one multi-index entry
 *    5. copy       each old page, then it is nobody's and goes; the huge page becomes uptodate and goes to the LRU
 *    6. retract    tables of PTEs of mappings that fit are taken out, so that the next fault can map a PMD; the caller's own
 *                  mapping gets its PMD at once
 *
 * A failure in 3 undoes it from the first index on: every frozen page gets its slot and its references back, every hole its
 * NULL. What 1 saw is only a hint; 3 looks at everything again under the page's lock.
 *
 * Locking: page lock of the huge page ⊃ page lock of an old one (tried) ⊃ xa_lock; huge page's lock ⊃ i_mmap_rwsem ⊃ mmap_lock
 * (tried, since it ranks above).
 * Source: the behaviour of Linux 6.1's mm/khugepaged.c.
 */
#include "fault/collapse.h"

#include <pagesim/address_space.h>
#include <pagesim/buffer_head.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rcu.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/shmem.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>
#include <pagesim/xarray.h>
#include <pagesim/zap.h>

#include "fault/vm_fault.h"

/* ---- the mappings */

/* Takes the table of PTEs out and frees it. Context: mmap_lock and i_mmap for writing; the entries are none. */
static void collapse_and_free_pmd(struct mm_struct *mm, u64 addr, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lock(&mm->pt, pmd);
	pmd_t entry = pmdp_get_and_clear(pmd);

	flush_tlb_range(&mm->pt, addr, addr + pmd_size(&mm->pt));
	mm_dec_nr_ptes(&mm->pt);
	spin_unlock(ptl);
	pte_free(&mm->pt, pmd_pte_table(entry));
}

/* Context: mmap_lock for writing, hpage locked. */
static enum scan_result set_huge_pmd(struct vm_area_struct *vma, u64 addr, pmd_t *pmd, struct page *hpage)
{
	struct vm_fault vmf = { .vma = vma, .address = addr, .pmd = pmd };

	if (do_set_pmd(&vmf, hpage))
		return SCAN_FAIL;
	get_page(hpage);
	return SCAN_SUCCEED;
}

/* One mapping of the file. Return: what it means for the caller, if it is his. */
static enum scan_result retract_one(struct vm_area_struct *vma, pgoff_t pgoff, struct mm_struct *target_mm,
				    u64 target_addr, struct page *hpage, const struct collapse_control *cc,
				    bool *ret_is_target)
{
	struct mm_struct *mm = vma->vm_mm;
	u64 addr = vma->vm_start + ((pgoff - vma->vm_pgoff) << PAGE_SHIFT);
	enum scan_result result;
	pmd_t *pmd;

	*ret_is_target = false;
	/* Private copies lie in the table: splitting the PMD at the next write would only cost. */
	if (READ_ONCE(vma->anon_vma))
		return SCAN_PAGE_ANON;
	if ((addr & ~pmd_mask(&mm->pt)) || vma->vm_end < addr + pmd_size(&mm->pt))
		return SCAN_VMA_CHECK;
	*ret_is_target = mm == target_mm && addr == target_addr;
	result = find_pmd_or_thp_or_none(mm, addr, &pmd);
	if (result != SCAN_SUCCEED)
		return result;
	/* Other mappings are khugepaged's business. mmap_lock comes before the page lock elsewhere: it may only be tried. */
	if (!(cc->is_khugepaged || *ret_is_target) || !down_write_trylock(&mm->mmap_lock))
		return SCAN_PTE_MAPPED_HUGEPAGE;
	if (vma->anon_vma) {
		result = SCAN_PAGE_ANON;
	} else {
		collapse_and_free_pmd(mm, addr, pmd);
		result = !cc->is_khugepaged && *ret_is_target ? set_huge_pmd(vma, addr, pmd, hpage) : SCAN_SUCCEED;
	}
	mmap_write_unlock(mm);
	return result;
}

/* Step 6. Context: hpage locked. Return: what became of the caller's mapping. */
static enum scan_result retract_page_tables(struct address_space *mapping, pgoff_t pgoff, struct mm_struct *mm,
					    u64 addr, struct page *hpage, const struct collapse_control *cc)
{
	enum scan_result target_result = SCAN_FAIL;
	struct interval_tree_node *node;

	i_mmap_lock_write(mapping);
	interval_tree_foreach(node, &mapping->i_mmap, pgoff, pgoff)
	{
		struct vm_area_struct *vma = container_of(node, struct vm_area_struct, shared);
		enum scan_result result;
		bool is_target;

		result = retract_one(vma, pgoff, mm, addr, hpage, cc, &is_target);
		if (is_target)
			target_result = result;
	}
	i_mmap_unlock_write(mapping);
	return target_result;
}

/* Do all entries of the table map this huge page, each its own part? Context: the table's lock. */
static enum scan_result table_maps_only(const pte_t *table, unsigned int nr, struct page *hpage, int *ret_count)
{
	unsigned int i;

	for (i = 0; i < nr; i++) {
		if (pte_none(table[i]))
			continue;
		if (!pte_present(table[i]))
			return SCAN_PTE_NON_PRESENT;
		/* A private copy, for one, is another page. */
		if (vm_normal_page(table[i]) != hpage + i)
			return SCAN_FAIL;
		(*ret_count)++;
	}
	return SCAN_SUCCEED;
}

/* Context: mmap_lock for writing, hpage locked and referenced. */
static enum scan_result collapse_table(struct vm_area_struct *vma, u64 haddr, pmd_t *pmd, struct page *hpage)
{
	struct address_space *mapping = vma->vm_mapping;
	struct mm_struct *mm = vma->vm_mm;
	unsigned int i, nr = hpage_pmd_nr(&mm->pt);
	enum scan_result result;
	spinlock_t *ptl;
	pte_t *table;
	int count = 0;

	i_mmap_lock_write(mapping);
	table = pte_offset_map_lock(&mm->pt, pmd, haddr, &ptl);
	result = table_maps_only(table, nr, hpage, &count);
	if (result != SCAN_SUCCEED) {
		pte_unmap_unlock(table, ptl);
		goto out;
	}
	for (i = 0; i < nr; i++) {
		pte_t entry = table[i];

		if (pte_none(entry))
			continue;
		/* The huge page of tmpfs is dirty as soon as it is written; an entry may know it alone. */
		entry = ptep_get_and_clear(&table[i]);
		if (pte_dirty(entry))
			set_page_dirty(hpage);
		page_remove_rmap(hpage + i, vma, false);
	}
	pte_unmap_unlock(table, ptl);
	if (count) {
		flush_tlb_range(&mm->pt, haddr, haddr + pmd_size(&mm->pt));
		page_ref_sub(hpage, count);
		add_mm_counter(mm, mm_counter_of(hpage), -count);
	}
	collapse_and_free_pmd(mm, haddr, pmd);
out:
	i_mmap_unlock_write(mapping);
	return result;
}

enum scan_result collapse_pte_mapped_thp(struct mm_struct *mm, u64 addr, bool install_pmd)
{
	u64 haddr = addr & pmd_mask(&mm->pt);
	struct vm_area_struct *vma = vma_lookup(mm, haddr);
	enum scan_result result;
	struct page *hpage;
	pmd_t *pmd;

	if (find_pmd_or_thp_or_none(mm, haddr, &pmd) == SCAN_PMD_MAPPED)
		return SCAN_PMD_MAPPED;
	if (!vma || !vma->vm_mapping || haddr < vma->vm_start || haddr + pmd_size(&mm->pt) > vma->vm_end)
		return SCAN_VMA_CHECK;
	if (!hugepage_vma_check(vma, false, false))
		return SCAN_VMA_CHECK;
	if (vma->anon_vma)
		return SCAN_VMA_CHECK;
	hpage = find_lock_page(vma->vm_mapping, linear_page_index(vma, haddr));
	if (!hpage)
		return SCAN_PAGE_NULL;
	result = SCAN_FAIL;
	if (!PageHead(hpage))
		goto drop;
	result = SCAN_PAGE_COMPOUND;
	if (compound_order(hpage) != HPAGE_PMD_ORDER)
		goto drop;
	result = find_pmd_or_thp_or_none(mm, haddr, &pmd);
	if (result == SCAN_SUCCEED)
		result = collapse_table(vma, haddr, pmd, hpage);
	else if (result == SCAN_PMD_NONE)
		result = SCAN_SUCCEED;
	if (result == SCAN_SUCCEED && install_pmd)
		result = set_huge_pmd(vma, haddr, pmd, hpage);
drop:
	unlock_page(compound_head(hpage));
	put_page(hpage);
	return result;
}

/* ---- the file */

/* A compound page is in the way, or is the very thing that is wanted. */
static enum scan_result compound_result(struct page *head, pgoff_t start)
{
	return compound_order(head) == HPAGE_PMD_ORDER && head->index == start ? SCAN_PTE_MAPPED_HUGEPAGE
									       : SCAN_PAGE_COMPOUND;
}

/* One file on its way into a huge page. */
struct collapse_file {
	struct address_space *mapping;
	pgoff_t start, end;
	struct page *hpage;
	struct list_head pages; /* replaced: locked, isolated, frozen; in order of index */
	long nr_none;           /* holes that the huge page fills */
};

/* Takes the page of one index out of use. Context: locked, one reference of ours. On failure it is as it was. */
static enum scan_result freeze_file_page(struct collapse_file *cf, struct page *page, pgoff_t index)
{
	XA_STATE(xas, &cf->mapping->i_pages, index);

	if (PageCompound(page))
		return compound_result(compound_head(page), cf->start);
	if (page_mapping(page) != cf->mapping)
		return SCAN_TRUNCATED;
	if (!PageUptodate(page))
		return SCAN_FAIL;
	if (isolate_lru_page(page))
		return SCAN_DEL_PAGE_LRU;
	if (page_has_private(page) && !try_to_release_page(page, GFP_KERNEL)) {
		putback_lru_page(page);
		return SCAN_PAGE_HAS_PRIVATE;
	}
	if (page_mapped(page))
		try_to_unmap(page, TTU_IGNORE_MLOCK);
	xas_lock(&xas);
	VM_BUG_ON_PAGE(xas_load(&xas) != page, page);
	/* Ours, the cache's, the isolator's: any other belongs to somebody who may look at the page later. */
	if (!page_ref_freeze(page, 3)) {
		xas_unlock(&xas);
		putback_lru_page(page);
		return SCAN_PAGE_COUNT;
	}
	list_add_tail(&page->lru, &cf->pages);
	xas_store(&xas, cf->hpage);
	xas_unlock(&xas);
	return SCAN_SUCCEED;
}

/* Step 3 for one index. */
static enum scan_result replace_index(struct collapse_file *cf, pgoff_t index)
{
	struct address_space *mapping = cf->mapping;
	XA_STATE(xas, &mapping->i_pages, index);
	enum scan_result result;
	struct page *page;

	xas_lock(&xas);
	page = (struct page *)xas_load(&xas);
	if (!page) {
		unsigned long first = index;

		/* All of it was truncated or punched out meanwhile: then there is nothing to collapse. */
		result = SCAN_TRUNCATED;
		if (index != cf->start || xa_find(&mapping->i_pages, &first, cf->end - 1, XA_PRESENT)) {
			xas_store(&xas, cf->hpage);
			result = xas_error(&xas) ? SCAN_FAIL : SCAN_SUCCEED;
		}
		if (result == SCAN_SUCCEED) {
			WRITE_ONCE(mapping->nrpages, mapping->nrpages + 1);
			cf->nr_none++;
		}
		xas_unlock(&xas);
		xas_destroy(&xas);
		return result;
	}
	if (xa_is_value(page) || !PageUptodate(page)) {
		/* In swap, or allocated and never written. */
		xas_unlock(&xas);
		if (shmem_get_page(mapping->host, index, SGP_NOALLOC, SHMEM_HINT_NONE, NULL, &page))
			return SCAN_FAIL;
		/* It waits in a batch now, so it cannot be taken off its LRU: only another try may do (repaired in 6.2). */
	} else if (trylock_page(page)) {
		get_page(page);
		page = find_subpage(page, index);
		xas_unlock(&xas);
	} else {
		xas_unlock(&xas);
		return SCAN_PAGE_LOCK;
	}
	result = freeze_file_page(cf, page, index);
	if (result != SCAN_SUCCEED) {
		unlock_page(compound_head(page));
		put_page(page);
	}
	return result;
}

/* Steps 2 (slots) and 4. Return: false without memory. */
static bool make_slots(struct collapse_file *cf)
{
	XA_STATE_ORDER(xas, &cf->mapping->i_pages, cf->start, HPAGE_PMD_ORDER);

	do {
		xas_lock(&xas);
		xas_create_range(&xas);
		xas_unlock(&xas);
	} while (xas_nomem(&xas, GFP_KERNEL));
	return !xas_error(&xas);
}

static bool join_slots(struct collapse_file *cf)
{
	XA_STATE_ORDER(xas, &cf->mapping->i_pages, cf->start, HPAGE_PMD_ORDER);
	struct page *page, *hpage = cf->hpage;
	const nid_t nid = page_to_nid(hpage);

	do {
		xas_lock(&xas);
		xas_store(&xas, hpage);
		if (!xas_error(&xas)) {
			__mod_node_page_state(nid, NR_SHMEM_THPS, thp_nr_pages(hpage));
			__mod_node_page_state(nid, NR_FILE_PAGES, thp_nr_pages(hpage));
			__mod_node_page_state(nid, NR_SHMEM, thp_nr_pages(hpage));
			list_for_each_entry(page, &cf->pages, lru) {
				__mod_node_page_state(page_to_nid(page), NR_FILE_PAGES, -1);
				__mod_node_page_state(page_to_nid(page), NR_SHMEM, -1);
			}
		}
		xas_unlock(&xas);
	} while (xas_nomem(&xas, GFP_KERNEL));
	return !xas_error(&xas);
}

/* Undoes what was replaced, and takes out slots that were made and never used. */
static void roll_back(struct collapse_file *cf)
{
	struct address_space *mapping = cf->mapping;
	XA_STATE(xas, &mapping->i_pages, cf->start);
	pgoff_t index;

	for (index = cf->start; index < cf->end; index++) {
		struct page *page = list_first_entry_or_null(&cf->pages, struct page, lru);
		void *entry;

		xas_lock(&xas);
		xas_set(&xas, index);
		entry = xas_load(&xas);
		if (page && page->index == index) {
			VM_BUG_ON_PAGE(entry != cf->hpage, page);
			list_del(&page->lru);
			xas_store(&xas, page);
			/* Only now may somebody find it: with the isolator's and the cache's reference. Ours is spent. */
			page_ref_unfreeze(page, 2);
			xas_unlock(&xas);
			unlock_page(page);
			putback_lru_page(page);
			continue;
		}
		if (entry == cf->hpage) {
			WRITE_ONCE(mapping->nrpages, mapping->nrpages - 1);
			cf->nr_none--;
			xas_store(&xas, NULL);
		} else if (!entry && xas_valid(&xas) && xas.xa_node && !xas.xa_node->shift) {
			/* A node made for this index may be empty; filling and emptying the slot lets it go. */
			xas_store(&xas, cf->hpage);
			xas_reset(&xas);
			xas_store(&xas, NULL);
		}
		xas_unlock(&xas);
	}
	xas_destroy(&xas);
	VM_BUG_ON(cf->nr_none);
}

/* Step 5. */
static void copy_and_free(struct collapse_file *cf)
{
	struct page *page, *next, *hpage = cf->hpage;
	pgoff_t index = cf->start;

	list_for_each_entry_safe(page, next, &cf->pages, lru) {
		for (; index < page->index; index++)
			collapse_copy_page(hpage + (index - cf->start), NULL);
		collapse_copy_page(hpage + (index - cf->start), page);
		list_del(&page->lru);
		WRITE_ONCE(page->mapping, NULL);
		page_ref_unfreeze(page, 1);
		ClearPageActive(page);
		ClearPageUnevictable(page);
		unlock_page(page);
		put_page(page);
		index++;
	}
	for (; index < cf->end; index++)
		collapse_copy_page(hpage + (index - cf->start), NULL);
	SetPageUptodate(hpage);
	page_ref_add(hpage, thp_nr_pages(hpage) - 1);
	set_page_dirty(hpage);
	lru_cache_add(hpage);
}

/* Steps 2 to 6. Context: no locks, the inode is held. */
static enum scan_result collapse_file(struct mm_struct *mm, u64 addr, struct address_space *mapping, pgoff_t start,
				      struct collapse_control *cc)
{
	struct collapse_file cf = { .mapping = mapping, .start = start, .end = start + HPAGE_PMD_NR };
	enum scan_result result = SCAN_SUCCEED;
	struct page *hpage;
	pgoff_t index;
	bool locked;

	INIT_LIST_HEAD(&cf.pages);
	hpage = cf.hpage = collapse_alloc_page(cc);
	if (!hpage)
		return SCAN_ALLOC_HUGE_PAGE_FAIL;
	if (!make_slots(&cf)) {
		put_page(hpage);
		return SCAN_FAIL;
	}
	locked = trylock_page(hpage);
	VM_BUG_ON_PAGE(!locked, hpage);
	__SetPageSwapBacked(hpage);
	WRITE_ONCE(hpage->index, start);
	WRITE_ONCE(hpage->mapping, mapping);

	for (index = start; index < cf.end && result == SCAN_SUCCEED; index++)
		result = replace_index(&cf, index);
	if (result == SCAN_SUCCEED && !join_slots(&cf))
		result = SCAN_FAIL;
	if (result == SCAN_SUCCEED) {
		copy_and_free(&cf);
		result = retract_page_tables(mapping, start, mm, addr, hpage, cc);
		unlock_page(hpage);
		return result;
	}
	roll_back(&cf);
	WRITE_ONCE(hpage->mapping, NULL);
	unlock_page(hpage);
	put_page(hpage);
	return result;
}

/* Step 1 for one entry. Context: RCU. */
static enum scan_result scan_slot(struct page *page, pgoff_t start, struct collapse_control *cc)
{
	if (PageCompound(page))
		return compound_result(page, start);
	collapse_scan_note(cc, page_to_nid(page));
	if (!PageLRU(page))
		return SCAN_PAGE_LRU;
	if (page_count(page) != 1 + page_mapcount(page) + (page_has_private(page) ? 1 : 0))
		return SCAN_PAGE_COUNT;
	return SCAN_SUCCEED;
}

enum scan_result hpage_collapse_scan_file(struct mm_struct *mm, u64 addr, struct address_space *mapping, pgoff_t start,
					  struct collapse_control *cc)
{
	const struct khugepaged_limits *limits = &this_machine()->faults->khugepaged;
	const pgoff_t nr = HPAGE_PMD_NR, last = start + nr - 1;
	XA_STATE(xas, &mapping->i_pages, start);
	enum scan_result result = SCAN_SUCCEED;
	unsigned int present = 0, swap = 0;
	void *entry;

	collapse_scan_begin(cc);
	ps_charge((ps_ns_t)this_machine()->costs.scan_pte_ns * nr, PS_TIME_SCAN);
	rcu_read_lock();
	while (result == SCAN_SUCCEED && (entry = xas_find(&xas, last))) {
		if (xas_retry(&xas, entry))
			continue;
		if (xa_is_value(entry)) {
			if (cc->is_khugepaged && ++swap > limits->max_ptes_swap) {
				result = SCAN_EXCEED_SWAP_PTE;
				count_vm_event(THP_SCAN_EXCEED_SWAP_PTE);
			}
			continue;
		}
		result = scan_slot((struct page *)entry, start, cc);
		present++;
	}
	rcu_read_unlock();
	if (result != SCAN_SUCCEED)
		return result;
	if (cc->is_khugepaged && present + limits->max_ptes_none < nr) {
		count_vm_event(THP_SCAN_EXCEED_NONE_PTE);
		return SCAN_EXCEED_NONE_PTE;
	}
	return collapse_file(mm, addr, mapping, start, cc);
}
