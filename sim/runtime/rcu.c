/* SPDX-License-Identifier: MIT */
/*
 * RCU. What differs between the drivers is how a read section is opened and closed, and how one waits for those that are
 * open; callbacks are a queue and a daemon task ("rcu") on top of that, the same for both.
 *
 * Fibers: a grace period has a number. It marks every task that is in a section and not marked yet with it; closing a
 * marked section clears the mark. The grace period is over when no mark of it or of an earlier one is left. (A task
 * marked by an earlier one is in a section that both must wait for.)
 *
 * Native: liburcu, memb flavour. ThreadSanitizer does not see into it, so what a grace period orders is told to it here:
 * whatever a section did happens before whatever follows the grace period.
 */
#ifdef PS_NATIVE
/* Its header has a struct rcu_head too; only this file sees both. */
#define rcu_head urcu_rcu_head
#include <urcu/urcu-memb.h>
#undef rcu_head
#undef rcu_dereference
#undef rcu_assign_pointer
#include <pagesim/sanitizer.h>
#ifdef PS_TSAN
#include <sanitizer/tsan_interface.h>
#endif
#endif

#include "runtime/private.h"

void ps_rcu_init(struct ps_rt *rt)
{
	rt->rcu.last = &rt->rcu.first;
	init_waitqueue_head(&rt->rcu.work);
	init_waitqueue_head(&rt->rcu.waiters);
#ifdef PS_NATIVE
	pthread_mutex_init(&rt->rcu.lock, NULL);
#endif
}

static void unbalanced(const struct ps_site *at)
{
	struct ps_lock_report report = {
		.kind = PS_LOCK_RCU_UNBALANCED, .lc = NR_LOCK_CLASSES, .held = NR_LOCK_CLASSES, .at = at
	};

	ps_lock_report(&report);
}

/* ------------------------------------------------------------------ sections and grace periods */

#ifdef PS_NATIVE

void ps_rcu_thread_begins(void)
{
	urcu_memb_register_thread();
}

void ps_rcu_thread_ends(void)
{
	urcu_memb_unregister_thread();
}

void ps_rcu_read_lock_native(void)
{
	ps_point(PS_POINT_RCU_LOCK, NULL);
	if (!ps_current->rcu_depth++)
		urcu_memb_read_lock();
}

static void close_section(void)
{
#ifdef PS_TSAN
	__tsan_release(&ps_self_rt()->rcu);
#endif
	urcu_memb_read_unlock();
}

void ps_rcu_read_unlock_slow(const struct ps_site *at)
{
	ps_point(PS_POINT_RCU_UNLOCK, NULL);
	if (ps_current->rcu_depth <= 0)
		unbalanced(at);
	else if (!--ps_current->rcu_depth)
		close_section();
}

void ps_rcu_abandon(struct ps_task *self)
{
	if (self->t.rcu_depth)
		close_section();
	self->t.rcu_depth = 0;
}

static void wait_for_readers(struct ps_rt *rt)
{
	urcu_memb_synchronize_rcu();
#ifdef PS_TSAN
	__tsan_acquire(&rt->rcu);
#endif
}

static void rcu_lock(struct ps_rcu *rcu)
{
	pthread_mutex_lock(&rcu->lock);
}

static void rcu_unlock(struct ps_rcu *rcu)
{
	pthread_mutex_unlock(&rcu->lock);
}

#else

static void close_marked(struct ps_task *self)
{
	self->rcu_watch = 0;
	self->t.hooks &= ~PS_HOOK_RCU;
	wake_up_all(&ps_rt_of(self->t.rt)->rcu.waiters);
}

void ps_rcu_read_unlock_slow(const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	ps_point(PS_POINT_RCU_UNLOCK, NULL);
	if (self->t.rcu_depth <= 0)
		unbalanced(at);
	else if (!--self->t.rcu_depth && self->rcu_watch)
		close_marked(self);
}

void ps_rcu_abandon(struct ps_task *self)
{
	self->t.rcu_depth = 0;
	if (self->rcu_watch)
		close_marked(self);
}

static bool marked(struct ps_rt *rt, u64 gp)
{
	struct ps_task *task;

	list_for_each_entry(task, &rt->tasks, all)
		if (task->rcu_watch && task->rcu_watch <= gp)
			return true;
	return false;
}

