/* SPDX-License-Identifier: MIT */
/*
 * Unmapping ranges: PTEs, huge PMDs, migration entries; see zap.h for the order of steps.
 */
#include <pagesim/zap.h>

#include <pagesim/address_space.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_ref.h>
#include <pagesim/pagemap.h>
#include <pagesim/rmap.h>
#include <pagesim/runtime.h>
#include <pagesim/swap_cache.h>
#include <pagesim/writeback.h>

void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm)
{
	tlb->mm = mm;
	tlb->tables = (struct pgtables_taken){ NULL, 0, 0 };
	tlb->start = U64_MAX;
	tlb->end = 0;
	tlb->force_flush = false;
	tlb->nr = 0;
}

static void tlb_note(struct mmu_gather *tlb, u64 addr, u64 size)
{
	tlb->start = ps_min(tlb->start, addr);
	tlb->end = ps_max(tlb->end, addr + size);
}

static void tlb_flush_only(struct mmu_gather *tlb)
{
	if (tlb->start < tlb->end)
		flush_tlb_range(&tlb->mm->pt, tlb->start, tlb->end);
	tlb->start = U64_MAX;
	tlb->end = 0;
	tlb->force_flush = false;
}

void tlb_remove_tables(struct mmu_gather *tlb, u64 start, u64 end, u64 floor, u64 ceiling)
{
	pgtables_take(&tlb->mm->pt, start, end, floor, ceiling, &tlb->tables);
	if (tlb->tables.first)
		tlb_note(tlb, tlb->tables.start, tlb->tables.end - tlb->tables.start);
}

void tlb_flush_mmu(struct mmu_gather *tlb)
{
	unsigned int i;

	tlb_flush_only(tlb);
	for (i = 0; i < tlb->nr; i++)
		free_swap_cache(tlb->pages[i]);
	pgtables_give_back(&tlb->mm->pt, &tlb->tables);
	release_pages(tlb->pages, (int)tlb->nr);
	tlb->nr = 0;
}

void tlb_finish_mmu(struct mmu_gather *tlb)
{
	tlb_flush_mmu(tlb);
}

/* Return: true when the batch is full and must be flushed before the next page. */
static bool tlb_remove_page(struct mmu_gather *tlb, struct page *page)
{
	tlb->pages[tlb->nr++] = page;
	return tlb->nr == MMU_GATHER_PAGES;
}

enum mm_counter mm_counter_of(struct page *page)
{
	if (PageAnon(page))
		return MM_ANONPAGES;
	return PageSwapBacked(page) ? MM_SHMEMPAGES : MM_FILEPAGES;
}

static bool should_zap(const struct zap_details *details, struct page *page)
{
	return !(details && details->keep_cows && PageAnon(page));
}

static u64 zap_pte_range(struct mmu_gather *tlb, struct vm_area_struct *vma, pmd_t *pmd, u64 addr, u64 end,
			 const struct zap_details *details)
{
	struct mm_struct *mm = vma->vm_mm;
	u32 unmap_ns = this_machine()->costs.map_pte_ns;
	spinlock_t *ptl;
	bool full = false;
	pte_t *pte;

	pte = pte_offset_map_lock(&mm->pt, pmd, addr, &ptl);
	for (; addr < end && !full; addr += PAGE_SIZE, pte++) {
		pte_t entry = *pte;
		struct page *page;

		if (pte_none(entry))
			continue;
		if (pte_present(entry)) {
			if (pte_special(entry)) {
				ptep_get_and_clear(pte);
				tlb_note(tlb, addr, PAGE_SIZE);
				continue;
			}
			page = pfn_to_page(pte_pfn(entry));
			if (!should_zap(details, page))
				continue;
			entry = ptep_get_and_clear(pte);
			tlb_note(tlb, addr, PAGE_SIZE);
			if (!PageAnon(page)) {
				if (pte_dirty(entry)) {
					set_page_dirty(page);
					tlb->force_flush = true;
				}
				if (pte_young(entry))
					mark_page_accessed(page);
			}
			add_mm_counter(mm, mm_counter_of(page), -1);
			page_remove_rmap(page, vma, false);
			ps_charge(unmap_ns, PS_TIME_SYSCALL);
			full = tlb_remove_page(tlb, page);
			continue;
		}
		if (is_pte_migration_entry(entry)) {
			page = pfn_swap_entry_to_page(pte_to_swp_entry(entry));
			if (!should_zap(details, page))
				continue;
			add_mm_counter(mm, mm_counter_of(page), -1);
			set_pte_at(pte, __pte(0));
			continue;
		}
		/* In swap, and so a private page's: spared like one. */
		BUG_ON(non_swap_entry(pte_to_swp_entry(entry)));
		if (details && details->keep_cows)
			continue;
		add_mm_counter(mm, MM_SWAPENTS, -1);
		WARN_ON_ONCE(!free_swap_and_cache(pte_to_swp_entry(entry)));
		set_pte_at(pte, __pte(0));
	}
	/* A dirty shared page may be cleaned by whoever holds its lock, once the entry is gone: he must not miss a late store. */
	if (tlb->force_flush)
		tlb_flush_only(tlb);
	pte_unmap_unlock(pte, ptl);
	if (full)
		tlb_flush_mmu(tlb);
	return addr;
}

