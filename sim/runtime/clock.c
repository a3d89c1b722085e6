/* SPDX-License-Identifier: MIT */
/*
 * The clock driver: fibers on one host thread, the one with the earliest clock first.
 *
 * Whoever could run is in one heap, ordered by (key, order). key is the task's clock, or for a task that only waits for a
 * time, that time; order is the creation number, or behind all of those for who has yielded. The running task is not in
 * the heap. It goes on, without asking, until
 * its clock reaches rt->horizon = (earliest key in the heap) + quantum; then it puts itself into the heap and the earliest
 * one runs.
 *
 * The host's stack is one of the stacks: while a hosted task is entered it is that task's, otherwise it is nobody's (the
 * loop in ps_runtime_run()), and control comes back to it when nothing in the heap is due. Deadlocks are always reported
 * from the host's stack, so that a handler may leave by longjmp.
 *
 *                            heap empty or past the limit
 *     host: run loop  <------------------------------------  fibers <---+ earliest key
 *           |                                                   ^       |
 *           +---------------- earliest key ---------------------+-------+
 */
#ifndef PS_NATIVE

#include <string.h>

#include "runtime/private.h"

#include <pagesim/alloc.h>

#define NO_LIMIT UINT64_MAX

/* ------------------------------------------------------------------ the heap */

static bool earlier(const struct ps_task *a, const struct ps_task *b)
{
	return a->key < b->key || (a->key == b->key && a->order < b->order);
}

static void heap_put(struct ps_rt *rt, u32 i, struct ps_task *task)
{
	rt->heap[i] = task;
	task->heap_index = i + 1;
}

static void heap_up(struct ps_rt *rt, u32 i, struct ps_task *task)
{
	while (i > 0 && earlier(task, rt->heap[(i - 1) / 2])) {
		heap_put(rt, i, rt->heap[(i - 1) / 2]);
		i = (i - 1) / 2;
	}
	heap_put(rt, i, task);
}

static void heap_down(struct ps_rt *rt, u32 i, struct ps_task *task)
{
	for (;;) {
		u32 child = 2 * i + 1;

		if (child >= rt->heap_len)
			break;
		if (child + 1 < rt->heap_len && earlier(rt->heap[child + 1], rt->heap[child]))
			child++;
		if (!earlier(rt->heap[child], task))
			break;
		heap_put(rt, i, rt->heap[child]);
		i = child;
	}
	heap_put(rt, i, task);
}

/* The running task may go on until it is a quantum ahead of the earliest other one, and never past the run's limit. */
static void set_horizon(struct ps_rt *rt)
{
	ps_ns_t horizon = NO_LIMIT;

	if (rt->heap_len && __builtin_add_overflow(rt->heap[0]->key, rt->set.quantum_ns, &horizon))
		horizon = NO_LIMIT;
	/* Past the limit means beyond it: a task exactly at the limit still runs. */
	if (rt->limit != NO_LIMIT && horizon > rt->limit + 1)
		horizon = rt->limit + 1;
	rt->pub.horizon = horizon;
}

static void heap_add(struct ps_rt *rt, struct ps_task *task, ps_ns_t key, bool timed)
{
	BUG_ON(task->heap_index);
	task->key = key;
	task->order = task->t.id;
	task->timed = timed;
	rt->nr_ready += !timed;
	rt->nr_foreground += !task->daemon;
	heap_up(rt, rt->heap_len++, task);
}

static void heap_remove(struct ps_rt *rt, struct ps_task *task)
{
	u32 i = task->heap_index - 1;
	struct ps_task *last = rt->heap[--rt->heap_len];

	task->heap_index = 0;
	rt->nr_ready -= !task->timed;
	rt->nr_foreground -= !task->daemon;
	if (last == task)
		return;
	if (i > 0 && earlier(last, rt->heap[(i - 1) / 2]))
		heap_up(rt, i, last);
	else
		heap_down(rt, i, last);
}

