/* SPDX-License-Identifier: MIT */
/*
 * What all locks share: the place of an acquisition, the memory of past holds that makes contention cost virtual time,
 * and the checker of the lock order.
 *
 * The memory of holds. Threads run one after the other on the host but side by side in virtual time: a thread may have
 * run ahead, taken a lock and given it back before another one, whose clock is behind, comes to it. Each lock therefore
 * remembers the stretch of virtual time [first, end) in which it was lately held, for how long in sum (busy) and how
 * often. Who comes at time t with first <= t < end waits:
 *     held without a gap:   end - t, exactly as if all had run at once;
 *     with gaps:            the expected wait, busy/(end - first) x busy/(2 x holds).
 * Who comes before the stretch does not wait (it was there first), nor does who comes after. A lock that really is held
 * when somebody comes (its holder sleeps, or the shuffler interrupted it) blocks the caller until the release.
 * Waiters are served by the virtual time of their arrival.
 *
 * The checker. With settings.no_lockcheck false, every task carries the list of what it holds. Reported, each with both
 * places: a lock taken out of rank; a second acquisition of a lock the task holds; release of what is not held; sleeping
 * under a spinlock or in an RCU section; leaving or ending with locks held; unbalanced RCU.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_LOCK_H
#define PAGESIM_LOCK_H

#include <pagesim/lock_class.h>
#include <pagesim/site.h>
#include <pagesim/task.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Past holds of one lock in virtual time; see above. All zero: never held. */
struct ps_holds {
	ps_ns_t first, end; /* the stretch */
	ps_ns_t busy;       /* held ns within it */
	u32 count;          /* holds within it */
	u32 slice;          /* task_struct.slice of the last holder */
};

/** Adds the hold [since, until) of a task in its stretch of running `slice`. */
static inline void ps_holds_add(struct ps_holds *h, u32 slice, ps_ns_t since, ps_ns_t until)
{
	if (h->slice == slice || since <= h->end) {
		if (since < h->first)
			h->first = since;
		h->busy += until - since;
		h->count++;
	} else {
		h->first = since;
		h->busy = until - since;
		h->count = 1;
		h->slice = slice;
	}
	if (until > h->end)
		h->end = until;
}

/** Return: how long a lock with these past holds keeps somebody who comes at time `at`, in ns. */
ps_ns_t ps_holds_wait(const struct ps_holds *h, ps_ns_t at);

enum ps_lock_report_kind {
	PS_LOCK_OUT_OF_RANK,    /* taken while a lock of the same or a later class is held */
	PS_LOCK_RECURSION,      /* taken while the task holds this very lock */
	PS_LOCK_NOT_HELD,       /* released without being held by the task */
	PS_LOCK_SLEEP_IN_SPIN,  /* may sleep while a spinlock is held */
	PS_LOCK_SLEEP_IN_RCU,   /* may sleep inside rcu_read_lock() */
	PS_LOCK_HELD_AT_EXIT,   /* the task ends, or leaves under a spinlock */
	PS_LOCK_RCU_UNBALANCED, /* rcu_read_unlock() too often, or the task ends or leaves inside */
	PS_NR_LOCK_REPORTS
};

/** One breach of the rules. lc and held are NR_LOCK_CLASSES, and the places NULL, where there is none. */
struct ps_lock_report {
	enum ps_lock_report_kind kind;
	struct task_struct *task;
	enum lock_class lc;       /* what the task was about to take or release */
	const struct ps_site *at; /* where */
	enum lock_class held;     /* what it holds that forbids it */
	const struct ps_site *held_at;
	const void *lock;
};

/** Return: the report as one line of text in buf: kind, task, classes, both places. */
const char *ps_lock_report_text(const struct ps_lock_report *report, char *buf, size_t size);

/* Flags of an acquisition, for the checker. */
#define PS_ACQ_SLEEPS 1u  /* the acquisition may sleep */
#define PS_ACQ_TRY    2u  /* cannot wait: no rank rule */
#define PS_ACQ_NESTED 4u  /* may repeat the class on top */
#define PS_ACQ_SHARED 8u  /* a reader's */
#define PS_ACQ_BIT    16u /* a bit lock: has no owner, anybody may release it */

/* The lock types call these when PS_HOOK_CHECK is set; bit is 0 but for bit locks. */
void ps_lock_check_acquire(const void *lock, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at);
void ps_lock_acquired(const void *lock, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at);
/* Return: whether the task (for a bit lock: anybody) may go on to release it. */
bool ps_lock_check_release(const void *lock, int bit, enum lock_class lc, unsigned int flags, const struct ps_site *at);

/** How many locks the task holds (with the checker on; 0 without). */
unsigned int ps_locks_held(const struct task_struct *t);
/** Does the current task hold this lock? Always true with the checker off: for assertions. */
bool ps_lock_is_held(const void *lock);

void ps_might_sleep_at(const struct ps_site *at);
/** Says that this function may sleep, so that a caller under a spinlock is reported even when it happens not to. */
#define might_sleep()                                            \
	do {                                                     \
		if (unlikely(ps_current->hooks & PS_HOOK_CHECK)) \
			ps_might_sleep_at(PS_HERE);              \
	} while (0)

#ifdef __cplusplus
}
#endif

#endif
