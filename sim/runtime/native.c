/* SPDX-License-Identifier: MIT */
/*
 * The native driver: a task is a POSIX thread, its clock is only accounted, the order is the host's. Threads wait at a
 * gate until the first ps_runtime_run(), so that a scene is complete before anybody moves in it.
 *
 * A thread sleeps in schedule() on its own condition variable, under its own park_lock; who wakes it sets its state
 * under that lock. So a wake-up between "state set" and "sleeps" is never lost: the sleeper finds its state running.
 */
#ifdef PS_NATIVE

#include <sched.h>
#include <time.h>

#include "runtime/private.h"

#include <pagesim/alloc.h>

/* How long a timed wait lasts by the host's clock: virtual deadlines mean nothing here, but polling must not spin. */
#define TIMED_WAIT_NS 200000

ps_ns_t ps_clock(const struct ps_rt *rt)
{
	return ps_current ? ps_current->now : 0;
}

ps_ns_t ps_runtime_now(const struct ps_runtime *runtime)
{
	const struct ps_rt *rt = ps_rt_of(runtime);
	const struct ps_task *task;
	ps_ns_t latest = 0;

	list_for_each_entry(task, &rt->tasks, all)
		latest = ps_max(latest, task->t.now);
	return latest;
}

u64 ps_runtime_switches(const struct ps_runtime *rt)
{
	return 0;
}

/* ------------------------------------------------------------------ waiting */

static void set_running(struct ps_task *task, ps_ns_t at)
{
	__atomic_store_n(&task->t.state, TASK_RUNNING, __ATOMIC_SEQ_CST);
	task->wake_at = ps_max(task->wake_at, at);
	pthread_cond_signal(&task->park);
}

void ps_wake(struct ps_task *task, ps_ns_t at)
{
	pthread_mutex_lock(&task->park_lock);
	set_running(task, at);
	pthread_mutex_unlock(&task->park_lock);
}

bool wake_up_process(struct task_struct *t)
{
	struct ps_task *task = ps_task_of(t);
	bool waited;

	ps_point(PS_POINT_WAKE, t);
	pthread_mutex_lock(&task->park_lock);
	waited = __atomic_load_n(&t->state, __ATOMIC_SEQ_CST) != TASK_RUNNING;
	if (waited)
		set_running(task, ps_current->now);
	pthread_mutex_unlock(&task->park_lock);
	return waited;
}

static void host_deadline(struct timespec *ts)
{
	clock_gettime(CLOCK_REALTIME, ts);
	ts->tv_nsec += TIMED_WAIT_NS;
	if (ts->tv_nsec >= 1000000000) {
		ts->tv_nsec -= 1000000000;
		ts->tv_sec++;
	}
}

/* Sleeps until running, or for a deadline until the host's time for that is up. Return: true if woken. */
static bool park(struct ps_task *self, ps_ns_t deadline, bool idle)
{
	enum ps_time_class tc = idle ? PS_TIME_IDLE : PS_TIME_WAIT;
	struct timespec ts;
	ps_ns_t now = self->t.now;
	bool woken;
	int err = 0;

	if (deadline != UINT64_MAX)
		host_deadline(&ts);
	pthread_mutex_lock(&self->park_lock);
	while (__atomic_load_n(&self->t.state, __ATOMIC_SEQ_CST) != TASK_RUNNING && !err) {
		if (deadline == UINT64_MAX)
			pthread_cond_wait(&self->park, &self->park_lock);
		else
			err = pthread_cond_timedwait(&self->park, &self->park_lock, &ts);
	}
	woken = __atomic_load_n(&self->t.state, __ATOMIC_SEQ_CST) == TASK_RUNNING;
	now = ps_max(now, woken ? self->wake_at : deadline);
	__atomic_store_n(&self->t.state, TASK_RUNNING, __ATOMIC_SEQ_CST);
	pthread_mutex_unlock(&self->park_lock);
	self->t.time[tc] += now - self->t.now;
	self->t.now = now;
	return woken;
}

