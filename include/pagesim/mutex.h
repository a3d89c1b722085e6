/* SPDX-License-Identifier: MIT */
/*
 * struct mutex: one owner, who may sleep. Waiters are handed the lock in the order of their arrival in virtual time.
 * A zeroed one is valid, free and of the first class.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_MUTEX_H
#define PAGESIM_MUTEX_H

#include <pagesim/lock.h>
#include <pagesim/sched_point.h>
#ifdef PS_NATIVE
#include <pthread.h>
#endif

#ifdef __cplusplus
extern "C" {
#endif

struct ps_waiter;

struct mutex {
#ifdef PS_NATIVE
	pthread_mutex_t lock;
	int locked; /* for mutex_is_locked() */
#else
	struct task_struct *holder;
	const struct ps_site *at;
	struct ps_waiter *waiters;
	ps_ns_t since;
	struct ps_holds holds;
#endif
	unsigned char lclass;
};

/** Makes a free mutex of class lc. */
void mutex_init(struct mutex *m, enum lock_class lc);
void ps_mutex_lock_at(struct mutex *m, unsigned int flags, const struct ps_site *at);
bool ps_mutex_trylock_at(struct mutex *m, const struct ps_site *at);
void ps_mutex_unlock_at(struct mutex *m, const struct ps_site *at);
/** Is it held, by anybody? Fidelity: exact. */
bool mutex_is_locked(const struct mutex *m);

/**
 * mutex_lock, mutex_trylock, mutex_unlock - one schedule point each, before it happens.
 * Context: any task, may sleep (not trylock); the owner unlocks. Return (trylock): whether it was taken.
 * Fidelity: simplified: the owner hands the lock to the first who waits. 6.1 lets others barge in, who spin for it, until a
 * waiter has waited too long; the orders of critical sections that can come about are the same.
 */
#define mutex_lock(m)                  ps_mutex_lock_at((m), 0, PS_HERE)
#define mutex_lock_nested(m, subclass) ((void)(subclass), ps_mutex_lock_at((m), PS_ACQ_NESTED, PS_HERE))
#define mutex_trylock(m)               ps_mutex_trylock_at((m), PS_HERE)
#define mutex_unlock(m)                ps_mutex_unlock_at((m), PS_HERE)

#ifdef __cplusplus
}
#endif

#endif