/* Room for every task there can be, so that making one runnable never fails. */
static int heap_reserve(struct ps_rt *rt, u32 tasks)
{
	u32 room = rt->heap_room ? rt->heap_room : 16;
	struct ps_task **heap;

	if (tasks <= rt->heap_room)
		return 0;
	while (room < tasks)
		room *= 2;
	heap = ps_realloc(rt->heap, room * sizeof(*heap));
	if (!heap)
		return -ENOMEM;
	rt->heap = heap;
	rt->heap_room = room;
	return 0;
}

/* ------------------------------------------------------------------ switching */

ps_ns_t ps_clock(const struct ps_rt *rt)
{
	return ps_current ? ps_current->now : ps_runtime_now(&rt->pub);
}

ps_ns_t ps_runtime_now(const struct ps_runtime *runtime)
{
	const struct ps_rt *rt = ps_rt_of(runtime);
	const struct ps_task *task;
	ps_ns_t latest = rt->latest;

	list_for_each_entry(task, &rt->tasks, all)
		latest = ps_max(latest, task->t.now);
	return latest;
}

u64 ps_runtime_switches(const struct ps_runtime *rt)
{
	return ps_rt_of(rt)->switches;
}

/* Nobody but daemons has run for hung_task_ns, and somebody else waits. */
static bool hung(const struct ps_rt *rt, const struct ps_task *next)
{
	return !rt->nr_foreground && next->key > rt->progress && next->key - rt->progress > rt->set.hung_task_ns;
}

/* The task to run next, or NULL for the host: nothing is due, or what is would only keep an idle machine ticking. */
static struct ps_task *due(struct ps_rt *rt)
{
	struct ps_task *next = rt->heap_len ? rt->heap[0] : NULL;

	if (!next || next->key > rt->limit)
		return NULL;
	if (unlikely(rt->pub.listener && rt->pub.listener->pick && rt->nr_ready)) {
		struct task_struct *picked = rt->pub.listener->pick(rt->pub.listener, &rt->pub);

		if (picked)
			return ps_task_of(picked);
	}
	if (rt->limit != NO_LIMIT)
		return next;
	if (!rt->hosted && !rt->nr_busy && !rt->nr_ready)
		return NULL;
	if ((rt->hosted || rt->nr_busy) && hung(rt, next))
		return NULL;
	return next;
}

static struct ps_fiber *fiber_of(struct ps_rt *rt, struct ps_task *task)
{
	return !task || task->hosted ? &rt->host : task->fiber;
}

/* Leaves prev (NULL: the host's loop) and goes on in next (NULL: the host); returns when prev is picked again. */
static void run(struct ps_rt *rt, struct ps_task *prev, struct ps_task *next)
{
	struct ps_fiber *from = fiber_of(rt, prev), *to;

	if (!next) {
		/* The host takes over: to report that its task can never go on, or to end the run. */
		next = rt->hosted;
		rt->stuck |= next != NULL;
	} else {
		heap_remove(rt, next);
		next->t.now = ps_max(next->t.now, next->key);
		if (!next->daemon)
			rt->progress = ps_max(rt->progress, next->t.now);
	}
	to = fiber_of(rt, next);
	ps_current = next ? &next->t : NULL;
	if (next)
		next->t.slice = ++rt->slice;
	set_horizon(rt);
	if (prev && !prev->daemon)
		rt->progress = ps_max(rt->progress, prev->t.now);
	if (prev != next)
		rt->switches++;
	if (from != to)
		ps_fiber_switch(from, to);
	/*
	 * Back on this stack; whoever came here has set ps_current and the horizon. prev may be gone: its fiber goes on
	 * with another task.
	 */
	if (from == &rt->host && rt->stuck)
		ps_report_deadlock(rt);
}

/* Takes up the next task in place of self, who is in the heap, waits, or has ended. */
static void run_next(struct ps_rt *rt, struct ps_task *self)
{
	run(rt, self, due(rt));
}

