/* SPDX-License-Identifier: MIT */
/*
 * Reader-writer semaphores, first come first served.
 *
 * Fibers: one queue of readers and writers by arrival. Whoever releases lets in the head of the queue: a writer alone, or
 * all readers up to the next writer. Past holds of writers make everybody wait, past holds of reader groups writers only.
 *
 * Native: one word, `count`: bit 0 a writer holds it, bit 1 somebody queues, the rest readers x 4. Without a queue,
 * readers and writers come and go with one compare-and-swap. With one, they take a ticket under `lock` and wait for their
 * turn, so nobody overtakes; whoever is served last clears bit 1.
 */
#include <string.h>

#include "runtime/private.h"

#include <pagesim/rwsem.h>

#define CLASS(sem) ((enum lock_class)(sem)->lclass)

#ifdef PS_NATIVE

#define WRITER 1L
#define QUEUED 2L
#define READER 4L

void init_rwsem(struct rw_semaphore *sem, enum lock_class lc)
{
	memset(sem, 0, sizeof(*sem));
	sem->lclass = (unsigned char)lc;
	pthread_mutex_init(&sem->lock, NULL);
	pthread_cond_init(&sem->turn, NULL);
}

/*
 * Adds what if none of the bits in blockers is set (readers count as a bit too, with ~0). Acquire pairs with release():
 * what the last holder did is seen.
 */
static bool try_add(struct rw_semaphore *sem, long what, long blockers)
{
	long count = __atomic_load_n(&sem->count, __ATOMIC_RELAXED);

	while (!(count & blockers))
		if (__atomic_compare_exchange_n(&sem->count, &count, count + what, false, __ATOMIC_ACQUIRE,
						__ATOMIC_RELAXED))
			return true;
	return false;
}

static void queue_up(struct rw_semaphore *sem, long what, long blockers)
{
	u64 ticket;

	ps_count_wait(ps_self_rt(), CLASS(sem), 0);
	pthread_mutex_lock(&sem->lock);
	ticket = sem->next_ticket++;
	__atomic_fetch_or(&sem->count, QUEUED,
			  __ATOMIC_SEQ_CST); /* pairs with release(): it sees the bit or we see it gone */
	while (sem->now_serving != ticket || !try_add(sem, what, blockers & ~QUEUED))
		pthread_cond_wait(&sem->turn, &sem->lock);
	if (++sem->now_serving == sem->next_ticket)
		__atomic_fetch_and(&sem->count, ~QUEUED, __ATOMIC_RELAXED);
	else
		pthread_cond_broadcast(&sem->turn);
	pthread_mutex_unlock(&sem->lock);
}

static void release(struct rw_semaphore *sem, long what)
{
	if (!(__atomic_sub_fetch(&sem->count, what, __ATOMIC_SEQ_CST) & QUEUED))
		return;
	pthread_mutex_lock(&sem->lock);
	pthread_cond_broadcast(&sem->turn);
	pthread_mutex_unlock(&sem->lock);
}

static void take_read(struct rw_semaphore *sem, const struct ps_site *at)
{
	if (!try_add(sem, READER, WRITER | QUEUED))
		queue_up(sem, READER, WRITER);
}

static bool try_take_read(struct rw_semaphore *sem)
{
	return try_add(sem, READER, WRITER | QUEUED);
}

static void take_write(struct rw_semaphore *sem, const struct ps_site *at)
{
	if (!try_add(sem, WRITER, ~0L))
		queue_up(sem, WRITER, ~QUEUED);
}

static bool try_take_write(struct rw_semaphore *sem)
{
	return try_add(sem, WRITER, ~0L);
}

static void give_read(struct rw_semaphore *sem)
{
	release(sem, READER);
}

static void give_write(struct rw_semaphore *sem)
{
	release(sem, WRITER);
}

static void downgrade(struct rw_semaphore *sem)
{
	release(sem, WRITER - READER);
}

