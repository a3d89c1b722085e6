/* SPDX-License-Identifier: MIT */
/* Mutexes: on fibers the owner hands the lock to the first in the queue; natively a POSIX mutex. */
#include <string.h>

#include "runtime/private.h"

#include <pagesim/mutex.h>

void mutex_init(struct mutex *m, enum lock_class lc)
{
	memset(m, 0, sizeof(*m));
	m->lclass = (unsigned char)lc;
#ifdef PS_NATIVE
	pthread_mutex_init(&m->lock, NULL);
#endif
}

#ifdef PS_NATIVE

static bool try_take(struct mutex *m)
{
	return !pthread_mutex_trylock(&m->lock);
}

static void take(struct mutex *m, const struct ps_site *at)
{
	if (likely(try_take(m)))
		return;
	ps_count_wait(ps_self_rt(), (enum lock_class)m->lclass, 0);
	pthread_mutex_lock(&m->lock);
}

static void give(struct mutex *m)
{
	__atomic_store_n(&m->locked, 0, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&m->lock);
}

bool mutex_is_locked(const struct mutex *m)
{
	return __atomic_load_n(&m->locked, __ATOMIC_RELAXED);
}

#else

static bool try_take(struct mutex *m)
{
	return !m->holder;
}

static void take(struct mutex *m, const struct ps_site *at)
{
	if (m->holder) {
		struct ps_waiting waiting = {
			.object = m, .lc = (enum lock_class)m->lclass, .at = at, .holder = &m->holder, .held_at = &m->at
		};

		ps_wait_granted(&m->waiters, false, &waiting);
	} else if (unlikely(ps_current->now < m->holds.end)) {
		ps_wait_holds((enum lock_class)m->lclass, ps_holds_wait(&m->holds, ps_current->now));
	}
}

static void give(struct mutex *m)
{
	struct task_struct *t = ps_current;
	struct ps_waiter *w = m->waiters;

	ps_holds_add(&m->holds, t->slice, m->since, t->now);
	m->holder = NULL;
	if (!w)
		return;
	m->waiters = w->next;
	m->holder = &w->task->t;
	w->granted = true;
	ps_unblock(w->task, t->now);
}

bool mutex_is_locked(const struct mutex *m)
{
	ps_point(PS_POINT_READ, m);
	return m->holder != NULL;
}

#endif

static void taken(struct mutex *m, unsigned int flags, const struct ps_site *at)
{
#ifdef PS_NATIVE
	__atomic_store_n(&m->locked, 1, __ATOMIC_RELAXED);
#else
	m->holder = ps_current;
	m->at = at;
	m->since = ps_current->now;
#endif
	if (ps_checked())
		ps_lock_acquired(m, 0, (enum lock_class)m->lclass, flags, at);
}

void ps_mutex_lock_at(struct mutex *m, unsigned int flags, const struct ps_site *at)
{
	ps_point(PS_POINT_ACQUIRE, m);
	if (ps_checked())
		ps_lock_check_acquire(m, 0, (enum lock_class)m->lclass, flags | PS_ACQ_SLEEPS, at);
	take(m, at);
	taken(m, flags, at);
}

bool ps_mutex_trylock_at(struct mutex *m, const struct ps_site *at)
{
	ps_point(PS_POINT_TRY, m);
	if (!try_take(m))
		return false;
	taken(m, PS_ACQ_TRY, at);
	return true;
}

void ps_mutex_unlock_at(struct mutex *m, const struct ps_site *at)
{
	ps_point(PS_POINT_RELEASE, m);
	if (ps_checked()) {
		if (!ps_lock_check_release(m, 0, (enum lock_class)m->lclass, 0, at))
			return;
	} else {
#ifndef PS_NATIVE
		BUG_ON(m->holder != ps_current);
#endif
	}
	give(m);
}
