/* SPDX-License-Identifier: MIT */
/*
 * Splitting a huge PMD: one leaf becomes a table of PTEs that say the same, while the huge page itself stays whole.
 *
 *        PMD ──> huge page            PMD ──> table ──> page 0 of the huge page
 *                                                  ──> page 1
 *                                                  ──> ...
 *
 * Kinds of leaf:
 *   anonymous   every PTE gets the PMD's permission, young and soft-dirty (dirty goes to the page); the one PMD mapping becomes one mapping of
 *               each small page, the one reference one reference each; exclusive moves from the head to each page
 *   with freeze the PTEs are migration entries right away, and mappings and references go (if the page is not pinned)
 *   migration   PTEs are migration entries of the same kind
 *   huge zero   PTEs are small zero pages
 *   file        nothing is kept: the leaf is cleared, its PTEs will be faulted in again
 *
 * The PMD is never none in between while others may look: a walker that takes no lock must not skip the memory.
 */
#include <pagesim/rmap.h>

#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

#include "rmap/rmap_state.h"

bool is_zero_pte(pte_t pte)
{
	return pte_present(pte) && pte_special(pte);
}

bool is_huge_zero_pmd(pmd_t pmd)
{
	return pmd_trans_huge(pmd) && pmd_special(pmd);
}

static void split_huge_zero(struct vm_area_struct *vma, pmd_t *pmd, u64 haddr)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	pte_t *table = pgtable_trans_huge_withdraw(pt, pmd);
	unsigned int i;

	pmdp_invalidate(pmd);
	flush_tlb_range(pt, haddr, haddr + pmd_size(pt));
	for (i = 0; i < hpage_pmd_nr(pt); i++)
		set_pte_at(&table[i], pte_mkspecial(pfn_pte(page_to_pfn(ps_zero_page()), vma->vm_page_prot)));
	pmd_populate(pt, pmd, table);
}

static void split_file(struct vm_area_struct *vma, pmd_t *pmd, u64 haddr)
{
	struct mm_struct *mm = vma->vm_mm;
	pmd_t old = pmdp_get_and_clear(pmd);
	struct page *page;

	flush_tlb_range(&mm->pt, haddr, haddr + pmd_size(&mm->pt));
	if (is_pmd_migration_entry(old)) {
		page = pfn_swap_entry_to_page(pmd_to_swp_entry(old));
	} else {
		page = pfn_to_page(pmd_pfn(old));
		if (!PageDirty(page) && pmd_dirty(old))
			set_page_dirty(page);
		if (!PageReferenced(page) && pmd_young(old))
			SetPageReferenced(page);
		page_remove_rmap(page, vma, true);
		put_page(page);
	}
	add_mm_counter(mm, PageSwapBacked(page) ? MM_SHMEMPAGES : MM_FILEPAGES, -(long)hpage_pmd_nr(&mm->pt));
}

/* What the leaf said, whichever kind it was. */
struct leaf {
	struct page *page;
	bool migration, write, young, dirty, soft_dirty, exclusive;
};

static pte_t small_migration_entry(const struct leaf *leaf, unsigned int i)
{
	unsigned int type = leaf->write ? SWP_MIGRATION_WRITE
					: (leaf->exclusive ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ);
	pte_t pte = swp_entry_to_pte(swp_entry(type, page_to_pfn(leaf->page + i)));

	if (leaf->young)
		pte.val |= _SWP_YOUNG;
	if (leaf->dirty)
		pte.val |= _SWP_DIRTY;
	return leaf->soft_dirty ? pte_swp_mksoft_dirty(pte) : pte;
}

static pte_t small_mapping(const struct leaf *leaf, const struct vm_area_struct *vma, unsigned int i)
{
	pte_t pte = pfn_pte(page_to_pfn(leaf->page + i), READ_ONCE(vma->vm_page_prot));

	if (!leaf->young)
		pte = pte_mkold(pte);
	/* Dirty went to the page: the entries begin clean, as 6.1 has it, so that soft-dirty is not set by the way. */
	pte = leaf->write && (vma->vm_flags & VM_WRITE) ? pte_mkwrite(pte) : pte_wrprotect(pte);
	return leaf->soft_dirty ? pte_mksoft_dirty(pte) : pte;
}

