/* SPDX-License-Identifier: MIT */
/*
 * Wait queues. The dance that loses no wake-up, each step separate so that a model which gets one wrong can be caught:
 *
 *     waiter                                     waker
 *     1 prepare_to_wait: on the queue, state set
 *     2 looks at the condition                   a makes the condition true
 *     3 schedule(): sleeps if still not woken    b wake_up: takes waiters off the queue, sets them running
 *     4 back to 1, or finish_wait
 *
 * Entries are woken in the order of the queue: all that are not exclusive, and the first exclusive one (prepare adds
 * exclusive entries at the tail, others at the head, as Linux does).
 *
 * Layer: runtime
 */
#ifndef PAGESIM_WAIT_H
#define PAGESIM_WAIT_H

#include <pagesim/list.h>
#include <pagesim/runtime.h>
#include <pagesim/spinlock.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef struct wait_queue_head {
	spinlock_t lock; /* guards head and the entries on it */
	struct list_head head;
} wait_queue_head_t;

struct wait_queue_entry;
/**
 * Called for an entry under the queue's lock. Return: > 0 woken (counts against the exclusive limit if the entry is
 * exclusive), 0 not meant, < 0 stop here.
 */
typedef int (*wait_queue_func_t)(struct wait_queue_entry *wait, int sync, void *key);

#define WQ_FLAG_EXCLUSIVE 1u

struct wait_queue_entry {
	unsigned int flags;
	struct task_struct *task;
	wait_queue_func_t func;
	struct list_head entry;
};

void init_waitqueue_head(wait_queue_head_t *q);
/** Makes an entry of the current task that autoremove_wake_function() takes off the queue. */
void init_wait(struct wait_queue_entry *wait);
#define DEFINE_WAIT(name)             \
	struct wait_queue_entry name; \
	init_wait(&name)

/** Takes the entry off the queue, then wakes its task. Return: whether it slept. Fidelity: simplified: in 6.1 the other way
 * round, which the queue's lock hides from everybody. */
int autoremove_wake_function(struct wait_queue_entry *wait, int sync, void *key);

void ps_prepare_to_wait_at(wait_queue_head_t *q, struct wait_queue_entry *wait, int state, bool exclusive,
			   const struct ps_site *at);
/**
 * Puts the entry on the queue if it is not on it, then sets the state: in this order, under the queue's lock.
 * Context: any task, about to look at its condition. Fidelity: exact.
 */
#define prepare_to_wait(q, wait, state)           ps_prepare_to_wait_at((q), (wait), (state), false, PS_HERE)
#define prepare_to_wait_exclusive(q, wait, state) ps_prepare_to_wait_at((q), (wait), (state), true, PS_HERE)
/**
 * Sets the task running and takes the entry off the queue if it is still on it. Fidelity: simplified: always takes the lock;
 * 6.1 leaves it out when the entry is seen off the queue (list_empty_careful).
 */
void finish_wait(wait_queue_head_t *q, struct wait_queue_entry *wait);

/**
 * Wakes all non-exclusive and nr exclusive entries (0: all), passing key to their functions. Context: any task; does not
 * sleep. Return: entries woken. Fidelity: exact (__wake_up_common), save that it does not let go of the lock every 64 entries.
 */
int ps_wake_up_key(wait_queue_head_t *q, int nr_exclusive, void *key);
#define wake_up(q)               ((void)ps_wake_up_key((q), 1, NULL))
#define wake_up_nr(q, nr)        ((void)ps_wake_up_key((q), (nr), NULL))
#define wake_up_all(q)           ((void)ps_wake_up_key((q), 0, NULL))
#define wake_up_interruptible(q) wake_up(q)
/** Is anybody on the queue? Without the lock: only a hint, as in Linux. Fidelity: exact. */
bool waitqueue_active(wait_queue_head_t *q);

/** Sleeps until cond holds. Context: may sleep. Fidelity: exact. */
#define wait_event(q, cond)                                                    \
	do {                                                                   \
		DEFINE_WAIT(ps_wait_);                                         \
		for (;;) {                                                     \
			prepare_to_wait((q), &ps_wait_, TASK_UNINTERRUPTIBLE); \
			if (cond)                                              \
				break;                                         \
			schedule();                                            \
		}                                                              \
		finish_wait((q), &ps_wait_);                                   \
	} while (0)

/** Sleeps until cond holds or the clock reaches deadline (ns). Value: whether cond held. */
#define ps_wait_event_until(q, cond, deadline)                                 \
	__extension__({                                                        \
		bool ps_held_;                                                 \
		DEFINE_WAIT(ps_wait_);                                         \
		for (;;) {                                                     \
			prepare_to_wait((q), &ps_wait_, TASK_UNINTERRUPTIBLE); \
			ps_held_ = !!(cond);                                   \
			if (ps_held_ || ps_now() >= (deadline))                \
				break;                                         \
			ps_schedule_until(deadline);                           \
		}                                                              \
		finish_wait((q), &ps_wait_);                                   \
		ps_held_;                                                      \
	})

#ifdef __cplusplus
}
#endif

#endif
