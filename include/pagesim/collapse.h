/* SPDX-License-Identifier: MIT */
/*
 * Collapse: small pages that lie side by side in an address space, or in a file, become one huge page.
 *
 *   anonymous    scan the PTEs ─> allocate ─> take the table out of the PMD ─> isolate and lock every page ─> copy ─> huge PMD
 *   tmpfs        scan the slots ─> allocate ─> unmap, freeze and replace page after page ─> copy ─> table out, huge PMD in
 *
 * madvise(MADV_COLLAPSE) does it at once and cares for no limits; khugepaged does it on its own account and keeps to
 * max_ptes_none, _swap and _shared. Both are the same functions with another `struct collapse_control`.
 *
 * Fidelity: exact against mm/khugepaged.c of 6.1 for anonymous memory and shmem, save that node counters of file pages follow
 * the pages (6.1 leaves them with the old pages' nodes). Files of a disk are never collapsed: 6.1 does so for read-only text
 * alone, which is not modelled. khugepaged's own thread is not modelled: khugepaged_scan_range() is one step of it.
 *
 * Layer: fault
 */
#ifndef PAGESIM_COLLAPSE_H
#define PAGESIM_COLLAPSE_H

#include <pagesim/mm.h>
#include <pagesim/nodemask.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What became of one huge page's worth of memory. */
enum scan_result {
	SCAN_FAIL,
	SCAN_SUCCEED,
	SCAN_PMD_NULL,            /* no table of PMDs, or a migration entry in it */
	SCAN_PMD_NONE,            /* nothing mapped here */
	SCAN_PMD_MAPPED,          /* a huge page already */
	SCAN_EXCEED_NONE_PTE,     /* khugepaged: too many holes */
	SCAN_EXCEED_SWAP_PTE,     /* khugepaged: too much of it in swap */
	SCAN_EXCEED_SHARED_PTE,   /* khugepaged: too many pages that others map too */
	SCAN_PTE_NON_PRESENT,     /* an entry went away meanwhile */
	SCAN_PTE_MAPPED_HUGEPAGE, /* the file has the huge page; only the mapping is small */
	SCAN_PAGE_RO,             /* nothing writable in it: nobody needs it fast */
	SCAN_LACK_REFERENCED_PAGE,
	SCAN_PAGE_NULL,
	SCAN_PAGE_COUNT, /* somebody holds a page */
	SCAN_PAGE_LRU,
	SCAN_PAGE_LOCK,
	SCAN_PAGE_ANON,
	SCAN_PAGE_COMPOUND,
	SCAN_ANY_PROCESS,
	SCAN_VMA_NULL,
	SCAN_VMA_CHECK,
	SCAN_ADDRESS_RANGE,
	SCAN_DEL_PAGE_LRU,
	SCAN_ALLOC_HUGE_PAGE_FAIL,
	SCAN_TRUNCATED,
	SCAN_PAGE_HAS_PRIVATE,
	NR_SCAN_RESULTS,
};
/** The result's name as the kernel's tracepoints print it. */
const char *ps_scan_result_name(enum scan_result result);

/** Who collapses, and what the last scan saw. */
struct collapse_control {
	bool is_khugepaged;          /* keep to the limits of struct ps_faults; else none */
	u32 node_load[MAX_NUMNODES]; /* pages seen on each node: the huge page goes where most are */
	nodemask_t alloc_nmask;      /* the nodes that have the most */
};

/**
 * madvise(MADV_COLLAPSE) on the part [start, end) of a VMA: every whole huge page's worth in it.
 * Context: mmap_lock for reading, held again on return, but released in between: the VMA may be gone. May sleep, allocates.
 * Return: 0 if all of it is huge pages now; -EINVAL (cannot be), -EAGAIN (a page was held or busy), -ENOMEM (no huge page,
 * or counted as such).
 */
int madvise_collapse(struct vm_area_struct *vma, u64 start, u64 end);
/**
 * One step of khugepaged: looks at the huge page's worth of memory at addr and collapses it if the limits allow.
 * Context: no locks; takes mmap_lock. May sleep, allocates. Return: SCAN_SUCCEED, or why not.
 */
enum scan_result khugepaged_scan_range(struct mm_struct *mm, u64 addr);

#ifdef __cplusplus
}
#endif
#endif