static void yield(struct ps_rt *rt, struct ps_task *self, bool behind)
{
	heap_add(rt, self, self->t.now, false);
	if (behind) {
		self->order = UINT32_MAX + ++rt->nr_yields; /* ids are below */
		heap_down(rt, self->heap_index - 1, self);
	}
	run_next(rt, self);
}

void ps_run_instead(struct ps_task *self, struct ps_task *next)
{
	struct ps_rt *rt = ps_rt_of(self->t.rt);

	heap_add(rt, self, self->t.now, false);
	run(rt, self, next);
}

/* ------------------------------------------------------------------ waiting */

static void charge(struct task_struct *t, ps_ns_t since, enum ps_time_class tc)
{
	t->time[tc] += t->now - since;
}

ps_ns_t ps_block(struct ps_task *self, const struct ps_waiting *waiting)
{
	struct ps_rt *rt = ps_rt_of(self->t.rt);
	ps_ns_t since = self->t.now;

	/* A wait queue's lock can be contended while the task is already entered as waiting for something else. */
	struct ps_waiting outer = self->waiting;

	self->waiting = *waiting;
	if (ps_closes_cycle(self)) {
		rt->stuck = true;
		run(rt, self, NULL);
	}
	run_next(rt, self);
	self->waiting = outer;
	charge(&self->t, since, PS_TIME_WAIT);
	return self->t.now - since;
}

void ps_unblock(struct ps_task *task, ps_ns_t at)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);

	heap_add(rt, task, ps_max(task->t.now, at), false);
	set_horizon(rt);
}

void ps_wake(struct ps_task *task, ps_ns_t at)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);

	task->t.state = TASK_RUNNING;
	if (!task->in_schedule || (task->heap_index && !task->timed))
		return;
	if (task->heap_index)
		heap_remove(rt, task);
	heap_add(rt, task, ps_max(task->t.now, at), false);
	set_horizon(rt);
}

bool wake_up_process(struct task_struct *t)
{
	ps_point(PS_POINT_WAKE, t);
	if (t->state == TASK_RUNNING || t->state == TASK_DEAD)
		return false;
	ps_wake(ps_task_of(t), ps_current->now);
	return true;
}

/* Sleeps until woken or until the clock reaches deadline. Return: true if woken. */
static bool sleep_until(struct ps_task *self, ps_ns_t deadline, bool idle, const struct ps_site *at)
{
	struct ps_rt *rt = ps_rt_of(self->t.rt);
	ps_ns_t since = self->t.now;
	bool woken;

	if (!self->waiting.at)
		self->waiting.at = at;
	self->in_schedule = true;
	if (deadline != NO_LIMIT)
		heap_add(rt, self, ps_max(deadline, since), true);
	run_next(rt, self);
	self->in_schedule = false;
	idle = idle && self->waiting.lc == NR_LOCK_CLASSES;
	self->waiting = PS_WAITING_NOTHING;
	woken = self->t.state == TASK_RUNNING;
	self->t.state = TASK_RUNNING;
	charge(&self->t, since, idle ? PS_TIME_IDLE : PS_TIME_WAIT);
	return woken;
}

bool ps_schedule_until_at(ps_ns_t deadline, const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_WAIT, self);
	if (self->t.state == TASK_RUNNING) {
		yield(ps_self_rt(), self, true);
		return true;
	}
	return sleep_until(self, deadline, self->daemon, at);
}

void ps_schedule_at(const struct ps_site *at)
{
	(void)ps_schedule_until_at(NO_LIMIT, at);
}

void ps_sleep_until_at(ps_ns_t until, const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_WAIT, self);
	while (self->t.now < until) {
		self->t.state = TASK_UNINTERRUPTIBLE;
		(void)sleep_until(self, until, true, at);
	}
}

void ps_cond_resched_slow(const struct ps_site *at)
{
	struct ps_task *self = ps_self();

	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_YIELD, NULL);
	if (self->t.now >= self->t.rt->horizon)
		yield(ps_self_rt(), self, false);
}

