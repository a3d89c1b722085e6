/* SPDX-License-Identifier: MIT */
/*
 * Taking mappings away: munmap, exit, MADV_DONTNEED and truncation clear entries, flush, and only then let the pages go.
 *
 *   clear entry ─> mapcount ─> (batch) ─> TLB flush ─> drop references ─> pages freed
 *
 * The order is the point: a page given back before the flush could be written through a stale translation by its old owner.
 *
 * Layer: fault
 */
#ifndef PAGESIM_ZAP_H
#define PAGESIM_ZAP_H

#include <pagesim/mm.h>

#ifdef __cplusplus
extern "C" {
#endif

struct address_space;
struct page;

#define MMU_GATHER_PAGES 128

/** Pages unmapped but not yet released, tables taken out but not yet given back, and the range to be flushed. Private. */
struct mmu_gather {
	struct mm_struct *mm;
	struct pgtables_taken tables;
	u64 start, end;   /* touched so far; start >= end: nothing */
	bool force_flush; /* a dirty file page was unmapped: flush before its lock holder cleans it */
	unsigned int nr;
	struct page *pages[MMU_GATHER_PAGES];
};

/**
 * Begins to collect. The gather is the caller's alone. Fidelity of this and the next two: simplified: 128 pages in all, where
 * 6.1 adds batches as long as there is memory; page tables are not gathered.
 */
void tlb_gather_mmu(struct mmu_gather *tlb, struct mm_struct *mm);
/** Flushes and releases what was collected; the gather may be used again. */
void tlb_flush_mmu(struct mmu_gather *tlb);
void tlb_finish_mmu(struct mmu_gather *tlb);
/** Takes page tables out, which go when the gather is flushed. Arguments and context: as pgtables_take(). */
void tlb_remove_tables(struct mmu_gather *tlb, u64 start, u64 end, u64 floor, u64 ceiling);

/** Which pages of the range to spare. All zero: none. */
struct zap_details {
	bool keep_cows;      /* spare private copies (truncation keeps them unless asked) */
	struct page *single; /* the range is this locked page's and it must be unmapped afterwards, or NULL */
};

/** Unmaps [start, end) of one VMA. Context: mmap_lock either way, or the rmap lock of the VMA. Fidelity: exact. */
void unmap_page_range(struct mmu_gather *tlb, struct vm_area_struct *vma, u64 start, u64 end,
		      const struct zap_details *details);
/** The same on its own. Drains the CPU's LRU batch first. Context: as above; may sleep. Fidelity: exact. */
void zap_page_range(struct vm_area_struct *vma, u64 start, u64 end, const struct zap_details *details);

/** Unmaps pages [start, start + nr) of a file from every VMA (nr 0: to the end). Context: takes i_mmap_rwsem; may sleep. Fidelity: exact. */
void unmap_mapping_pages(struct address_space *mapping, pgoff_t start, pgoff_t nr, bool even_cows);
/**
 * Unmaps one page of a file, small or huge, from every VMA; private copies stay.
 * Context: page locked and in the cache; takes i_mmap_rwsem; may sleep. The page has no mapping left afterwards, not even
 * one that a racing unmap or split of a huge PMD has cleared and not yet uncounted.
 * Fidelity: exact, unmap_mapping_folio().
 */
void unmap_mapping_page(struct page *page);

/** The kind of page an rss counter counts this page as. */
enum mm_counter mm_counter_of(struct page *page);

#ifdef __cplusplus
}
#endif
#endif