bool rwsem_is_locked(const struct rw_semaphore *sem)
{
	return (__atomic_load_n(&sem->count, __ATOMIC_RELAXED) & ~QUEUED) != 0;
}

bool ps_rwsem_is_write_locked(const struct rw_semaphore *sem)
{
	return __atomic_load_n(&sem->count, __ATOMIC_RELAXED) & WRITER;
}

bool rwsem_is_contended(const struct rw_semaphore *sem)
{
	return (__atomic_load_n(&sem->count, __ATOMIC_RELAXED) & QUEUED) != 0;
}

#else

void init_rwsem(struct rw_semaphore *sem, enum lock_class lc)
{
	memset(sem, 0, sizeof(*sem));
	sem->lclass = (unsigned char)lc;
}

static void enter_read(struct rw_semaphore *sem, ps_ns_t at)
{
	if (!sem->readers++) {
		sem->since = at;
		sem->until = at;
	}
	sem->since = ps_min(sem->since, at);
}

/* The semaphore has become freer at time `at`: lets in the head of the queue. */
static void serve(struct rw_semaphore *sem, ps_ns_t at)
{
	struct ps_waiter *w;

	while ((w = sem->waiters) && !sem->writer && (w->shared || !sem->readers)) {
		sem->waiters = w->next;
		if (w->shared) {
			enter_read(sem, ps_max(w->task->t.now, at));
		} else {
			sem->writer = &w->task->t;
			sem->since = ps_max(w->task->t.now, at);
		}
		w->granted = true;
		ps_unblock(w->task, at);
	}
}

static void queue_up(struct rw_semaphore *sem, bool shared, const struct ps_site *at)
{
	struct ps_waiting waiting = {
		.object = sem, .lc = CLASS(sem), .at = at, .holder = &sem->writer, .held_at = &sem->at
	};

	ps_wait_granted(&sem->waiters, shared, &waiting);
	sem->at = at;
}

static bool try_take_read(struct rw_semaphore *sem)
{
	if (sem->writer || sem->waiters)
		return false;
	enter_read(sem, ps_current->now);
	return true;
}

static void take_read(struct rw_semaphore *sem, const struct ps_site *at)
{
	if (sem->writer || sem->waiters) {
		queue_up(sem, true, at);
		return;
	}
	if (unlikely(ps_current->now < sem->written.end))
		ps_wait_holds(CLASS(sem), ps_holds_wait(&sem->written, ps_current->now));
	enter_read(sem, ps_current->now);
	sem->at = at;
}

static bool try_take_write(struct rw_semaphore *sem)
{
	if (sem->writer || sem->readers || sem->waiters)
		return false;
	sem->writer = ps_current;
	sem->since = ps_current->now;
	return true;
}

static void take_write(struct rw_semaphore *sem, const struct ps_site *at)
{
	struct task_struct *t = ps_current;

	if (sem->writer || sem->readers || sem->waiters) {
		queue_up(sem, false, at);
		return;
	}
	if (unlikely(t->now < sem->written.end || t->now < sem->read.end))
		ps_wait_holds(CLASS(sem),
			      ps_max(ps_holds_wait(&sem->written, t->now), ps_holds_wait(&sem->read, t->now)));
	sem->writer = t;
	sem->since = t->now;
	sem->at = at;
}

static void give_read(struct rw_semaphore *sem)
{
	struct task_struct *t = ps_current;

	sem->until = ps_max(sem->until, t->now);
	if (--sem->readers)
		return;
	ps_holds_add(&sem->read, t->slice, sem->since, sem->until);
	serve(sem, sem->until);
}

static void give_write(struct rw_semaphore *sem)
{
	struct task_struct *t = ps_current;

	ps_holds_add(&sem->written, t->slice, sem->since, t->now);
	sem->writer = NULL;
	serve(sem, t->now);
}