static void split_anon(struct vm_area_struct *vma, pmd_t *pmd, u64 haddr, bool freeze)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	unsigned int i, nr = hpage_pmd_nr(pt);
	struct leaf leaf = { 0 };
	pmd_t old = *pmd;
	int newly = 0;
	pte_t *table;

	leaf.migration = is_pmd_migration_entry(old);
	if (leaf.migration) {
		swp_entry_t entry = pmd_to_swp_entry(old);

		leaf.page = pfn_swap_entry_to_page(entry);
		leaf.write = is_writable_migration_entry(entry);
		leaf.exclusive = is_readable_exclusive_migration_entry(entry);
		leaf.young = pmd_migration_young(old);
		leaf.dirty = pmd_migration_dirty(old);
		leaf.soft_dirty = pmd_swp_soft_dirty(old);
	} else {
		old = pmdp_invalidate(pmd);
		flush_tlb_range(pt, haddr, haddr + pmd_size(pt));
		leaf.page = pfn_to_page(pmd_pfn(old));
		if (pmd_dirty(old)) {
			leaf.dirty = true;
			SetPageDirty(leaf.page);
		}
		leaf.write = pmd_write(old);
		leaf.young = pmd_young(old);
		leaf.soft_dirty = pmd_soft_dirty(old);
		leaf.exclusive = PageAnonExclusive(leaf.page);
		if (freeze && leaf.exclusive && page_try_share_anon_rmap(leaf.page))
			freeze = false;
		page_ref_add(leaf.page, (int)nr - 1);
	}
	table = pgtable_trans_huge_withdraw(pt, pmd);
	for (i = 0; i < nr; i++) {
		if (freeze || leaf.migration) {
			set_pte_at(&table[i], small_migration_entry(&leaf, i));
		} else {
			if (leaf.exclusive)
				SetPageAnonExclusive(leaf.page + i);
			set_pte_at(&table[i], pmd_protnone(old) ? pte_modify(small_mapping(&leaf, vma, i), PAGE_NONE)
								: small_mapping(&leaf, vma, i));
		}
		if (!leaf.migration)
			newly += atomic_inc_and_test(&leaf.page[i]._mapcount);
	}
	if (!leaf.migration) {
		nr_pages_mapped_add(leaf.page, newly);
		/* Each small page is counted now, so the whole may be uncounted without any looking unmapped for a moment. */
		if (compound_mapcount(leaf.page) > 1)
			SetPageDoubleMap(leaf.page);
		if (atomic_add_negative(-1, compound_mapcount_ptr(leaf.page))) {
			int mapped = nr_pages_mapped_add(leaf.page, -COMPOUND_MAPPED);

			/*
			 * Somebody who takes the last other PTE of a small page away at this moment, or adds the first, has
			 * changed its count and not yet the sum. He will, and will be wrong by what the sum is off by now.
			 */
			if (mapped < COMPOUND_MAPPED && mapped != (int)nr)
				__mod_node_page_state(page_to_nid(leaf.page), NR_ANON_MAPPED, mapped - (long)nr);
			__mod_node_page_state(page_to_nid(leaf.page), NR_ANON_THPS, -(long)nr);
			TestClearPageDoubleMap(leaf.page);
		}
		if (unlikely(vma->vm_flags & VM_LOCKED))
			munlock_page(leaf.page);
	}
	pmd_populate(pt, pmd, table);
	if (freeze && !leaf.migration) {
		for (i = 0; i < nr; i++) {
			page_remove_rmap(leaf.page + i, vma, false);
			put_page(leaf.page + i);
		}
	}
}

/* Context: the PMD lock is held and *pmd is a leaf. */
static void split_huge_pmd_locked(struct vm_area_struct *vma, pmd_t *pmd, u64 haddr, bool freeze)
{
	count_vm_event(THP_SPLIT_PMD);
	if (!vma_is_anonymous(vma) && !(is_huge_zero_pmd(*pmd)))
		split_file(vma, pmd, haddr);
	else if (is_huge_zero_pmd(*pmd))
		split_huge_zero(vma, pmd, haddr);
	else
		split_anon(vma, pmd, haddr, freeze);
}

void __split_huge_pmd(struct vm_area_struct *vma, pmd_t *pmd, u64 addr, bool freeze, struct page *page)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	spinlock_t *ptl = pmd_lock(pt, pmd);

	VM_BUG_ON(freeze && !page);
	if (pmd_leaf_or_swap(*pmd) &&
	    (!page || (pmd_present(*pmd) && pfn_to_page(pmd_pfn(*pmd)) == compound_head(page))))
		split_huge_pmd_locked(vma, pmd, addr & pmd_mask(pt), freeze);
	spin_unlock(ptl);
}

void split_huge_pmd(struct vm_area_struct *vma, pmd_t *pmd, u64 addr)
{
	if (pmd_leaf_or_swap(pmdp_get(pmd)))
		__split_huge_pmd(vma, pmd, addr, false, NULL);
}

void split_huge_pmd_address(struct vm_area_struct *vma, u64 addr, bool freeze, struct page *page)
{
	pmd_t *pmd = pmd_find(&vma->vm_mm->pt, addr);

	if (pmd && pmd_leaf_or_swap(pmdp_get(pmd)))
		__split_huge_pmd(vma, pmd, addr, freeze, page);
}

static void split_if_inside(struct vm_area_struct *vma, u64 addr)
{
	const struct page_tables *pt = &vma->vm_mm->pt;
	u64 haddr = addr & pmd_mask(pt);

	if (addr != haddr && haddr >= vma->vm_start && haddr + pmd_size(pt) <= vma->vm_end)
		split_huge_pmd_address(vma, addr, false, NULL);
}

void vma_adjust_trans_huge(struct vm_area_struct *vma, u64 start, u64 end)
{
	split_if_inside(vma, start);
	split_if_inside(vma, end);
}

spinlock_t *__pmd_trans_huge_lock(struct vm_area_struct *vma, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lock(&vma->vm_mm->pt, pmd);

	if (likely(pmd_leaf_or_swap(*pmd)))
		return ptl;
	spin_unlock(ptl);
	return NULL;
}

spinlock_t *pmd_trans_huge_lock(struct vm_area_struct *vma, pmd_t *pmd)
{
	return pmd_leaf_or_swap(pmdp_get(pmd)) ? __pmd_trans_huge_lock(vma, pmd) : NULL;
}
