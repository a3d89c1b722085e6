/* SPDX-License-Identifier: MIT */
/*
 * spinlock_t: taken for short, never slept under. On fibers a free lock costs two loads and three stores; a lock that is
 * held, or was held at this virtual time by a thread that ran ahead, makes the caller wait in virtual time and counts
 * for its class (lock.h). Under the native driver it is a test-and-set word.
 *
 * A zeroed spinlock_t is a valid, free lock of the first class; spin_lock_init() gives it its own.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_SPINLOCK_H
#define PAGESIM_SPINLOCK_H

#include <pagesim/bug.h>
#include <pagesim/lock.h>
#include <pagesim/sched_point.h>
#include <pagesim/task.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_waiter;

#ifdef PS_NATIVE
typedef struct spinlock {
	int locked;
	unsigned char lclass;
} spinlock_t;
#else
/* Fields: the fiber that runs is alone. */
typedef struct spinlock {
	struct task_struct *holder; /* NULL: free */
	const struct ps_site *at;   /* of the last acquisition */
	struct ps_waiter *waiters;  /* by arrival */
	ps_ns_t since;              /* clock of the acquisition */
	struct ps_holds holds;      /* past holds */
	unsigned char lclass;
} spinlock_t;
#endif

/** Makes a free lock of class lc. */
static inline void spin_lock_init(spinlock_t *l, enum lock_class lc)
{
	spinlock_t zero = {};

	*l = zero;
	l->lclass = (unsigned char)lc;
}

void ps_spin_lock_slow(spinlock_t *l, unsigned int flags, const struct ps_site *at);
void ps_spin_unlock_slow(spinlock_t *l, const struct ps_site *at);
bool ps_spin_trylock_slow(spinlock_t *l, const struct ps_site *at);

static inline void ps_spin_lock_at(spinlock_t *l, unsigned int flags, const struct ps_site *at)
{
#ifdef PS_NATIVE
	ps_spin_lock_slow(l, flags, at);
#else
	struct task_struct *t = ps_current;

	if (unlikely(t->hooks || l->holder || t->now < l->holds.end)) {
		ps_spin_lock_slow(l, flags, at);
		return;
	}
	l->holder = t;
	l->at = at;
	l->since = t->now;
#endif
}

static inline void ps_spin_unlock_at(spinlock_t *l, const struct ps_site *at)
{
#ifdef PS_NATIVE
	ps_spin_unlock_slow(l, at);
#else
	struct task_struct *t = ps_current;

	if (unlikely(t->hooks || l->waiters || l->holder != t)) {
		ps_spin_unlock_slow(l, at);
		return;
	}
	l->holder = NULL;
	ps_holds_add(&l->holds, t->slice, l->since, t->now);
#endif
}

static inline bool ps_spin_trylock_at(spinlock_t *l, const struct ps_site *at)
{
#ifdef PS_NATIVE
	return ps_spin_trylock_slow(l, at);
#else
	struct task_struct *t = ps_current;

	if (unlikely(t->hooks || l->holder))
		return ps_spin_trylock_slow(l, at);
	l->holder = t;
	l->at = at;
	l->since = t->now;
	return true;
#endif
}

/** Is it held, by anybody? Fidelity: exact. */
static inline bool spin_is_locked(const spinlock_t *l)
{
#ifdef PS_NATIVE
	return __atomic_load_n(&l->locked, __ATOMIC_RELAXED);
#else
	ps_point(PS_POINT_READ, l);
	return l->holder != NULL;
#endif
}

/** Does somebody wait for it? Fidelity: exact; natively simplified: never. */
static inline bool spin_is_contended(const spinlock_t *l)
{
#ifdef PS_NATIVE
	return false;
#else
	ps_point(PS_POINT_READ, l);
	return l->waiters != NULL;
#endif
}

/**
 * spin_lock, spin_unlock, spin_trylock - one schedule point each (acquire, release, try), before it happens.
 * Context: any task; not to be held while sleeping. Return (trylock): whether it was taken.
 * Fidelity: exact in what excludes what; simplified: waiters are served in the order of their arrival in virtual time
 * (qspinlock: nearly so), natively in any order; interrupts and preemption are not modelled.
 */
#define spin_lock(l)    ps_spin_lock_at((l), 0, PS_HERE)
#define spin_unlock(l)  ps_spin_unlock_at((l), PS_HERE)
#define spin_trylock(l) ps_spin_trylock_at((l), PS_HERE)
/** Second lock of the class on top. subclass says which one, to the reader. */
#define spin_lock_nested(l, subclass) ((void)(subclass), ps_spin_lock_at((l), PS_ACQ_NESTED, PS_HERE))

/* Interrupts are not modelled: these are the plain ones. */
#define spin_lock_irq(l)                 spin_lock(l)
#define spin_unlock_irq(l)               spin_unlock(l)
#define spin_lock_irqsave(l, flags)      ((void)((flags) = 0), spin_lock(l))
#define spin_unlock_irqrestore(l, flags) ((void)(flags), spin_unlock(l))
#define assert_spin_locked(l)            VM_BUG_ON(!spin_is_locked(l))

#ifdef __cplusplus
}
#endif

#endif
