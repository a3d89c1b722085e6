/* SPDX-License-Identifier: MIT */
/*
 * Sleeping on a bit of page->flags: the page lock (PG_locked) and the end of writeback (PG_writeback). A waiter queues
 * itself at one of the runtime's wait queues, sets PG_waiters so that whoever clears the bit knows it has to wake, and
 * looks at the bit once more before it sleeps. Clearing the bit and waking are two steps; between them the page may get
 * a new owner of the lock, or be freed if the waker holds no reference.
 *
 *   lock_page:     trylock ──got──▶ locked
 *                     │ busy: queue, PG_waiters, look again
 *                     ▼
 *                  asleep ──woken by unlock_page, which has taken the lock for the first in the queue──▶ locked
 *
 *   unlock_page:   clear PG_locked (release) ▷ PG_waiters set? ▷ wake; nobody left: clear PG_waiters
 *
 * The page lock is a lock of class PAGE_LOCK: the rank checker and the accounting of waits know it. It has no owner: who
 * submits I/O locks, who completes it unlocks.
 *
 * set_page_writeback, end_page_writeback and wait_on_page_writeback keep the tags of the file's index too: they are the
 * cache layer's (writeback.h), made from wait_on_page_bit and page_wake_bit.
 *
 * Layer: page
 */
#ifndef PAGESIM_PAGE_LOCK_H
#define PAGESIM_PAGE_LOCK_H

#include <pagesim/page_flags.h>
#include <pagesim/wait_bit.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The functions behind the names below; `at` is the caller's place, for reports. */

static inline bool ps_trylock_page_at(struct page *page, const struct ps_site *at)
{
	return ps_bit_trylock_at(&compound_head(page)->flags, PG_locked, PAGE_LOCK, at);
}

static inline void ps_lock_page_at(struct page *page, unsigned int flags, const struct ps_site *at)
{
	ps_bit_lock_flagged_at(&compound_head(page)->flags, PG_locked, PG_waiters, PAGE_LOCK, flags, at);
}

static inline void ps_unlock_page_at(struct page *page, const struct ps_site *at)
{
	page = compound_head(page);
	VM_BUG_ON_PAGE(!PageLocked(page), page);
	ps_bit_unlock_flagged_at(&page->flags, PG_locked, PG_waiters, PAGE_LOCK, at);
}

static inline void ps_wait_on_page_bit_at(struct page *page, int bit, const struct ps_site *at)
{
	ps_wait_on_bit_flagged_at(&compound_head(page)->flags, bit, PG_waiters, PAGE_LOCK, NULL, NULL, at);
}

/**
 * trylock_page(page) - lock the page that holds `page` if nobody has it locked.
 * **Return:** true: the caller has the lock. **Context:** any; the caller has a reference. Fidelity: exact.
 */
#define trylock_page(page) ps_trylock_page_at((page), PS_HERE)

/**
 * lock_page(page) - lock it, sleeping until it is free.
 * **Context:** may sleep; the caller has a reference.
 * Fidelity: simplified (folio_lock): the unlocker gives the lock to the first who sleeps; Linux lets who comes by take
 * it several times before it does.
 */
#define lock_page(page) ps_lock_page_at((page), 0, PS_HERE)

/** lock_page_nested(page) - the same for a second page, in an order the caller vouches for. */
#define lock_page_nested(page) ps_lock_page_at((page), PS_ACQ_NESTED, PS_HERE)

/**
 * unlock_page(page) - unlock and wake who waits. The page must not be freed before this returns: the caller has a
 * reference, or knows who has one. **Context:** any. Fidelity: exact.
 */
#define unlock_page(page) ps_unlock_page_at((page), PS_HERE)

/**
 * wait_on_page_bit(page, bit) - sleep until `bit` (PG_locked, PG_writeback) of the page is clear.
 * **Context:** may sleep; the caller has a reference. Fidelity: exact (folio_wait_bit).
 */
#define wait_on_page_bit(page, bit) ps_wait_on_page_bit_at((page), (bit), PS_HERE)

/** wait_on_page_locked(page) - sleep until nobody has it locked; somebody may have it again on return. */
#define wait_on_page_locked(page)                            \
	do {                                                 \
		if (PageLocked(page))                        \
			wait_on_page_bit((page), PG_locked); \
	} while (0)

/**
 * Sleep until a page the caller has no reference to is not locked. The caller knows it is locked from something it sees
 * under a lock of its own (a migration entry, under the page table lock); `drop(arg)` gives that lock back, after this
 * is queued: the page is freed only after it was unlocked, and unlocking wakes.
 * **Context:** may sleep once drop() was called; it is called exactly once.
 * Fidelity: exact (migration_entry_wait_on_locked).
 */
void wait_on_page_locked_noref(struct page *page, void (*drop)(void *arg), void *arg);

/**
 * Wake who waits for `bit`, if PG_waiters says there is somebody. The caller has cleared the bit with release order and
 * keeps the page from being freed. **Context:** any. Fidelity: exact (folio_wake_bit).
 */
void page_wake_bit(struct page *page, int bit);

#ifdef __cplusplus
}
#endif
#endif