void cpu_relax(void)
{
	struct ps_task *self = ps_self();

	ps_point(PS_POINT_YIELD, NULL);
	ps_charge(PS_CPU_RELAX_NS, PS_TIME_WAIT);
	if (self->t.now >= self->t.rt->horizon)
		yield(ps_self_rt(), self, false);
}

/* ------------------------------------------------------------------ tasks */

/*
 * Ends self, and returns when its fiber has got another task. From `ended` to the switch nothing is a schedule point: a
 * joiner may free the task as soon as it runs.
 */
static void end(struct ps_task *self)
{
	struct ps_rt *rt = ps_rt_of(self->t.rt);
	struct ps_waiter *w, *next;

	self->t.state = TASK_DEAD;
	self->ended = true;
	rt->nr_busy -= !self->daemon;
	for (w = self->joiners; w; w = next) {
		next = w->next;
		w->granted = true;
		ps_unblock(w->task, self->t.now);
	}
	ps_fiber_put(&rt->fibers, self->fiber);
	run_next(rt, self);
}

/* Called by a fiber for each of its tasks in turn. */
static void task_begins(void)
{
	struct ps_task *self = ps_self();

	self->fn(self->arg);
	ps_check_leave(self, true);
	ps_rcu_abandon(self);
	end(self);
}

int ps_task_start(struct ps_task *task)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);
	int err = heap_reserve(rt, rt->nr_tasks + 1);

	if (err)
		return err;
	if (!task->hosted) {
		task->fiber = ps_fiber_get(&rt->fibers, task_begins);
		if (!task->fiber)
			return -ENOMEM;
	}
	task->t.id = ++rt->last_id;
	list_add_tail(&task->all, &rt->tasks);
	rt->nr_tasks++;
	if (task->hosted) {
		rt->nr_hosted++;
		return 0;
	}
	rt->nr_busy++;
	heap_add(rt, task, task->t.now, false);
	set_horizon(rt);
	return 0;
}

void ps_task_set_daemon(struct task_struct *t, bool daemon)
{
	struct ps_task *task = ps_task_of(t);
	struct ps_rt *rt = ps_rt_of(t->rt);

	if (task->daemon == daemon)
		return;
	task->daemon = daemon;
	if (!task->hosted && !task->ended)
		rt->nr_busy += daemon ? -1 : 1;
	if (task->heap_index)
		rt->nr_foreground += daemon ? -1 : 1;
}

void ps_task_abandon(void)
{
	struct ps_task *self = ps_self();

	BUG_ON(self->hosted);
	ps_rcu_abandon(self);
	self->fiber->spoilt = true;
	end(self);
	BUG();
}

void ps_task_join_at(struct task_struct *t, const struct ps_site *at)
{
	struct ps_task *task = ps_task_of(t);
	struct ps_waiting waiting = { .object = t, .lc = NR_LOCK_CLASSES, .at = at, .holder = &t };

	BUG_ON(t == ps_current || task->hosted);
	if (ps_checked())
		ps_might_sleep_at(at);
	ps_point(PS_POINT_WAIT, t);
	if (!task->ended)
		ps_wait_granted(&task->joiners, false, &waiting);
}

void ps_task_destroy(struct ps_task *task)
{
	struct ps_rt *rt = ps_rt_of(task->t.rt);

	if (task->heap_index)
		heap_remove(rt, task);
	if (!task->hosted && !task->ended) {
		rt->nr_busy -= !task->daemon;
		/* Stopped somewhere in the middle, unless it never ran. */
		task->fiber->spoilt |= task->t.slice != 0;
		ps_fiber_put(&rt->fibers, task->fiber);
	}
	list_del(&task->all);
	rt->nr_tasks--;
	rt->nr_hosted -= task->hosted;
	rt->latest = ps_max(rt->latest, task->t.now);
	set_horizon(rt);
}

bool ps_task_ended(const struct task_struct *t)
{
	return ps_task_of(t)->ended;
}

bool kthread_should_stop(void)
{
	return ps_self()->should_stop;
}