/* Return: true if the PMD was a leaf and is gone now. */
static bool zap_huge_pmd(struct mmu_gather *tlb, struct vm_area_struct *vma, pmd_t *pmd, u64 addr)
{
	struct mm_struct *mm = vma->vm_mm;
	spinlock_t *ptl = __pmd_trans_huge_lock(vma, pmd);
	unsigned int nr = hpage_pmd_nr(&mm->pt);
	pte_t *table = NULL;
	struct page *page = NULL;
	pmd_t entry;

	if (!ptl)
		return false;
	entry = pmdp_get_and_clear(pmd);
	tlb_note(tlb, addr, pmd_size(&mm->pt));
	if (is_huge_zero_pmd(entry)) {
		table = pgtable_trans_huge_withdraw(&mm->pt, pmd);
	} else {
		struct page *mapped;

		if (pmd_present(entry)) {
			mapped = page = pfn_to_page(pmd_pfn(entry));
			/* The entry may be all that knows of a write: a shared mapping of tmpfs is writable from the start. */
			if (!PageAnon(page) && pmd_dirty(entry))
				set_page_dirty(page);
			page_remove_rmap(page, vma, true);
		} else {
			mapped = pfn_swap_entry_to_page(pmd_to_swp_entry(entry));
		}
		if (PageAnon(mapped))
			table = pgtable_trans_huge_withdraw(&mm->pt, pmd);
		add_mm_counter(mm, mm_counter_of(mapped), -(long)nr);
	}
	if (table)
		mm_dec_nr_ptes(&mm->pt);
	spin_unlock(ptl);
	pte_free(&mm->pt, table);
	if (page && tlb_remove_page(tlb, page))
		tlb_flush_mmu(tlb);
	return true;
}

/*
 * The first PMD from *addr on that has something in it. Where one page is taken away (details->single), empty ones count
 * as well: somebody may be about to have emptied them.
 */
static pmd_t *next_pmd(const struct page_tables *pt, u64 *addr, u64 end, const struct zap_details *details)
{
	if (!details || !details->single)
		return pmd_next(pt, addr, end);
	for (; *addr < end; *addr = pmd_addr_end(pt, *addr, end)) {
		pmd_t *pmd = pmd_find(pt, *addr);

		if (pmd)
			return pmd;
	}
	return NULL;
}

/* Does `single` fit into this PMD, which shows nothing of it? */
static bool may_be_in_flight(const struct page_tables *pt, u64 size, pmd_t pmd, const struct zap_details *details)
{
	return details && details->single && compound_nr(details->single) >= hpage_pmd_nr(pt) && size == pmd_size(pt) &&
	       pmd_none(pmd);
}

void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, u64 start, u64 end,
		      const struct zap_details *details)
{
	struct page_tables *pt = &vma->vm_mm->pt;
	u64 addr = start;
	pmd_t *pmd;

	while ((pmd = next_pmd(pt, &addr, end, details))) {
		u64 next = pmd_addr_end(pt, addr, end);

		if (pmd_leaf_or_swap(pmdp_get(pmd))) {
			if (next - addr != pmd_size(pt))
				__split_huge_pmd(vma, pmd, addr, false, NULL);
			else if (zap_huge_pmd(tlb, vma, pmd, addr)) {
				addr = next;
				continue;
			}
		} else if (may_be_in_flight(pt, next - addr, pmdp_get(pmd), details)) {
			/*
			 * zap_huge_pmd() or a split clears the PMD first and uncounts the mapping afterwards, under this lock. Our
			 * caller wants to find the page unmapped when we come back, so let them finish.
			 */
			spin_unlock(pmd_lock(pt, pmd));
		}
		while (addr < next && pmd_table(pmdp_get(pmd)))
			addr = zap_pte_range(tlb, vma, pmd, addr, next, details);
		addr = next;
		cond_resched();
	}
}

void zap_page_range(struct vm_area_struct *vma, u64 start, u64 end, const struct zap_details *details)
{
	struct mmu_gather tlb;

	lru_add_drain();
	tlb_gather_mmu(&tlb, vma->vm_mm);
	unmap_page_range(&tlb, vma, start, end, details);
	tlb_finish_mmu(&tlb);
}

static void unmap_mapping_range_tree(struct address_space *mapping, pgoff_t first, pgoff_t last,
				     const struct zap_details *details)
{
	struct interval_tree_node *node;

	i_mmap_lock_read(mapping);
	interval_tree_foreach(node, &mapping->i_mmap, first, last)
	{
		struct vm_area_struct *vma = container_of(node, struct vm_area_struct, shared);
		pgoff_t from = ps_max(first, vma->vm_pgoff);
		pgoff_t to = ps_min(last, vma->vm_pgoff + vma_pages(vma) - 1);
		u64 start = vma->vm_start + ((from - vma->vm_pgoff) << PAGE_SHIFT);

		zap_page_range(vma, start, start + ((to - from + 1) << PAGE_SHIFT), details);
	}
	i_mmap_unlock_read(mapping);
}

void unmap_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t nr, bool even_cows)
{
	struct zap_details details = { .keep_cows = !even_cows };
	pgoff_t last = nr ? start + nr - 1 : U64_MAX;

	if (last < start)
		last = U64_MAX;
	unmap_mapping_range_tree(mapping, start, last, &details);
}

void unmap_mapping_page(struct page *page)
{
	struct zap_details details = { .keep_cows = true, .single = compound_head(page) };
	pgoff_t first = page_to_pgoff(compound_head(page));

	VM_BUG_ON_PAGE(!PageLocked(page), page);
	unmap_mapping_range_tree(page_mapping(page), first, first + compound_nr(compound_head(page)) - 1, &details);
}
