/* SPDX-License-Identifier: MIT */
/*
 * Pages that no LRU list knows and no process maps, and that can be moved all the same, because their owner (a driver: a
 * balloon, a pool of compressed pages) says how. The owner marks a page; the migrate engine takes it from the owner,
 * lets the owner move it, and gives it back if that failed.
 *
 *      allocated ──__SetPageMovable──> movable ──isolate_movable_page──> isolated ──ops->migrate_page──> moved
 *          ^                              │  ^                               │
 *          └──────__ClearPageMovable──────┘  └──────putback_movable_page─────┘
 *
 * What may be trusted in each state:
 *   movable    the owner has it in its books and one reference; page->lru and page->private_data are the owner's
 *   isolated   the isolator has a second reference and page->lru; the owner keeps the page out of its books, or knows
 *              that it is away; if the owner frees it meanwhile it clears the mark, and the isolator finds out
 *   moved      the owner has the new page in its books, the old one has only the isolator's reference
 *
 * The mark is in page->mapping: address of the ops, with PAGE_MAPPING_MOVABLE set. Clearing it leaves the low bit, so that
 * __PageMovable() stays true until the page is freed: the isolator can still tell, without the page lock, that this never
 * was a page of the LRU. PageMovable(), under the page lock, asks whether there are ops.
 *
 * Locking: the mark and PG_isolated change under the page lock.
 *
 * Source: Linux 6.1 include/linux/migrate.h (behaviour).
 *
 * Layer: page
 */
#ifndef PAGESIM_MOVABLE_H
#define PAGESIM_MOVABLE_H

#include <pagesim/migrate_mode.h>
#include <pagesim/page_flags.h>

#ifdef __cplusplus
extern "C" {
#endif

/** What the owner of movable pages can do. All three are called with the page locked. Fidelity: exact. */
struct movable_operations {
	/**
	 * Take the page out of the books for a while. Context: no sleeping.
	 * Return: false: it cannot be moved now.
	 */
	bool (*isolate_page)(struct page *page);
	/**
	 * Make `dst` take the place of `src`, contents included; both are locked, `src` is isolated. On success the owner
	 * has a reference to `dst` of its own, has dropped that to `src`, and has cleared the mark of `src`.
	 * Context: may sleep unless mode is MIGRATE_ASYNC.
	 * Return: 0; -EAGAIN (may work later); any other error is final. The page stays isolated then.
	 */
	int (*migrate_page)(struct page *dst, struct page *src, enum migrate_mode mode);
	/** Back into the books: it did not move. Context: no sleeping. */
	void (*putback_page)(struct page *page);
};

/** Is the page marked and its owner still there? Context: page lock. Fidelity: exact. */
static inline bool PageMovable(const struct page *page)
{
	VM_BUG_ON_PAGE(!PageLocked(page), page);
	return __PageMovable(page) && page_rmapping(page);
}

/** The owner's operations. Context: page lock; PageMovable() said yes. Fidelity: exact. */
static inline const struct movable_operations *page_movable_ops(const struct page *page)
{
	return (const struct movable_operations *)page_rmapping(page);
}

/** Mark a page. Context: page lock; the caller owns the page, nobody maps it. Fidelity: exact. */
void __SetPageMovable(struct page *page, const struct movable_operations *ops);
/** Its owner gives it up, or has moved it. Context: page lock; marked. Fidelity: exact. */
void __ClearPageMovable(struct page *page);

/**
 * Take a page from its owner, to move it. Never waits for the page lock: its holder may be about to give the frame
 * another use.
 * Context: any; needs no reference: the page may be freed and used anew at any moment before the call has its own.
 * Return: 0: isolated, the caller has a reference and page->lru. -EBUSY: nothing was done.
 * Fidelity: exact.
 */
int isolate_movable_page(struct page *page);
/**
 * Give an isolated page that did not move back to its owner, or, if the owner has given it up meanwhile, let go of it.
 * Drops the isolator's reference.
 * Context: may sleep (page lock). Fidelity: exact (putback_movable_pages() for such a page).
 */
void putback_movable_page(struct page *page);
/**
 * Let the owner move the page. Success also when the owner gave the page up since: there is nothing left to move.
 * Context: both locked, `src` isolated; may sleep unless mode is MIGRATE_ASYNC.
 * Return: 0: src is no longer isolated, and freed with the isolator's reference; or the owner's error.
 * Fidelity: exact (move_to_new_folio() for such a page).
 */
int migrate_movable_page(struct page *dst, struct page *src, enum migrate_mode mode);

/**
 * Somebody who owns pages that no LRU, mapping or file accounts for. It registers with the machine's memory so that
 * check_machine() can tell owned from leaked. The caller's storage.
 */
struct ps_page_owner {
	struct list_head list; /* ps_mem::owners; changed only where nothing else runs */
	const char *name;
	/** Calls fn for every page in the books, isolated ones left out. Context: nothing else runs. */
	void (*visit)(struct ps_page_owner *owner, void (*fn)(void *arg, struct page *page), void *arg);
};
/** Context: a current task of the machine. */
void ps_page_owner_register(struct ps_page_owner *owner);
void ps_page_owner_unregister(struct ps_page_owner *owner);

#ifdef __cplusplus
}
#endif
#endif
