/* SPDX-License-Identifier: MIT */
/*
 * Sleeping on a bit of page->flags: the page lock (PG_locked) and the end of writeback (PG_writeback). A waiter queues
 * itself at a wait queue chosen by the page's address, sets PG_waiters so that whoever clears the bit knows it has to
 * wake, and looks at the bit once more before it sleeps. Clearing the bit and waking are two steps; between them the
 * page may get a new owner of the lock, or be freed if the waker holds no reference.
 *
 *   lock_page:     trylock ──got──▶ locked
 *                     │ busy: queue, PG_waiters, again
 *                     ▼
 *                  asleep ──woken──▶ again
 *
 *   unlock_page:   clear PG_locked (release) ▷ PG_waiters set? ▷ wake the queue; last waiter gone: clear PG_waiters
 *
 * set_page_writeback and end_page_writeback keep tags of the file's index too: they are the cache layer's (writeback.h).
 *
 * The page lock is a lock of class PAGE_LOCK, known to the rank checker and to the accounting of waits.
 * What Linux does differently: the queue hands PG_locked to exclusive waiters that have waited for long; here the
 * woken waiter competes.
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_LOCK_H
#define PAGESIM_PAGE_LOCK_H

#include <pagesim/page_flags.h>

#ifdef __cplusplus
extern "C" {
#endif

/**
 * Lock the page that holds `page` if nobody has it locked.
 * **Return:** true: the caller has the lock. **Context:** any. Fidelity: exact.
 */
bool trylock_page(struct page *page);

/** Lock the page, sleeping until it is free. **Context:** may sleep; the caller has a reference. Fidelity: exact. */
void lock_page(struct page *page);

/** Unlock and wake who waits. **Context:** any; the page must not be freed before it returns. Fidelity: exact. */
void unlock_page(struct page *page);

/** Sleep until nobody has it locked; it may be locked again on return. **Context:** may sleep; has a reference. */
void wait_on_page_locked(struct page *page);

/**
 * Sleep until `bit` (PG_locked, PG_writeback) of the page is clear.
 * **Context:** may sleep; the caller has a reference. Fidelity: exact (folio_wait_bit).
 */
void wait_on_page_bit(struct page *page, int bit);

/**
 * The same for a caller without a reference, who saw the page under a page table lock `drop`ped after it is queued:
 * the page is freed only after its lock is dropped, which wakes. **Context:** may sleep. `drop(arg)` is called once.
 * Fidelity: exact (migration_entry_wait_on_locked).
 */
void wait_on_page_locked_noref(struct page *page, void (*drop)(void *arg), void *arg);

/**
 * Wake who waits for `bit`, if PG_waiters says there is somebody. The caller has cleared the bit, with release order,
 * and keeps the page from being freed.
 */
void page_wake_bit(struct page *page, int bit);

#ifdef __cplusplus
}
#endif
#endif
