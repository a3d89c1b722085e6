/* SPDX-License-Identifier: MIT */
/*
 * What the two halves of collapse share: anonymous memory and the driver (collapse.c), and files (collapse_file.c).
 */
#ifndef FAULT_COLLAPSE_H
#define FAULT_COLLAPSE_H

#include <pagesim/collapse.h>

struct address_space;

/** Forgets what the last scan saw. */
void collapse_scan_begin(struct collapse_control *cc);
/** One more page on that node. */
static inline void collapse_scan_note(struct collapse_control *cc, nid_t nid)
{
	cc->node_load[nid]++;
}
/**
 * The huge page to collapse into, where most of the pages are; in no cache, one reference.
 * Context: may sleep. Return: NULL: none to be had. Counts THP_COLLAPSE_ALLOC or _FAILED.
 */
struct page *collapse_alloc_page(struct collapse_control *cc);
/** What lies at addr? Return: SCAN_SUCCEED with *ret_pmd if a table of PTEs does; else why not. Context: mmap_lock. */
enum scan_result find_pmd_or_thp_or_none(struct mm_struct *mm, u64 addr, pmd_t **ret_pmd);
/** Copies, or clears for src == NULL, one small page of the new huge one, and charges it. */
void collapse_copy_page(struct page *dst, struct page *src);

/** The file's half of a scan. Context: no locks, the inode is held. Return: as khugepaged_scan_range(). */
enum scan_result hpage_collapse_scan_file(struct mm_struct *mm, u64 addr, struct address_space *mapping, pgoff_t start,
					  struct collapse_control *cc);
/** The file has its huge page, this mapping of it is still small: give it a PMD. Context: mmap_lock for writing. */
enum scan_result collapse_pte_mapped_thp(struct mm_struct *mm, u64 addr, bool install_pmd);

#endif
