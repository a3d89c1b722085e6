/* SPDX-License-Identifier: MIT */
/*
 * Migration entries: how a page's mappings are taken down so that nobody can reach it, and put up again, perhaps for
 * another page.
 *
 * Taking one mapping down:
 *   1. clear the entry and flush the TLB (or put the flush off); from here the page cannot be written through it
 *   2. carry a dirty entry over to the page
 *   3. if the page is exclusive to this mapping, give that up; a page that may be pinned refuses, and the entry goes back
 *   4. set the migration entry: writable, readable-exclusive or readable, with the young and dirty bits in it
 *   5. drop the mapcount, then the reference
 * Putting it up again is the reverse: reference, entry, mapcount.
 *
 * Who faults on the entry meanwhile sleeps on the page lock, which the migrating task holds, without taking a reference: a
 * reference would make the freeze fail.
 */
#include <pagesim/rmap.h>

#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/cost.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_lock.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/runtime.h>
#include <pagesim/tracepoint.h>
#include <pagesim/vmstat.h>
#include <pagesim/writeback.h>

static swp_entry_t make_migration_entry(struct page *page, bool writable, bool exclusive, bool young, bool dirty)
{
	unsigned int type =
		writable ? SWP_MIGRATION_WRITE : (exclusive ? SWP_MIGRATION_READ_EXCLUSIVE : SWP_MIGRATION_READ);
	swp_entry_t entry = swp_entry(type, page_to_pfn(page));

	/* Entry values carry the bits as they will lie in the table. */
	if (young)
		entry.val |= _SWP_YOUNG;
	if (dirty)
		entry.val |= _SWP_DIRTY;
	return entry;
}

struct migrate_arg {
	unsigned int flags;
	struct tlb_batch *batch;
};

/* Steps 1 to 5 for a PMD. Return: 0, or -EBUSY with the PMD as it was. */
static int set_pmd_migration_entry(struct page_vma_mapped_walk *walk, struct page *page)
{
	struct vm_area_struct *vma = walk->vma;
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 haddr = walk->address & pmd_mask(pt);
	pmd_t pmd = pmdp_invalidate(walk->pmd);
	bool exclusive = PageAnon(page) && PageAnonExclusive(page);
	swp_entry_t entry;
	pmd_t swp;

	flush_tlb_range(pt, haddr, haddr + pmd_size(pt));
	ps_charge(this_machine()->costs.unmap_pmd_ns, PS_TIME_MIGRATE);
	if (exclusive && page_try_share_anon_rmap(page)) {
		set_pmd_at(walk->pmd, pmd);
		return -EBUSY;
	}
	if (pmd_dirty(pmd))
		set_page_dirty(page);
	entry = make_migration_entry(page, pmd_write(pmd), exclusive, pmd_young(pmd), pmd_dirty(pmd));
	swp = swp_entry_to_pmd(entry);
	if (pmd_soft_dirty(pmd))
		swp = pmd_swp_mksoft_dirty(swp);
	set_pmd_at(walk->pmd, swp);
	page_remove_rmap(page, vma, true);
	put_page(page);
	trace_set_migration_pmd(haddr, swp.val);
	return 0;
}

static void remove_migration_pmd(struct page_vma_mapped_walk *walk, struct page *page)
{
	struct vm_area_struct *vma = walk->vma;
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 haddr = walk->address & pmd_mask(pt);
	pmd_t swp = *walk->pmd, pmd;
	swp_entry_t entry = pmd_to_swp_entry(swp);

	get_page(page);
	pmd = pfn_pmd_huge(page_to_pfn(page), READ_ONCE(vma->vm_page_prot));
	if (pmd_swp_soft_dirty(swp))
		pmd = pmd_mksoft_dirty(pmd);
	if (is_writable_migration_entry(entry) && (vma->vm_flags & VM_WRITE))
		pmd = pmd_mkwrite(pmd);
	if (!pmd_migration_young(swp))
		pmd = pmd_mkold(pmd);
	if (PageDirty(page) && pmd_migration_dirty(swp))
		pmd = pmd_mkdirty(pmd);
	if (PageAnon(page))
		page_add_anon_rmap(page, vma, haddr,
				   RMAP_COMPOUND | (is_readable_migration_entry(entry) ? RMAP_NONE : RMAP_EXCLUSIVE));
	else
		page_add_file_rmap(page, vma, true);
	set_pmd_at(walk->pmd, pmd);
	ps_charge(this_machine()->costs.remap_pmd_ns, PS_TIME_MIGRATE);
	trace_remove_migration_pmd(haddr, pmd.val);
}

