/* SPDX-License-Identifier: MIT */
/*
 * How many page table entries map a page. Every small page counts its own PTEs in _mapcount; PMD leaves that map a
 * compound page whole are counted once, in the first tail. Both start at -1, so that all-ones means unmapped and
 * page_type can share the word. The counts change under the page table lock of the mapping, after its entry was written
 * (adding) or cleared (removing): in between the two disagree, and a reader without that lock sees it.
 *
 *   page_mapcount(p)      mappings of this small page: own PTEs + PMDs of its compound page
 *   compound_mapcount(p)  PMD mappings of the compound page
 *   total_mapcount(p)     all entries that map any part: PTEs of all small pages + PMDs
 *
 * A third count, nr_pages_mapped in the first tail, sums up the compound page: how many of its small pages PTEs map, and
 * COMPOUND_MAPPED besides while a PMD does. Whoever takes one of the other counts across 0 takes this one along in one step,
 * and its value then says which small pages became mapped or unmapped by that, in whatever order others came between.
 *
 * What Linux does differently: 6.1 adds a PMD mapping also to every small page's _mapcount in some states (PageDoubleMap,
 * file THPs) and subtracts it again when reading, and looks at every small page where nr_pages_mapped answers here, which is
 * 6.2's. The values read here are the same.
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_MAPCOUNT_H
#define PAGESIM_PAGE_MAPCOUNT_H

#include <pagesim/page_flags.h>
#include <pagesim/atomic.h>

#ifdef __cplusplus
extern "C" {
#endif

static inline atomic_t *compound_mapcount_ptr(struct page *page)
{
	return &page[1].compound_mapcount;
}

/** PMD mappings of a compound page. @head: its head. */
static inline int head_compound_mapcount(const struct page *head)
{
	return atomic_read(&head[1].compound_mapcount) + 1;
}

/** PMD mappings of the compound page that holds `page`. Fidelity: exact. */
static inline int compound_mapcount(const struct page *page)
{
	page = compound_head(page);
	return PageHead(page) ? head_compound_mapcount(page) : 0;
}

/** In nr_pages_mapped: a PMD maps the page. More than a compound page has small pages. */
#define COMPOUND_MAPPED 0x800000

/**
 * Adds to nr_pages_mapped of a compound page. @head: its head. Not a schedule point: the step is part of the change of the
 * count it goes with.
 * Return: the new value.
 */
static inline int nr_pages_mapped_add(struct page *head, int delta)
{
	return __atomic_add_fetch(&head[1].nr_pages_mapped, delta, __ATOMIC_RELAXED);
}

/** nr_pages_mapped of a compound page. @head: its head. */
static inline int head_nr_pages_mapped(const struct page *head)
{
	return __atomic_load_n(&head[1].nr_pages_mapped, __ATOMIC_RELAXED);
}

/** Nobody maps the page by a PTE. */
static inline void page_mapcount_reset(struct page *page)
{
	atomic_set(&page->_mapcount, -1);
}

/** Entries that map this small page. Not for pages with a page type. Fidelity: exact. */
static inline int page_mapcount(const struct page *page)
{
	int count = atomic_read(&page->_mapcount) + 1;

	if (unlikely(PageCompound(page)))
		count += head_compound_mapcount(compound_head(page));
	return count;
}

/** Entries that map any part of the page. Fidelity: exact (folio_mapcount). */
int total_mapcount(const struct page *page);

/** Does any entry map any part of the page? Fidelity: exact (folio_mapped), without looking at every small page. */
bool page_mapped(const struct page *page);

#ifdef __cplusplus
}
#endif
#endif