void ps_task_ask_stop(struct task_struct *t)
{
	struct ps_task *task = ps_task_of(t);

	task->should_stop = true;
	if (t->state != TASK_RUNNING && !task->ended)
		ps_wake(task, ps_clock(ps_rt_of(t->rt)));
}

struct task_struct *ps_task_next(const struct ps_runtime *runtime, const struct task_struct *t)
{
	const struct ps_rt *rt = ps_rt_of(runtime);
	const struct list_head *next = t ? ps_task_of(t)->all.next : rt->tasks.next;

	return next == &rt->tasks ? NULL : &list_entry(next, struct ps_task, all)->t;
}

void ps_task_enter(struct task_struct *t)
{
	struct ps_task *task = ps_task_of(t);
	struct ps_rt *rt = ps_rt_of(t->rt);

	BUG_ON(ps_current || !task->hosted || rt->dead);
	ps_fiber_init_host(&rt->host);
	rt->hosted = task;
	rt->limit = NO_LIMIT;
	rt->progress = ps_max(t->now, rt->heap_len ? rt->heap[0]->key : 0);
	t->slice = ++rt->slice;
	ps_current = t;
	ps_quirks_use(&rt->quirks);
	set_horizon(rt);
}

void ps_task_leave(void)
{
	struct ps_task *task = ps_self();
	struct ps_rt *rt = ps_self_rt();

	BUG_ON(rt->hosted != task);
	if (ps_checked())
		ps_check_leave(task, false);
	rt->hosted = NULL;
	ps_current = NULL;
	ps_quirks_use(NULL);
	if (unlikely(task->t.now >= rt->pub.horizon))
		ps_runtime_run(&rt->pub, task->t.now);
}

/* ------------------------------------------------------------------ the runtime */

int ps_driver_init(struct ps_rt *rt)
{
	rt->fibers.stack_bytes = (rt->set.stack_bytes + PAGE_SIZE - 1) & PAGE_MASK;
	rt->limit = NO_LIMIT;
	set_horizon(rt);
	return heap_reserve(rt, 1);
}

void ps_driver_destroy(struct ps_rt *rt)
{
	struct ps_task *task, *next;

	/* A test whose handler left a hosted task by longjmp. */
	if (ps_current && ps_current == (rt->hosted ? &rt->hosted->t : NULL)) {
		ps_current = NULL;
		ps_quirks_use(NULL);
	}
	BUG_ON(ps_current);
	list_for_each_entry_safe(task, next, &rt->tasks, all) {
		ps_task_destroy(task);
		ps_task_release(task);
	}
	ps_fiber_pool_empty(&rt->fibers);
	ps_free(rt->heap);
	ps_free(rt->deadlock_edges);
}

/*
 * Nothing is due; does somebody wait for ever? With hosted tasks about, one of them could still be entered and wake the
 * others; then only a cycle is a deadlock, and ps_block() has seen that.
 */
static bool deadlocked(struct ps_rt *rt)
{
	struct ps_task *task;

	if (rt->nr_hosted)
		return false;
	list_for_each_entry(task, &rt->tasks, all)
		if (!task->daemon && !task->ended && !task->heap_index)
			return true;
	return false;
}

void ps_runtime_run(struct ps_runtime *runtime, ps_ns_t until)
{
	struct ps_rt *rt = ps_rt_of(runtime);
	struct ps_task *next;

	BUG_ON(ps_current || rt->dead);
	ps_fiber_init_host(&rt->host);
	rt->limit = until;
	ps_quirks_use(&rt->quirks);
	rt->progress = rt->heap_len ? rt->heap[0]->key : 0;
	while ((next = due(rt)))
		run(rt, NULL, next);
	ps_quirks_use(NULL);
	if (rt->stuck || ((until == NO_LIMIT || !rt->heap_len) && deadlocked(rt)))
		ps_report_deadlock(rt);
}

#else
typedef int ps_clock_is_for_fibers;
#endif
