/* SPDX-License-Identifier: MIT */
/*
 * What the files of the runtime share: the full task, the full runtime, and the two verbs everything that waits is made
 * of: ps_block() and ps_unblock().
 *
 * Fiber driver: one host thread, so nothing here has a lock; a switch happens only in the functions of clock.c.
 * Native driver: fields say what guards them.
 */
#ifndef PS_RUNTIME_PRIVATE_H
#define PS_RUNTIME_PRIVATE_H

#ifdef PS_NATIVE
#include <pthread.h>
#else
#include "runtime/fiber.h"
#endif

#include <pagesim/bug.h>
#include <pagesim/list.h>
#include <pagesim/rcu.h>
#include <pagesim/rng.h>
#include <pagesim/runtime.h>
#include <pagesim/wait.h>

/* One lock a task holds. */
struct ps_held {
	const void *lock;
	const struct ps_site *at;
	short bit;
	unsigned char lclass;
	unsigned char top; /* highest class from the bottom of the list to here */
};

#define HELD_INLINE 12
#define BIT_HOLDS   8
#define BIT_RING    64
#ifdef PS_NATIVE
#define BIT_QUEUES 64
#else
#define BIT_QUEUES 1 /* more would be chosen by address, and differ from run to run */
#endif

/* What a task waits for, for whoever asks why nothing moves. */
struct ps_waiting {
	const void *object; /* NULL: not told */
	int bit;
	enum lock_class lc;
	const struct ps_site *at;
	struct task_struct *const *holder;    /* where the object says who has it; NULL: it does not */
	const struct ps_site *const *held_at; /* and where that one took it */
};

#define PS_WAITING_NOTHING ((struct ps_waiting){ .lc = NR_LOCK_CLASSES })

/* Who waits for bits of words; which queue is chosen by word and bit. */
struct ps_bit_queue {
	wait_queue_head_t q;
	u32 waiters; /* atomic: 0 lets a waker pass without the lock */
};

/* A bit lock that was held from since to end. */
struct ps_bit_hold {
	const unsigned long *word;
	int bit;
	ps_ns_t since, end;
};

struct ps_task {
	struct task_struct t; /* first: a task_struct is a ps_task */
	ps_task_fn fn;
	void *arg;
	bool hosted, daemon, ended, should_stop;
	struct list_head all; /* ps_rt.tasks, by id */
	struct ps_held *held; /* held_inline, or the heap when there are many */
	u32 nr_held, held_room;
	u32 nr_spins; /* held locks whose class must not sleep */
	struct ps_held held_inline[HELD_INLINE];
	struct ps_waiting waiting;
	u64 rcu_watch; /* grace period that waits for the open section, 0: none */
#ifdef PS_NATIVE
	pthread_t thread;
	bool cancelled;            /* must not begin; under rt->lock */
	pthread_mutex_t park_lock; /* guards t.state against schedule(), and wake_at */
	pthread_cond_t park;
	ps_ns_t wake_at;   /* clock of the latest waker */
	struct ps_rng rng; /* shuffles */
#else
	struct ps_fiber *fiber; /* NULL: hosted */
	ps_ns_t key;            /* when it is due, while in the heap */
	u64 order;              /* among equal keys: id, behind everybody when it yields */
	u32 heap_index;         /* + 1; 0: not in the heap */
	bool timed;             /* in the heap only to wake at key */
	bool in_schedule;       /* sleeps in schedule(): wake_up_process() may make it due */
	struct ps_waiter *joiners;
	u32 mark; /* of a search through waiters */
	u32 next_bit_hold;
	struct ps_bit_hold bit_holds[BIT_HOLDS]; /* bit locks lately taken; end unused */
#endif
};

struct ps_rcu {
	struct rcu_head *first, **last; /* callbacks in order; native: under lock */
	u64 queued, done;               /* native: atomic */
	struct ps_machine *machine;     /* of the latest caller; native: under lock */
	struct ps_stats *stats;
	ps_ns_t latest; /* clock of the latest caller; native: under lock */
	struct ps_task *daemon;
	wait_queue_head_t work;    /* the daemon: callbacks came */
	wait_queue_head_t waiters; /* a read section closed; a callback has run */
	u64 gp;                    /* number of the latest grace period */
#ifdef PS_NATIVE
	pthread_mutex_t lock;
#endif
};

