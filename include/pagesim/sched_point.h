/* SPDX-License-Identifier: MIT */
/*
 * A schedule point stands before every access to shared state: it says how the access touches what, and gives whoever
 * listens (an explorer, the shuffler) the chance to run another task first. When nobody listens it is one load of
 * `current`, one test and one branch never taken.
 *
 * The object is an address here; a listener that needs names which survive a re-run maps addresses to (creator,
 * sequence) itself.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_SCHED_POINT_H
#define PAGESIM_SCHED_POINT_H

#include <pagesim/task.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

enum ps_point_kind {
	PS_POINT_READ,         /* READ_ONCE, atomic_read, test_bit */
	PS_POINT_WRITE,        /* WRITE_ONCE, atomic_set */
	PS_POINT_RMW,          /* atomic_inc, set_bit, cmpxchg */
	PS_POINT_ACQUIRE,      /* takes a lock alone; waits if it must */
	PS_POINT_ACQUIRE_READ, /* takes a lock shared */
	PS_POINT_TRY,          /* tries to take a lock alone */
	PS_POINT_TRY_READ,
	PS_POINT_RELEASE,
	PS_POINT_RELEASE_READ,
	PS_POINT_WAIT, /* is about to sleep on a queue */
	PS_POINT_WAKE, /* wakes a queue or a task */
	PS_POINT_RCU_LOCK,
	PS_POINT_RCU_UNLOCK,
	PS_POINT_RCU_SYNC, /* waits for a grace period */
	PS_POINT_RCU_CALL, /* queues a callback */
	PS_POINT_FENCE,    /* smp_mb and its family */
	PS_POINT_YIELD,    /* cond_resched, cpu_relax */
	PS_POINT_OTHER,    /* a step the layers above keep apart: TLB flush, page free */
	PS_NR_POINTS
};

/** Return: "read", "write", ...; "?" outside the enum. */
const char *ps_point_name(enum ps_point_kind kind);

/**
 * Hears every schedule point of one runtime's tasks, and decides. Neither function may call what is itself a schedule
 * point.
 */
struct ps_listener {
	/* Runs on the stack of the task that is about to act, and may let others go first with ps_yield_to(). */
	void (*step)(struct ps_listener *listener, enum ps_point_kind kind, const void *obj);
	/*
	 * The running task waits or has ended: which of the runnable tasks (ps_runnable()) goes on? NULL, as a function
	 * or as its answer: the one with the earliest clock. Not asked when none is runnable.
	 */
	struct task_struct *(*pick)(struct ps_listener *listener, struct ps_runtime *rt);
};

/** Installs a listener (NULL: none). Return: the one it replaces. Context: the host or any task of rt. */
struct ps_listener *ps_runtime_listen(struct ps_runtime *rt, struct ps_listener *listener);

/** Runs another runnable task first, whatever the clocks say; returns when the current one is picked again. */
void ps_yield_to(struct task_struct *next);
/** The tasks that could run now, the current one left out, in the order of their clocks. Return: how many there are. */
size_t ps_runnable(const struct ps_runtime *rt, struct task_struct **ret_tasks, size_t max);

void ps_point_slow(enum ps_point_kind kind, const void *obj);

static inline void ps_point(enum ps_point_kind kind, const volatile void *obj)
{
	if (unlikely(ps_current->hooks & PS_HOOK_POINT))
		ps_point_slow(kind, (const void *)obj);
}

#ifdef __cplusplus
}
#endif

#endif