static void downgrade(struct rw_semaphore *sem)
{
	struct task_struct *t = ps_current;

	ps_holds_add(&sem->written, t->slice, sem->since, t->now);
	sem->writer = NULL;
	enter_read(sem, t->now);
	serve(sem, t->now);
}

bool rwsem_is_locked(const struct rw_semaphore *sem)
{
	ps_point(PS_POINT_READ, sem);
	return sem->writer || sem->readers;
}

bool ps_rwsem_is_write_locked(const struct rw_semaphore *sem)
{
	ps_point(PS_POINT_READ, sem);
	return sem->writer != NULL;
}

bool rwsem_is_contended(const struct rw_semaphore *sem)
{
	ps_point(PS_POINT_READ, sem);
	return sem->waiters != NULL;
}

#endif

/* ------------------------------------------------------------------ the same for both */

static void check_acquire(struct rw_semaphore *sem, unsigned int flags, const struct ps_site *at)
{
	if (ps_checked())
		ps_lock_check_acquire(sem, 0, CLASS(sem), flags | PS_ACQ_SLEEPS, at);
}

static void acquired(struct rw_semaphore *sem, unsigned int flags, const struct ps_site *at)
{
	if (ps_checked())
		ps_lock_acquired(sem, 0, CLASS(sem), flags, at);
}

/* Return: whether to go on and release. */
static bool check_release(struct rw_semaphore *sem, bool shared, const struct ps_site *at)
{
	if (ps_checked())
		return ps_lock_check_release(sem, 0, CLASS(sem), shared ? PS_ACQ_SHARED : 0, at);
#ifndef PS_NATIVE
	if (shared)
		BUG_ON(!sem->readers);
	else
		BUG_ON(sem->writer != ps_current);
#endif
	return true;
}

void ps_down_read_at(struct rw_semaphore *sem, unsigned int flags, const struct ps_site *at)
{
	ps_point(PS_POINT_ACQUIRE_READ, sem);
	check_acquire(sem, flags | PS_ACQ_SHARED, at);
	take_read(sem, at);
	acquired(sem, flags | PS_ACQ_SHARED, at);
}

bool ps_down_read_trylock_at(struct rw_semaphore *sem, const struct ps_site *at)
{
	ps_point(PS_POINT_TRY_READ, sem);
	if (!try_take_read(sem))
		return false;
	acquired(sem, PS_ACQ_TRY | PS_ACQ_SHARED, at);
	return true;
}

void ps_up_read_at(struct rw_semaphore *sem, const struct ps_site *at)
{
	ps_point(PS_POINT_RELEASE_READ, sem);
	if (check_release(sem, true, at))
		give_read(sem);
}

void ps_down_write_at(struct rw_semaphore *sem, unsigned int flags, const struct ps_site *at)
{
	ps_point(PS_POINT_ACQUIRE, sem);
	check_acquire(sem, flags, at);
	take_write(sem, at);
	acquired(sem, flags, at);
}

bool ps_down_write_trylock_at(struct rw_semaphore *sem, const struct ps_site *at)
{
	ps_point(PS_POINT_TRY, sem);
	if (!try_take_write(sem))
		return false;
	acquired(sem, PS_ACQ_TRY, at);
	return true;
}

void ps_up_write_at(struct rw_semaphore *sem, const struct ps_site *at)
{
	ps_point(PS_POINT_RELEASE, sem);
	if (check_release(sem, false, at))
		give_write(sem);
}

void ps_downgrade_write_at(struct rw_semaphore *sem, const struct ps_site *at)
{
	ps_point(PS_POINT_RELEASE, sem);
	if (ps_checked() && !ps_lock_is_held(sem)) {
		ps_lock_check_release(sem, 0, CLASS(sem), 0, at); /* reports */
		return;
	}
#ifndef PS_NATIVE
	BUG_ON(sem->writer != ps_current);
#endif
	downgrade(sem);
}