bool ps_schedule_until_at(ps_ns_t deadline, const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_WAIT, self);
	if (__atomic_load_n(&self->t.state, __ATOMIC_SEQ_CST) == TASK_RUNNING) {
		sched_yield();
		return true;
	}
	return park(self, deadline, self->daemon);
}

void ps_schedule_at(const struct ps_site *at)
{
	(void)ps_schedule_until_at(UINT64_MAX, at);
}

void ps_sleep_until_at(ps_ns_t until, const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (ps_checked())
		ps_might_sleep_at(at);
	if (self->t.now >= until)
		return;
	ps_set_state(TASK_UNINTERRUPTIBLE);
	(void)park(self, until, true);
	if (self->t.now < until) {
		self->t.time[PS_TIME_IDLE] += until - self->t.now;
		self->t.now = until;
	}
}

void ps_cond_resched_slow(const struct ps_site *at)
{
	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_YIELD, NULL);
}

void cpu_relax(void)
{
	ps_charge(PS_CPU_RELAX_NS, PS_TIME_WAIT);
	sched_yield();
}

/* ------------------------------------------------------------------ tasks */

static void begin(struct ps_task *task)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);

	ps_current = &task->t;
	task->t.slice = 1;
	ps_quirks_use(&rt->quirks);
	ps_rcu_thread_begins();
}

static void leave(struct ps_task *task)
{
	ps_rcu_abandon(task);
	ps_rcu_thread_ends();
	ps_quirks_use(NULL);
	ps_current = NULL;
}

static void end(struct ps_task *task)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);

	if (ps_current)
		leave(task);
	pthread_mutex_lock(&rt->lock);
	rt->nr_busy -= !task->daemon;
	__atomic_store_n(&task->ended, true, __ATOMIC_RELEASE); /* pairs with ps_task_ended() */
	pthread_cond_broadcast(&rt->changed);
	pthread_mutex_unlock(&rt->lock);
}

static void *thread_begins(void *arg)
{
	struct ps_task *task = (struct ps_task *)arg;
	struct ps_rt *rt = ps_rt_of(task->t.rt);
	bool cancelled;

	pthread_mutex_lock(&rt->lock);
	while (!rt->open && !task->cancelled)
		pthread_cond_wait(&rt->changed, &rt->lock);
	cancelled = task->cancelled;
	pthread_mutex_unlock(&rt->lock);
	if (!cancelled) {
		begin(task);
		ps_bug_set_handler(rt->bug);
		task->fn(task->arg);
		ps_check_leave(task, true);
	}
	end(task);
	return NULL;
}

int ps_task_start(struct ps_task *task)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);
	int err = 0;

	pthread_mutex_init(&task->park_lock, NULL);
	pthread_cond_init(&task->park, NULL);
	pthread_mutex_lock(&rt->lock);
	task->t.id = ++rt->last_id;
	ps_rng_init(&task->rng, rt->set.seed + task->t.id);
	if (!task->hosted)
		err = -pthread_create(&task->thread, NULL, thread_begins, task);
	if (!err) {
		list_add_tail(&task->all, &rt->tasks);
		rt->nr_tasks++;
		rt->nr_hosted += task->hosted;
		rt->nr_busy += !task->hosted;
	}
	pthread_mutex_unlock(&rt->lock);
	return err;
}

void ps_task_destroy(struct ps_task *task)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);

	pthread_mutex_lock(&rt->lock);
	task->cancelled = true;
	pthread_cond_broadcast(&rt->changed);
	pthread_mutex_unlock(&rt->lock);
	if (!task->hosted)
		pthread_join(task->thread, NULL);
	pthread_mutex_lock(&rt->lock);
	list_del(&task->all);
	rt->nr_tasks--;
	rt->nr_hosted -= task->hosted;
	pthread_mutex_unlock(&rt->lock);
	pthread_cond_destroy(&task->park);
	pthread_mutex_destroy(&task->park_lock);
}

