/* SPDX-License-Identifier: MIT */
/*
 * The split engine: one huge page becomes its small pages.
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
 * Splits the compound page that contains `page` into small pages.
 * The caller's lock and reference stay with `page`; the other pieces are unlocked, and freed if nobody maps them.
 * @list: tails are collected here with a reference each (the head is isolated); NULL: they follow the head on its LRU.
 * Context: head locked, one reference by the caller, may sleep.
 * Return: 0; -EBUSY (writeback, which is not counted; no rmap or mapping; somebody holds it): the page is whole, but may be
 * mapped by PTEs now; -ENOMEM. Counts THP_SPLIT_PAGE or THP_SPLIT_PAGE_FAILED.
 * Fidelity: exact, split_huge_page_to_list() of 6.1.
 */
int split_huge_page_to_list(struct page *page, struct list_head *list);
static inline int split_huge_page(struct page *page)
{
	return split_huge_page_to_list(page, NULL);
}
/** Could it be split now? A look, not a promise. */
bool can_split_huge_page(struct page *page);
/** debugfs split_huge_pages: tries to split every huge page of [start, end). Return: how many were split. */
unsigned long split_huge_pages_range(struct mm_struct *mm, u64 start, u64 end);
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