struct ps_rt {
	struct ps_runtime pub; /* first: a ps_runtime is a ps_rt */
	struct ps_runtime_settings set;
	struct ps_quirk_set quirks;
	struct list_head tasks; /* native: under lock */
	u32 last_id, nr_tasks, nr_hosted;
	struct ps_lock_class_stats lock_stats[NR_LOCK_CLASSES]; /* native: atomic */
	struct ps_bit_queue bit_queues[BIT_QUEUES];
	struct ps_rcu rcu;
	struct ps_listener shuffler;
	struct ps_rng rng;
#ifdef PS_NATIVE
	pthread_mutex_t lock;
	pthread_cond_t changed; /* open, nr_busy */
	bool open;              /* tasks may run */
	u32 nr_busy;            /* threads of tasks that are not daemons and have not ended */
	struct ps_bug_handler bug;
#else
	struct ps_task **heap;                   /* runnable and timed tasks by (key, order) */
	u32 heap_len, heap_room;
	u32 nr_ready;           /* untimed ones in the heap */
	u32 nr_foreground;      /* in the heap and not daemons */
	u32 nr_busy;            /* fibers that are not daemons and have not ended */
	struct ps_task *hosted; /* entered hosted task: the host's stack is its */
	struct ps_fiber host;
	struct ps_fiber_pool fibers;
	ps_ns_t limit;    /* of this run */
	ps_ns_t latest;   /* clock of any task that is gone */
	ps_ns_t progress; /* when a task that is not a daemon last ran */
	u32 slice;
	u64 nr_yields;
	u64 switches;
	bool stuck;                              /* the host must report a deadlock */
	bool dead;                               /* it was reported */
	struct ps_deadlock_edge *deadlock_edges; /* of that report, freed with the runtime */
	u32 marks;
	u32 nr_bit_ring;      /* holds ever put into the ring */
	ps_ns_t bit_ring_end; /* latest end in the ring */
	struct ps_bit_hold bit_ring[BIT_RING];
#endif
};

static inline struct ps_task *ps_task_of(const struct task_struct *t)
{
	return (struct ps_task *)t;
}

static inline struct ps_rt *ps_rt_of(const struct ps_runtime *rt)
{
	return (struct ps_rt *)rt;
}

static inline struct ps_task *ps_self(void)
{
	return ps_task_of(ps_current);
}

static inline struct ps_rt *ps_self_rt(void)
{
	return ps_rt_of(ps_current->rt);
}

/* A task in the queue of a lock, on its own stack. */
struct ps_waiter {
	struct ps_waiter *next;
	struct ps_task *task;
	ps_ns_t arrival;
	bool shared;  /* a reader of an rwsem */
	bool granted; /* whoever released has given us the lock */
};

/* the driver: clock.c or native.c */
/* Gives the task its number and place in the runtime, and a stack or thread. Return: 0 or -errno. */
int ps_task_start(struct ps_task *task);
/* Undoes that, whatever the task is doing. */
void ps_task_destroy(struct ps_task *task);
/* Sets a task running; if it sleeps in schedule() it goes on, not before `at`. */
void ps_wake(struct ps_task *task, ps_ns_t at);
/* Clock of the caller: the current task's, or the latest of the runtime for the host. */
ps_ns_t ps_clock(const struct ps_rt *rt);
int ps_driver_init(struct ps_rt *rt);
/* Takes down all tasks, then what ps_driver_init() made. */
void ps_driver_destroy(struct ps_rt *rt);
/* task.c: gives back a task's memory. */
void ps_task_release(struct ps_task *task);

#ifndef PS_NATIVE
/* Stops the current task until ps_unblock(); waiting says for what. Return: ns waited, already charged to PS_TIME_WAIT. */
ps_ns_t ps_block(struct ps_task *self, const struct ps_waiting *waiting);
/* Makes a task that is in ps_block() runnable, not before `at`. */
void ps_unblock(struct ps_task *task, ps_ns_t at);
/* Puts the current task behind the one named and runs that. */
void ps_run_instead(struct ps_task *self, struct ps_task *next);

/* lock.c: queues of lock waiters */
void ps_waiters_add(struct ps_waiter **queue, struct ps_waiter *waiter);
/* Queues the current task and sleeps until it is granted the lock. Context: fibers. */
void ps_wait_granted(struct ps_waiter **queue, bool shared, const struct ps_waiting *waiting);
/* Lets virtual time pass for a lock that was held at this time by a task that ran ahead. */
void ps_wait_holds(enum lock_class lc, ps_ns_t ns);
/* Remembers that the current task took, and has released, a bit. */
void ps_bit_hold_begin(const unsigned long *word, int bit);
void ps_bit_hold_end(const unsigned long *word, int bit);
ps_ns_t ps_bit_hold_wait(const unsigned long *word, int bit, ps_ns_t at);

/* deadlock.c */
/* Does self, who is about to wait, wait for itself through owners of locks that wait in turn? */
bool ps_closes_cycle(struct ps_task *self);
/* Tells the host who waits for whom. Context: the host's stack. */
__attribute__((noreturn)) void ps_report_deadlock(struct ps_rt *rt);
#endif

/* lock.c */
void ps_count_wait(struct ps_rt *rt, enum lock_class lc, ps_ns_t ns);

/* lock_check.c */
void ps_lock_report(struct ps_lock_report *report);
/* The task ends, or leaves for the host: reports spinlocks held and open read sections, and any lock if it ends. */
void ps_check_leave(struct ps_task *task, bool ends);
static inline bool ps_checked(void)
{
	return ps_current->hooks & PS_HOOK_CHECK;
}

/* rcu.c */
void ps_rcu_init(struct ps_rt *rt);
void ps_rcu_thread_begins(void);
void ps_rcu_thread_ends(void);
/* Closes what the ending current task left open, so that nobody waits for it for ever. */
void ps_rcu_abandon(struct ps_task *self);

/* sched_point.c */
void ps_shuffle_init(struct ps_rt *rt);

#endif
