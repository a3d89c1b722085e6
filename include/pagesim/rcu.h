/* SPDX-License-Identifier: MIT */
/*
 * RCU: readers that never wait, and updaters that wait for them. On fibers a read section is a nesting count of the task;
 * synchronize_rcu() waits for the sections that are open when it is called, and callbacks run in a daemon task of the
 * runtime ("rcu") after such a grace period. Natively it is liburcu (memb flavour), and only rcu.c knows.
 *
 * Guarantees:
 *   a. a callback, and what follows synchronize_rcu(), runs after every section that was open when it was asked for;
 *   b. callbacks run in the order of call_rcu(), with `current` a task of the runtime that has the caller's machine and
 *      stats, holding no lock;
 *   c. rcu_barrier() returns after every callback queued before it has run;
 *   d. what rcu_assign_pointer() published is seen complete through rcu_dereference().
 *
 * Layer: runtime
 */
#ifndef PAGESIM_RCU_H
#define PAGESIM_RCU_H

#include <pagesim/barrier.h>
#include <pagesim/lock.h>
#include <pagesim/sched_point.h>

#ifdef __cplusplus
extern "C" {
#endif

/** Embedded in what a callback frees. */
struct rcu_head {
	struct rcu_head *next;
	void (*func)(struct rcu_head *head);
};

#ifdef PS_NATIVE
void ps_rcu_read_lock_native(void);
#endif
void ps_rcu_read_unlock_slow(const struct ps_site *at);

/** Opens a read section; sections nest. Inside, nothing may sleep. Fidelity: exact. */
static inline void rcu_read_lock(void)
{
#ifdef PS_NATIVE
	ps_rcu_read_lock_native();
#else
	ps_point(PS_POINT_RCU_LOCK, NULL);
	ps_current->rcu_depth++;
#endif
}

static inline void ps_rcu_read_unlock_at(const struct ps_site *at)
{
#ifdef PS_NATIVE
	ps_rcu_read_unlock_slow(at);
#else
	struct task_struct *t = ps_current;

	if (unlikely(t->hooks || t->rcu_depth <= 0)) {
		ps_rcu_read_unlock_slow(at);
		return;
	}
	t->rcu_depth--;
#endif
}
/** Closes the innermost read section. Fidelity: exact. */
#define rcu_read_unlock() ps_rcu_read_unlock_at(PS_HERE)

/** Is the current task in a read section? Fidelity: exact. */
static inline bool rcu_read_lock_held(void)
{
	return ps_current->rcu_depth > 0;
}

/**
 * Waits until every read section open now has closed. Context: may sleep, in no read section. Fidelity: simplified: the
 * shortest grace period there can be; a real one takes milliseconds.
 */
void ps_synchronize_rcu_at(const struct ps_site *at);
#define synchronize_rcu() ps_synchronize_rcu_at(PS_HERE)

/**
 * Runs func(head) after a grace period.
 *
 * Context: any task; does not sleep. What is queued when the runtime is freed never runs: rcu_barrier() first.
 * Fidelity: simplified: one queue and one thread for all CPUs, so callbacks run in the order they were queued.
 */
void call_rcu(struct rcu_head *head, void (*func)(struct rcu_head *head));

/** Waits until all callbacks queued so far have run. Context: may sleep, in no read section. Fidelity: exact. */
void ps_rcu_barrier_at(const struct ps_site *at);
#define rcu_barrier() ps_rcu_barrier_at(PS_HERE)

/** Reads a published pointer; what it points at is valid until the section ends. */
#define rcu_dereference(p)          PS_LOAD(p, __ATOMIC_ACQUIRE)
#define rcu_dereference_raw(p)      rcu_dereference(p)
#define rcu_dereference_check(p, c) rcu_dereference(p)
/** For the updater, who holds the lock that guards p. */
#define rcu_dereference_protected(p, c) PS_LOAD(p, __ATOMIC_RELAXED)
#define rcu_access_pointer(p)           PS_LOAD(p, __ATOMIC_RELAXED)
/** Publishes. Pairs with rcu_dereference(). */
#define rcu_assign_pointer(p, v) PS_STORE(p, v, __ATOMIC_RELEASE)
/** For what no reader can see yet. */
#define RCU_INIT_POINTER(p, v) ((void)((p) = (v)))

#ifdef __cplusplus
}
#endif

#endif
