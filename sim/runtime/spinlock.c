/* SPDX-License-Identifier: MIT */
/*
 * The slow half of spinlocks: everything but a free lock nobody watches. A fiber that finds it held sleeps in the lock's
 * queue and is handed the lock; a thread spins, giving up its CPU now and then.
 */
#include "runtime/private.h"

#include <pagesim/spinlock.h>

#ifdef PS_NATIVE
#include <sched.h>

/* Pairs with the release in ps_spin_unlock_slow(). */
static bool try_take(spinlock_t *l)
{
	return !__atomic_load_n(&l->locked, __ATOMIC_RELAXED) && !__atomic_exchange_n(&l->locked, 1, __ATOMIC_ACQUIRE);
}

static void take(spinlock_t *l, const struct ps_site *at)
{
	unsigned int turns;

	if (likely(try_take(l)))
		return;
	ps_count_wait(ps_self_rt(), (enum lock_class)l->lclass, 0);
	for (turns = 1; !try_take(l); turns++)
		if (turns % 64 == 0)
			sched_yield();
		else
			__builtin_ia32_pause();
}

static void give(spinlock_t *l)
{
	__atomic_store_n(&l->locked, 0, __ATOMIC_RELEASE);
}

#else

static bool try_take(spinlock_t *l)
{
	return !l->holder;
}

static void take(spinlock_t *l, const struct ps_site *at)
{
	if (l->holder) {
		struct ps_waiting waiting = {
			.object = l, .lc = (enum lock_class)l->lclass, .at = at, .holder = &l->holder, .held_at = &l->at
		};

		ps_wait_granted(&l->waiters, false, &waiting);
	} else {
		ps_wait_holds((enum lock_class)l->lclass, ps_holds_wait(&l->holds, ps_current->now));
	}
}

static void give(spinlock_t *l)
{
	struct task_struct *t = ps_current;
	struct ps_waiter *w = l->waiters;

	ps_holds_add(&l->holds, t->slice, l->since, t->now);
	l->holder = NULL;
	if (!w)
		return;
	l->waiters = w->next;
	l->holder = &w->task->t;
	w->granted = true;
	ps_unblock(w->task, t->now);
}

#endif

static void taken(spinlock_t *l, unsigned int flags, const struct ps_site *at)
{
#ifndef PS_NATIVE
	l->holder = ps_current;
	l->at = at;
	l->since = ps_current->now;
#endif
	if (ps_checked())
		ps_lock_acquired(l, 0, (enum lock_class)l->lclass, flags, at);
}

void ps_spin_lock_slow(spinlock_t *l, unsigned int flags, const struct ps_site *at)
{
	ps_point(PS_POINT_ACQUIRE, l);
	if (ps_checked())
		ps_lock_check_acquire(l, 0, (enum lock_class)l->lclass, flags, at);
	take(l, at);
	taken(l, flags, at);
}

bool ps_spin_trylock_slow(spinlock_t *l, const struct ps_site *at)
{
	ps_point(PS_POINT_TRY, l);
	if (!try_take(l))
		return false;
	taken(l, PS_ACQ_TRY, at);
	return true;
}

void ps_spin_unlock_slow(spinlock_t *l, const struct ps_site *at)
{
	ps_point(PS_POINT_RELEASE, l);
	if (ps_checked()) {
		if (!ps_lock_check_release(l, 0, (enum lock_class)l->lclass, 0, at))
			return;
	} else {
#ifndef PS_NATIVE
		BUG_ON(l->holder != ps_current);
#endif
	}
	give(l);
}
