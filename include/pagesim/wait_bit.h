/* SPDX-License-Identifier: MIT */
/*
 * Bit locks: a lock that is one bit of a word somebody else owns (PG_locked), and sleeping until a bit is clear
 * (PG_writeback). The waiters are in queues of the runtime, hashed by (word, bit).
 *
 *     lock    test_and_set the bit; taken: sleep exclusively in the queue
 *     unlock  1 clear the bit   2 wake the queue: waiters for "clear" up to the first for "lock", who is given the bit
 *
 * Steps 1 and 2 are separate: between them another task may take the bit, then the sleeper goes on sleeping. A bit lock
 * has no owner (the reader locks, the I/O completion unlocks), so releasing somebody else's is allowed; releasing one
 * that is not held is a BUG.
 *
 * The class of a wait is what its nanoseconds are counted under; PAGE_LOCK for PG_locked. Holds by tasks that ran ahead
 * are remembered by the runtime for its most recent bit locks (lock.h says what that means).
 *
 * What Linux does differently. The functions without `flagged` answer to wait_on_bit_lock() and wait_on_bit(): there the one
 * who was woken tries for the bit himself and may find it taken again; here the waker sets it for him, as 6.1 does for
 * pages. The flagged ones answer to the page lock (folio_wait_bit_common, folio_unlock): a newcomer may steal the bit a few
 * times before it is handed over; here a newcomer who finds the bit clear takes it, a waiter is handed it by the waker. One
 * queue on fibers instead of 256 in Linux: strangers never share a wake-up, so none is ever woken for nothing.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_WAIT_BIT_H
#define PAGESIM_WAIT_BIT_H

#include <pagesim/bitops.h>
#include <pagesim/lock.h>
#include <pagesim/runtime.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Takes the bit; sleeps until it can. Context: may sleep. Return: 0. Fidelity: simplified, see above. */
int ps_bit_lock_at(unsigned long *word, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at);
/** Takes the bit if it is clear. Return: whether it did. Fidelity: exact. */
bool ps_bit_trylock_at(unsigned long *word, int bit, enum lock_class lc, const struct ps_site *at);
/** Clears the bit (release) and wakes who waits for it. Two steps. Fidelity: simplified, see above. */
void ps_bit_unlock_at(unsigned long *word, int bit, enum lock_class lc, const struct ps_site *at);
/** Sleeps until the bit is clear. Context: may sleep. Return: 0. Fidelity: simplified, see above. */
int ps_wait_on_bit_at(unsigned long *word, int bit, enum lock_class lc, const struct ps_site *at);
/** Step 2 alone, for bits cleared by other means (end of writeback). Fidelity: exact in who may go on. */
void wake_up_bit(unsigned long *word, int bit);

/*
 * The same for a word that has another bit, `waiters`, which says that somebody waits for a bit of it (PG_waiters): set
 * under the queue's lock before a waiter looks at its bit once more, cleared by the waker that leaves nobody of the word
 * in the queue. Unlocking wakes only if it is set. For one word either these or the functions above, not both.
 * Fidelity: simplified, see above.
 */
void ps_bit_lock_flagged_at(unsigned long *word, int bit, int waiters, enum lock_class lc, unsigned int flags,
			    const struct ps_site *at);
void ps_bit_unlock_flagged_at(unsigned long *word, int bit, int waiters, enum lock_class lc, const struct ps_site *at);
/**
 * @drop: NULL, or called once with @arg when the task is in the queue (or need not wait): gives back the spinlock that
 * kept the word's owner alive until then.
 */
void ps_wait_on_bit_flagged_at(unsigned long *word, int bit, int waiters, enum lock_class lc, void (*drop)(void *arg),
			       void *arg, const struct ps_site *at);
/** Step 2 alone. */
void wake_up_bit_flagged(unsigned long *word, int bit, int waiters);

#define wait_on_bit_lock(word, bit, lc) ps_bit_lock_at((word), (bit), (lc), 0, PS_HERE)
/** The same for a second lock of the class, in an order the caller vouches for. */
#define wait_on_bit_lock_nested(word, bit, lc) ps_bit_lock_at((word), (bit), (lc), PS_ACQ_NESTED, PS_HERE)
#define bit_trylock(word, bit, lc)             ps_bit_trylock_at((word), (bit), (lc), PS_HERE)
#define bit_unlock(word, bit, lc)              ps_bit_unlock_at((word), (bit), (lc), PS_HERE)
#define wait_on_bit(word, bit, lc)             ps_wait_on_bit_at((word), (bit), (lc), PS_HERE)

#ifdef __cplusplus
}
#endif

#endif
