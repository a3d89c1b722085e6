/* SPDX-License-Identifier: MIT */
/*
 * The split engine: one huge page becomes its small pages, or smaller huge ones.
 *
 * Layer: engines
 */
#ifndef PAGESIM_SPLIT_H
#define PAGESIM_SPLIT_H

#include <pagesim/list.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct mm_struct;
struct page;
struct shrink_control;
struct shrinker;

/**
 * Splits the compound page that contains `page` into pieces of 2^order small pages each.
 * The caller's lock and reference stay with the piece that contains `page`; the others are unlocked, and freed if nobody maps
 * them. Pieces that lie behind the end of their file leave it.
 * @list: pieces but the first are collected here with a reference each (the head is isolated); NULL: they follow the head on its LRU.
 * @order: below that of the page; not 1 for an anonymous page; 0 for one in the swap cache.
 * Context: head locked, one reference by the caller, may sleep.
 * Return: 0, or the page is whole: -EINVAL (no pieces of that order; nothing is counted); -EBUSY (writeback, which is not counted; no
 * rmap or mapping; somebody holds it and order is 0) or -EAGAIN (somebody holds it and order is not 0), and it may be mapped by PTEs
 * now; -ENOMEM. Counts THP_SPLIT_PAGE or THP_SPLIT_PAGE_FAILED for a page that a PMD could map.
 * Fidelity: to order 0 exact, split_huge_page_to_list() of 6.1; above, split_huge_page_to_list_to_order() of 6.9, except that tmpfs is
 * taken (as since 6.14) and that a piece behind the end of its file gives back all of its references (as since 6.15).
 */
int split_huge_page_to_list_to_order(struct page *page, struct list_head *list, unsigned int order);
/** The same into small pages. */
static inline int split_huge_page_to_list(struct page *page, struct list_head *list)
{
	return split_huge_page_to_list_to_order(page, list, 0);
}
static inline int split_huge_page(struct page *page)
{
	return split_huge_page_to_list(page, NULL);
}
/** Could it be split now? A look, not a promise. */
bool can_split_huge_page(struct page *page);
/**
 * debugfs split_huge_pages: tries to split every page of [start, end) that is larger than @order. Return: how many were split.
 * Fidelity: exact, split_huge_pages_pid(); the order is of 6.9.
 */
unsigned long split_huge_pages_range(struct mm_struct *mm, u64 start, u64 end, unsigned int order);
/** The shrinker of the deferred split queues: huge pages that lost some of their mappings (compound.h). */
void register_deferred_split_shrinker(struct shrinker *shrinker);
/**
 * Splits up to sc->nr_to_scan pages of the deferred queue of a node; what cannot be split stays on it.
 * Context: may sleep. Return: how many were split; SHRINK_STOP if none was and none is left. Fidelity: exact.
 */
unsigned long deferred_split_scan(struct shrinker *shrinker, struct shrink_control *sc);

#ifdef __cplusplus
}
#endif
#endif