void ps_task_set_daemon(struct task_struct *t, bool daemon)
{
	struct ps_task *task = ps_task_of(t);
	struct ps_rt *rt = ps_rt_of(t->rt);

	pthread_mutex_lock(&rt->lock);
	if (task->daemon != daemon && !task->hosted && !task->ended) {
		rt->nr_busy += daemon ? -1 : 1;
		pthread_cond_broadcast(&rt->changed);
	}
	__atomic_store_n(&task->daemon, daemon, __ATOMIC_RELAXED);
	pthread_mutex_unlock(&rt->lock);
}

bool ps_task_ended(const struct task_struct *t)
{
	return __atomic_load_n(&ps_task_of(t)->ended, __ATOMIC_ACQUIRE);
}

bool kthread_should_stop(void)
{
	return __atomic_load_n(&ps_self()->should_stop, __ATOMIC_SEQ_CST);
}

void ps_task_ask_stop(struct task_struct *t)
{
	__atomic_store_n(&ps_task_of(t)->should_stop, true, __ATOMIC_SEQ_CST);
	ps_wake(ps_task_of(t), 0);
}

void ps_task_join_at(struct task_struct *t, const struct ps_site *at)
{
	struct ps_rt *rt = ps_rt_of(t->rt);

	BUG_ON(t == ps_current || ps_task_of(t)->hosted);
	if (ps_checked())
		ps_might_sleep_at(at);
	pthread_mutex_lock(&rt->lock);
	while (!ps_task_of(t)->ended)
		pthread_cond_wait(&rt->changed, &rt->lock);
	pthread_mutex_unlock(&rt->lock);
}

void ps_task_abandon(void)
{
	struct ps_task *self = ps_self();

	BUG_ON(self->hosted);
	end(self);
	pthread_exit(NULL);
}

struct task_struct *ps_task_next(const struct ps_runtime *runtime, const struct task_struct *t)
{
	const struct ps_rt *rt = ps_rt_of(runtime);
	const struct list_head *next = t ? ps_task_of(t)->all.next : rt->tasks.next;

	return next == &rt->tasks ? NULL : &list_entry(next, struct ps_task, all)->t;
}

void ps_task_enter(struct task_struct *t)
{
	BUG_ON(ps_current || !ps_task_of(t)->hosted);
	begin(ps_task_of(t));
}

void ps_task_leave(void)
{
	struct ps_task *task = ps_self();

	if (ps_checked())
		ps_check_leave(task, false);
	leave(task);
}

/* ------------------------------------------------------------------ the runtime */

int ps_driver_init(struct ps_rt *rt)
{
	pthread_mutex_init(&rt->lock, NULL);
	pthread_cond_init(&rt->changed, NULL);
	rt->pub.horizon = UINT64_MAX;
	rt->bug = ps_bug_get_handler();
	return 0;
}

void ps_driver_destroy(struct ps_rt *rt)
{
	struct ps_task *task, *next;

	BUG_ON(ps_current);
	list_for_each_entry(task, &rt->tasks, all)
		ps_task_ask_stop(&task->t);
	list_for_each_entry_safe(task, next, &rt->tasks, all) {
		ps_task_destroy(task);
		ps_task_release(task);
	}
	pthread_cond_destroy(&rt->changed);
	pthread_mutex_destroy(&rt->lock);
	pthread_mutex_destroy(&rt->rcu.lock);
}

void ps_runtime_run(struct ps_runtime *runtime, ps_ns_t until)
{
	struct ps_rt *rt = ps_rt_of(runtime);

	BUG_ON(ps_current);
	pthread_mutex_lock(&rt->lock);
	rt->open = true;
	pthread_cond_broadcast(&rt->changed);
	while (rt->nr_busy)
		pthread_cond_wait(&rt->changed, &rt->lock);
	pthread_mutex_unlock(&rt->lock);
}

#else
typedef int ps_native_is_for_threads;
#endif