static bool try_to_migrate_one(struct page *page, struct vm_area_struct *vma, u64 addr, void *opaque)
{
	struct migrate_arg *arg = opaque;
	struct page_tables *pt = &vma->vm_mm->pt;
	struct page_vma_mapped_walk walk;

	if (arg->flags & TTU_SPLIT_HUGE_PMD)
		split_huge_pmd_address(vma, addr, true, page);
	page_vma_mapped_walk_init(&walk, page, vma, addr, arg->flags & TTU_SYNC ? PVMW_SYNC : 0);
	while (page_vma_mapped_walk(&walk)) {
		struct page *subpage;
		bool exclusive;
		swp_entry_t entry;
		pte_t pte, swp;

		if (!walk.pte) {
			if (set_pmd_migration_entry(&walk, page)) {
				page_vma_mapped_walk_done(&walk);
				return false;
			}
			continue;
		}
		subpage = pfn_to_page(pte_pfn(*walk.pte));
		exclusive = PageAnon(page) && PageAnonExclusive(subpage);
		pte = ptep_get_and_clear(walk.pte);
		/*
		 * With the flush put off, another CPU may go on writing through its TLB until the batch is flushed; the batch
		 * notes that, and the page is not read before.
		 */
		if ((arg->flags & TTU_BATCH_FLUSH) && arg->batch && !exclusive)
			tlb_batch_add(arg->batch, pt, pte_dirty(pte));
		else if ((arg->flags & TTU_BATCH_FLUSH) && arg->batch && !page_maybe_dma_pinned(page))
			tlb_batch_add(arg->batch, pt, pte_dirty(pte));
		else
			flush_tlb_page(pt, walk.address);
		ps_charge(this_machine()->costs.unmap_pte_ns, PS_TIME_MIGRATE);
		if (pte_dirty(pte))
			set_page_dirty(page);
		if (exclusive && page_try_share_anon_rmap(subpage)) {
			set_pte_at(walk.pte, pte);
			page_vma_mapped_walk_done(&walk);
			return false;
		}
		entry = make_migration_entry(subpage, pte_write(pte), exclusive, pte_young(pte), pte_dirty(pte));
		swp = swp_entry_to_pte(entry);
		if (pte_soft_dirty(pte))
			swp = pte_swp_mksoft_dirty(swp);
		set_pte_at(walk.pte, swp);
		trace_set_migration_pte(walk.address, swp.val, 0);
		page_remove_rmap(subpage, vma, false);
		if (unlikely(vma->vm_flags & VM_LOCKED))
			mlock_page_drain_local();
		put_page(page);
	}
	return true;
}

static int page_not_mapped(struct page *page)
{
	return !page_mapped(page);
}

void try_to_migrate(struct page *page, unsigned int flags, struct tlb_batch *batch)
{
	struct migrate_arg arg = { .flags = flags, .batch = batch };
	struct rmap_walk_control control = { .arg = &arg, .rmap_one = try_to_migrate_one, .done = page_not_mapped };

	if (flags & TTU_RMAP_LOCKED)
		rmap_walk_locked(page, &control);
	else
		rmap_walk(page, &control);
}

static bool remove_migration_pte(struct page *page, struct vm_area_struct *vma, u64 addr, void *opaque)
{
	struct page *old = opaque;
	struct page_vma_mapped_walk walk;

	page_vma_mapped_walk_init(&walk, old, vma, addr, PVMW_SYNC | PVMW_MIGRATION);
	/* The entries have the old frames, but the offset is the new page's: exchanged, the old one has another's. */
	walk.pgoff = page_to_pgoff(page);
	while (page_vma_mapped_walk(&walk)) {
		struct page *new_page = page;
		swp_entry_t entry;
		pte_t swp, pte;

		if (!walk.pte) {
			remove_migration_pmd(&walk, new_page);
			continue;
		}
		swp = *walk.pte;
		entry = pte_to_swp_entry(swp);
		if (PageCompound(page))
			new_page = page + (linear_page_index(vma, walk.address) - walk.pgoff);
		get_page(new_page);
		pte = pfn_pte(page_to_pfn(new_page), READ_ONCE(vma->vm_page_prot));
		if (pte_swp_soft_dirty(swp))
			pte = pte_mksoft_dirty(pte);
		if (!pte_migration_young(swp))
			pte = pte_mkold(pte);
		if (PageDirty(page) && pte_migration_dirty(swp))
			pte = pte_mkdirty(pte);
		/* The VMA's permission may have changed since: only what it still allows comes back. */
		if (is_writable_migration_entry(entry) && (vma->vm_flags & VM_WRITE))
			pte = pte_mkwrite(pte);
		if (PageAnon(page))
			page_add_anon_rmap(new_page, vma, walk.address,
					   is_readable_migration_entry(entry) ? RMAP_NONE : RMAP_EXCLUSIVE);
		else
			page_add_file_rmap(new_page, vma, false);
		set_pte_at(walk.pte, pte);
		if (unlikely(vma->vm_flags & VM_LOCKED))
			mlock_page_drain_local();
		ps_charge(this_machine()->costs.remap_pte_ns, PS_TIME_MIGRATE);
		trace_remove_migration_pte(walk.address, pte.val, 0);
	}
	return true;
}

void remove_migration_ptes(struct page *old, struct page *new_page, bool locked)
{
	struct rmap_walk_control control = { .arg = old, .rmap_one = remove_migration_pte };

	if (locked)
		rmap_walk_locked(new_page, &control);
	else
		rmap_walk(new_page, &control);
}

/*
 * The waiter takes no reference. The page-table lock pins the page until he is on its wait queue: the entry cannot go without
 * that lock, and the page lives as long as the entry.
 */
static void drop_ptl(void *ptl)
{
	spin_unlock((spinlock_t *)ptl);
}

void migration_entry_wait(struct mm_struct *mm, pmd_t *pmd, u64 addr)
{
	pmd_t table = pmdp_get(pmd);
	spinlock_t *ptl;
	pte_t *ptep;

	if (!pmd_table(table))
		return;
	ptep = pte_offset_map_lock(&mm->pt, pmd, addr, &ptl);
	if (is_pte_migration_entry(*ptep))
		wait_on_page_locked_noref(pfn_swap_entry_to_page(pte_to_swp_entry(*ptep)), drop_ptl, ptl);
	else
		pte_unmap_unlock(ptep, ptl);
}

void pmd_migration_entry_wait(struct mm_struct *mm, pmd_t *pmd)
{
	spinlock_t *ptl = pmd_lock(&mm->pt, pmd);

	if (is_pmd_migration_entry(*pmd))
		wait_on_page_locked_noref(pfn_swap_entry_to_page(pmd_to_swp_entry(*pmd)), drop_ptl, ptl);
	else
		spin_unlock(ptl);
}
