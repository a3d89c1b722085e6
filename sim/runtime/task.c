/* SPDX-License-Identifier: MIT */
/* Tasks and runtimes as far as both drivers agree on them: their creation, their names, their settings. */
#include <string.h>

#include "runtime/private.h"

#include <pagesim/alloc.h>

__thread struct task_struct *ps_current;

const char *ps_time_class_name(enum ps_time_class tc)
{
	static const char *const names[] = {
#define X(name, text) text,
		PS_TIME_CLASSES(X)
#undef X
	};

	return (unsigned int)tc < PS_NR_TIME_CLASSES ? names[tc] : "?";
}

/* What a new task takes over from its creator. */
static void inherit(struct ps_task *task, struct ps_rt *rt)
{
	task->t.now = ps_clock(rt);
	task->t.started = task->t.now;
	if (!ps_current)
		return;
	task->t.cpu = ps_current->cpu;
	task->t.machine = ps_current->machine;
	task->t.stats = ps_current->stats;
	task->t.mm = ps_current->mm;
}

struct task_struct *ps_task_new(struct ps_runtime *runtime, const char *name, ps_task_fn fn, void *arg)
{
	struct ps_rt *rt = ps_rt_of(runtime);
	struct ps_task *task = ps_zalloc(sizeof(*task));

	if (!task)
		return NULL;
	task->t.rt = runtime;
	task->t.hooks = runtime->hooks;
	strncpy(task->t.comm, name, sizeof(task->t.comm) - 1);
	task->fn = fn;
	task->arg = arg;
	task->t.work = PS_TIME_SYSCALL;
	task->hosted = !fn;
	task->held = task->held_inline;
	task->held_room = HELD_INLINE;
	task->waiting = PS_WAITING_NOTHING;
	inherit(task, rt);
	if (ps_task_start(task)) {
		ps_free(task);
		return NULL;
	}
	return &task->t;
}

void ps_task_release(struct ps_task *task)
{
	if (task->held != task->held_inline)
		ps_free(task->held);
	ps_free(task);
}

void ps_task_free(struct task_struct *t)
{
	struct ps_task *task = ps_task_of(t);

	if (!t)
		return;
	BUG_ON(t == ps_current || (t->slice && !task->hosted && !ps_task_ended(t)));
	if (task->hosted)
		ps_check_leave(task, true);
	ps_task_destroy(task);
	ps_task_release(task);
}

bool ps_task_is_daemon(const struct task_struct *t)
{
	return ps_task_of(t)->daemon;
}

bool ps_task_is_hosted(const struct task_struct *t)
{
	return ps_task_of(t)->hosted;
}

void ps_kthread_stop_at(struct task_struct *t, const struct ps_site *at)
{
	ps_task_ask_stop(t);
	ps_task_join_at(t, at);
}

struct ps_runtime *ps_runtime_new(const struct ps_runtime_settings *settings)
{
	struct ps_rt *rt = ps_zalloc(sizeof(*rt));
	int i;

	if (!rt)
		return NULL;
	if (settings)
		rt->set = *settings;
	if (!rt->set.quantum_ns)
		rt->set.quantum_ns = PS_QUANTUM_NS_DEFAULT;
	if (!rt->set.stack_bytes)
		rt->set.stack_bytes = PS_STACK_BYTES_DEFAULT;
	if (!rt->set.hung_task_ns)
		rt->set.hung_task_ns = PS_HUNG_TASK_NS_DEFAULT;
	if (rt->set.quirks)
		rt->quirks = *rt->set.quirks;
	rt->set.quirks = &rt->quirks;
	INIT_LIST_HEAD(&rt->tasks);
	for (i = 0; i < BIT_QUEUES; i++)
		init_waitqueue_head(&rt->bit_queues[i].q);
	ps_rcu_init(rt);
	ps_shuffle_init(rt);
	if (!rt->set.no_lockcheck)
		rt->pub.hooks |= PS_HOOK_CHECK;
	if (ps_driver_init(rt)) {
		ps_free(rt);
		return NULL;
	}
	return &rt->pub;
}

void ps_runtime_free(struct ps_runtime *runtime)
{
	if (!runtime)
		return;
	ps_driver_destroy(ps_rt_of(runtime));
	ps_free(runtime);
}

const struct ps_runtime_settings *ps_runtime_settings(const struct ps_runtime *rt)
{
	return &ps_rt_of(rt)->set;
}