static void wait_for_readers(struct ps_rt *rt)
{
	u64 gp = ++rt->rcu.gp;
	struct ps_task *task;

	list_for_each_entry(task, &rt->tasks, all) {
		if (!task->t.rcu_depth || task->rcu_watch || &task->t == ps_current)
			continue;
		task->rcu_watch = gp;
		task->t.hooks |= PS_HOOK_RCU;
	}
	if (marked(rt, gp))
		wait_event(&rt->rcu.waiters, !marked(rt, gp));
}

static void rcu_lock(struct ps_rcu *rcu)
{
}

static void rcu_unlock(struct ps_rcu *rcu)
{
}

#endif

void ps_synchronize_rcu_at(const struct ps_site *at)
{
	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_RCU_SYNC, NULL);
	wait_for_readers(ps_self_rt());
}

/* ------------------------------------------------------------------ callbacks */

/* The daemon takes over what callbacks find in `current`, and is not there before they were queued. */
static void follow_callers(struct ps_rcu *rcu)
{
	struct task_struct *t = ps_current;

	if (t != &rcu->daemon->t)
		return;
	t->machine = rcu->machine;
	t->stats = rcu->stats;
	if (t->now < rcu->latest)
		ps_charge(rcu->latest - t->now, PS_TIME_IDLE);
}

/* Runs what is queued now after a grace period, in order. */
static void run_callbacks(struct ps_rt *rt)
{
	struct ps_rcu *rcu = &rt->rcu;
	struct rcu_head *head, *next;

	rcu_lock(rcu);
	head = rcu->first;
	rcu->first = NULL;
	rcu->last = &rcu->first;
	if (rcu->daemon)
		follow_callers(rcu);
	rcu_unlock(rcu);
	wait_for_readers(rt);
	for (; head; head = next) {
		next = head->next;
		head->func(head);
		__atomic_fetch_add(&rcu->done, 1, __ATOMIC_RELEASE); /* pairs with rcu_barrier() */
	}
	wake_up_all(&rcu->waiters);
}

static bool have_callbacks(struct ps_rcu *rcu)
{
	bool have;

	rcu_lock(rcu);
	have = rcu->first != NULL;
	rcu_unlock(rcu);
	return have;
}

static void rcu_daemon(void *arg)
{
	struct ps_rt *rt = (struct ps_rt *)arg;

	for (;;) {
		wait_event(&rt->rcu.work, have_callbacks(&rt->rcu) || kthread_should_stop());
		if (!have_callbacks(&rt->rcu))
			return;
		run_callbacks(rt);
	}
}

/* Return: whether there is a daemon; without memory for one, rcu_barrier() and later callers try again. */
static bool have_daemon(struct ps_rt *rt)
{
	struct task_struct *t;

	if (likely(rt->rcu.daemon))
		return true;
	t = ps_task_new(&rt->pub, "rcu", rcu_daemon, rt);
	if (!t)
		return false;
	ps_task_set_daemon(t, true);
	t->mm = NULL;
	rt->rcu.daemon = ps_task_of(t);
	return true;
}

void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head))
{
	struct ps_rt *rt = ps_self_rt();
	struct ps_rcu *rcu = &rt->rcu;
	bool first, daemon;

	ps_point(PS_POINT_RCU_CALL, head);
	head->func = func;
	head->next = NULL;
	rcu_lock(rcu);
	first = !rcu->first;
	*rcu->last = head;
	rcu->last = &head->next;
	__atomic_fetch_add(&rcu->queued, 1, __ATOMIC_RELAXED);
	rcu->machine = ps_current->machine;
	rcu->stats = ps_current->stats;
	rcu->latest = ps_max(rcu->latest, ps_current->now);
	daemon = have_daemon(rt);
	rcu_unlock(rcu);
	if (first && daemon)
		wake_up(&rcu->work);
}

void ps_rcu_barrier_at(const struct ps_site *at)
{
	struct ps_rt *rt = ps_self_rt();
	struct ps_rcu *rcu = &rt->rcu;
	bool daemon;
	u64 queued;

	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_RCU_SYNC, NULL);
	queued = __atomic_load_n(&rcu->queued, __ATOMIC_RELAXED);
	rcu_lock(rcu);
	daemon = !rcu->first || have_daemon(rt);
	rcu_unlock(rcu);
	if (!daemon)
		run_callbacks(rt);
	else
		wake_up(&rcu->work);
	/* Pairs with the count in run_callbacks(). */
	wait_event(&rcu->waiters, __atomic_load_n(&rcu->done, __ATOMIC_ACQUIRE) >= queued);
}
