/* SPDX-License-Identifier: MIT */
/*
 * The books of a memory balloon: the pages a guest has handed to its host, which the migrate engine may exchange for
 * others. What is general to all balloons is here; what one device does when a page is exchanged is its `migratepage`.
 *
 *   state of a page      on `pages`   isolated_pages   references           marks
 *   in the balloon       yes          -                the balloon's        PageOffline, movable
 *   isolated             no           counts it        + the isolator's     the same, PG_isolated
 *   dequeued             no           -                the caller's         none
 *
 * Locking: pages_lock covers the list and isolated_pages. It is taken under the page lock; the other way round only with
 * trylock_page(), so whoever empties the balloon passes pages over that are being moved.
 *
 * Source: Linux 6.1 mm/balloon_compaction.c (behaviour).
 *
 * Layer: engines
 */
#ifndef PAGESIM_BALLOON_COMPACTION_H
#define PAGESIM_BALLOON_COMPACTION_H

#include <pagesim/movable.h>
#include <pagesim/spinlock.h>

#ifdef __cplusplus
extern "C" {
#endif

/** One balloon's books. */
struct balloon_dev_info {
	unsigned long isolated_pages; /* pages_lock */
	spinlock_t pages_lock;        /* class DEVICE_PAGES_LOCK */
	struct list_head pages;       /* pages_lock; through page->lru */
	/**
	 * Exchange `page`, isolated and out of the books, for `newpage`. Both are locked.
	 * Return: 0, the new one is in the books and the old one is dropped; -EAGAIN, nothing was done.
	 */
	int (*migratepage)(struct balloon_dev_info *b, struct page *newpage, struct page *page, enum migrate_mode mode);
};

void balloon_devinfo_init(struct balloon_dev_info *b);

/**
 * A page for a balloon: movable, and not at the price of the system's reserves.
 * Context: may sleep. Return: a page with one reference, or NULL. Fidelity: exact.
 */
struct page *balloon_page_alloc(void);
/** Put a page in; its reference becomes the balloon's. Counts BALLOON_INFLATE. Context: any. Fidelity: exact. */
void balloon_page_enqueue(struct balloon_dev_info *b, struct page *page);
/**
 * Take up to nr pages out, passing over those that are locked or isolated; they are added to `pages` through page->lru, a
 * reference of each is the caller's. Counts BALLOON_DEFLATE.
 * Context: any. Return: how many. Fidelity: exact.
 */
unsigned long balloon_page_list_dequeue(struct balloon_dev_info *b, struct list_head *pages, unsigned long nr);

/** For `migratepage`: into the books, and out of them. Context: pages_lock and page lock. Fidelity: exact. */
void balloon_page_insert(struct balloon_dev_info *b, struct page *page);
void balloon_page_delete(struct page *page);

#ifdef __cplusplus
}
#endif
#endif
