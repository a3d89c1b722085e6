/* SPDX-License-Identifier: MIT */
/* Schedule points that somebody hears, and the built-in listener: the shuffler. */
#include "runtime/private.h"

#include <pagesim/barrier.h>
#ifdef PS_NATIVE
#include <sched.h>
#include <time.h>
#endif

const char *ps_point_name(enum ps_point_kind kind)
{
	static const char *const names[PS_NR_POINTS] = {
		[PS_POINT_READ] = "read",
		[PS_POINT_WRITE] = "write",
		[PS_POINT_RMW] = "rmw",
		[PS_POINT_ACQUIRE] = "acquire",
		[PS_POINT_ACQUIRE_READ] = "acquire-read",
		[PS_POINT_TRY] = "try",
		[PS_POINT_TRY_READ] = "try-read",
		[PS_POINT_RELEASE] = "release",
		[PS_POINT_RELEASE_READ] = "release-read",
		[PS_POINT_WAIT] = "wait",
		[PS_POINT_WAKE] = "wake",
		[PS_POINT_RCU_LOCK] = "rcu-lock",
		[PS_POINT_RCU_UNLOCK] = "rcu-unlock",
		[PS_POINT_RCU_SYNC] = "rcu-sync",
		[PS_POINT_RCU_CALL] = "rcu-call",
		[PS_POINT_FENCE] = "fence",
		[PS_POINT_YIELD] = "yield",
		[PS_POINT_OTHER] = "other",
	};

	return (unsigned int)kind < PS_NR_POINTS ? names[kind] : "?";
}

struct ps_listener *ps_runtime_listen(struct ps_runtime *runtime, struct ps_listener *listener)
{
	struct ps_rt *rt = ps_rt_of(runtime);
	struct ps_listener *old = runtime->listener;
	struct ps_task *task;

	runtime->listener = listener;
	runtime->hooks &= ~PS_HOOK_POINT;
	if (listener)
		runtime->hooks |= PS_HOOK_POINT;
	list_for_each_entry(task, &rt->tasks, all)
		task->t.hooks = (task->t.hooks & ~PS_HOOK_POINT) | (runtime->hooks & PS_HOOK_POINT);
	return old;
}

#ifdef PS_NATIVE

#ifdef PS_TSAN
int ps_fence_word;
#endif

/* One disturbance in so many is a sleep, long enough for others to do whole operations in between. */
#define SLEEP_ONE_IN 8
#define SLEEP_NS     50000

/* Threads cannot be steered, only disturbed. */
void ps_point_slow(enum ps_point_kind kind, const void *obj)
{
	static const struct timespec nap = { 0, SLEEP_NS };
	struct ps_task *self = ps_self();

	if (!ps_rng_chance(&self->rng, ps_self_rt()->set.shuffle))
		return;
	if (ps_rng_below(&self->rng, SLEEP_ONE_IN))
		sched_yield();
	else
		nanosleep(&nap, NULL);
}

void ps_shuffle_init(struct ps_rt *rt)
{
	if (rt->set.shuffle)
		rt->pub.hooks |= PS_HOOK_POINT;
}

void ps_yield_to(struct task_struct *next)
{
	sched_yield();
}

size_t ps_runnable(const struct ps_runtime *rt, struct task_struct **ret_tasks, size_t max)
{
	return 0;
}

#else

void ps_point_slow(enum ps_point_kind kind, const void *obj)
{
	struct ps_listener *listener = ps_current->rt->listener;

	listener->step(listener, kind, obj);
}

void ps_yield_to(struct task_struct *next)
{
	struct ps_task *task = ps_task_of(next);

	if (next == ps_current)
		return;
	BUG_ON(!task->heap_index || task->timed);
	ps_run_instead(ps_self(), task);
}

size_t ps_runnable(const struct ps_runtime *runtime, struct task_struct **ret_tasks, size_t max)
{
	const struct ps_rt *rt = ps_rt_of(runtime);
	const struct ps_task *last = NULL;
	size_t n;

	/* Selection by (key, order): the heap is small, and its own order is only partial. */
	for (n = 0; n < rt->nr_ready; n++) {
		struct ps_task *best = NULL;
		u32 i;

		for (i = 0; i < rt->heap_len; i++) {
			struct ps_task *task = rt->heap[i];

			if (task->timed)
				continue;
			if (last && (task->key < last->key || (task->key == last->key && task->order <= last->order)))
				continue;
			if (!best || task->key < best->key || (task->key == best->key && task->order < best->order))
				best = task;
		}
		if (n < max)
			ret_tasks[n] = &best->t;
		last = best;
	}
	return n;
}

/* In some cases a random task of the heap, if it could run now; NULL otherwise. */
static struct task_struct *draw(struct ps_rt *rt)
{
	struct ps_task *task;

	if (!rt->heap_len || !ps_rng_chance(&rt->rng, rt->set.shuffle))
		return NULL;
	task = rt->heap[ps_rng_below(&rt->rng, rt->heap_len)];
	return task->timed || task->key > rt->limit ? NULL : &task->t;
}

static void shuffle_step(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	struct task_struct *t = draw(container_of(listener, struct ps_rt, shuffler));

	if (t)
		ps_yield_to(t);
}

static struct task_struct *shuffle_pick(struct ps_listener *listener, struct ps_runtime *rt)
{
	return draw(ps_rt_of(rt));
}

void ps_shuffle_init(struct ps_rt *rt)
{
	ps_rng_init(&rt->rng, rt->set.seed);
	rt->shuffler = (struct ps_listener){ .step = shuffle_step, .pick = shuffle_pick };
	if (!rt->set.shuffle)
		return;
	rt->pub.listener = &rt->shuffler;
	rt->pub.hooks |= PS_HOOK_POINT;
}

#endif
