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
/** Splits up to nr pages of a node's deferred queue. Return: how many were split. Fidelity: exact, deferred_split_scan(). */
unsigned long deferred_split_scan(nid_t nid, unsigned long nr);

#ifdef __cplusplus
}
#endif
#endif
