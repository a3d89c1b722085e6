/* SPDX-License-Identifier: MIT */
/*
 * One simulated computer's threads and their time. The same API has two bodies, chosen when the library is compiled:
 *
 *   clock    fibers on one host thread. Every task has its own virtual clock; the runnable task with the earliest clock
 *            runs (ties: the older task), and goes on while it is less than quantum_ns ahead of the next one. Same program, same
 *            settings: same order of everything, on any host.
 *   native   (-DPS_NATIVE) tasks are POSIX threads; time is only accounted; order is the host's.
 *
 * Guarantees of `clock`:
 *   a. a task never observes its clock go back; a wake-up is never earlier than the waker's clock;
 *   b. nothing hangs: when no task can run and one that is not a daemon waits, on_deadlock hears who waits for what;
 *   c. a runtime has no state outside itself: two can live in one process, one host thread each at a time.
 *
 * Layer: runtime
 */
#ifndef PAGESIM_RUNTIME_H
#define PAGESIM_RUNTIME_H

#include <pagesim/lock.h>
#include <pagesim/quirks.h>
#include <pagesim/sched_point.h>
#include <pagesim/task.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_QUANTUM_NS_DEFAULT   1000
#define PS_STACK_BYTES_DEFAULT  (256 * 1024)
#define PS_HUNG_TASK_NS_DEFAULT 120000000000ULL

/** One waiting task in a deadlock: task waits at waits_at for an object of class lc that holder took at held_at. */
struct ps_deadlock_edge {
	struct task_struct *task;
	const void *object;             /* lock, word of a bit lock, wait queue, task; NULL: a plain schedule() */
	int bit;                        /* of a bit lock, else 0 */
	enum lock_class lc;             /* NR_LOCK_CLASSES: not a lock */
	const struct ps_site *waits_at; /* NULL: unknown */
	struct task_struct *holder;     /* NULL: nobody known */
	const struct ps_site *held_at;  /* NULL: unknown */
};

struct ps_deadlock {
	struct ps_runtime *rt;
	const struct ps_deadlock_edge *edges; /* who waits, by task id: all but daemons that wait for no lock */
	size_t nr_edges;
};

/** Return: the deadlock as text in buf, one line per waiting task. */
const char *ps_deadlock_text(const struct ps_deadlock *deadlock, char *buf, size_t size);

/** All zero: the defaults. */
struct ps_runtime_settings {
	ps_ns_t quantum_ns;   /* how far a task may run ahead of the next; 0 = PS_QUANTUM_NS_DEFAULT */
	u64 seed;             /* of the shuffler */
	size_t stack_bytes;   /* of a fiber, rounded up to pages; 0 = PS_STACK_BYTES_DEFAULT */
	u32 shuffle;          /* stress: in so many of 65536 schedule points another runnable task goes first */
	bool no_lockcheck;    /* switches the lock checker off */
	ps_ns_t hung_task_ns; /* when only daemons ran for so long while others wait, that is a deadlock;
				 0 = PS_HUNG_TASK_NS_DEFAULT */
	const struct ps_quirk_set *quirks; /* copied; NULL = none */
	/*
	 * Hears of a deadlock, on the host's stack (outside any fiber), and must not return: it leaves by longjmp or ends
	 * the process. Afterwards the runtime can only be read and freed. NULL: a BUG with the text of the deadlock.
	 */
	void (*on_deadlock)(void *arg, const struct ps_deadlock *deadlock);
	/* Hears of a breach of lock rules, where it happens; may return, then the task goes on. NULL: a BUG. */
	void (*on_lock_report)(void *arg, const struct ps_lock_report *report);
	void *arg; /* of both */
};

/** The fields here are read by inline functions; the rest is private. */
struct ps_runtime {
	ps_ns_t horizon; /* the running task goes on without asking while its clock is below this */
	u32 hooks;       /* what its tasks' hooks are */
	struct ps_listener *listener;
};

/**
 * Creates a runtime.
 *
 * Context: any; allocates. Return: the runtime, freed by ps_runtime_free(), or NULL without memory.
 */
struct ps_runtime *ps_runtime_new(const struct ps_runtime_settings *settings);

/**
 * Frees a runtime and all its tasks, whatever they are doing: stacks of fibers that still wait are dropped. NULL is
 * allowed. Native: daemons are asked to stop and joined; anything else must have ended.
 *
 * Context: the host, in no task.
 */
void ps_runtime_free(struct ps_runtime *rt);

/**
 * Runs tasks until none is runnable or all runnable ones are past `until` (ns). With UINT64_MAX there is no limit, and
 * daemons that merely sleep do not keep it from returning. Native: returns when every task that is not a daemon has
 * ended; `until` means nothing.
 *
 * When nothing can run any more and a task that is not a daemon waits, that is a deadlock, unless a hosted task exists
 * that could still be entered and wake it.
 *
 * Context: the host, in no task.
 */
void ps_runtime_run(struct ps_runtime *rt, ps_ns_t until);

/** Return: the latest clock of any task so far. */
ps_ns_t ps_runtime_now(const struct ps_runtime *rt);

/** Return: how often one task was left for another. */
u64 ps_runtime_switches(const struct ps_runtime *rt);

/** Return: the settings in force, defaults filled in. */
const struct ps_runtime_settings *ps_runtime_settings(const struct ps_runtime *rt);

/** Visits the tasks of a runtime by creation number. Return: the next after t (NULL: the first), or NULL. */
struct task_struct *ps_task_next(const struct ps_runtime *rt, const struct task_struct *t);

/* ------------------------------------------------------------------ the current task */

static inline ps_ns_t ps_now(void)
{
	return ps_current->now;
}

/** Spends ns of virtual time on tc. Context: any task. */
static inline void ps_charge(ps_ns_t ns, enum ps_time_class tc)
{
	struct task_struct *t = ps_current;

	t->now += ns;
	t->time[tc] += ns;
}

/**
 * The work the task is at, in one word: the class that steps which many kinds of work have in common (a TLB flush, a visit
 * of a reverse mapping walk) are charged to. A new task is at PS_TIME_SYSCALL; a fault, a migration, reclaim and the NUMA
 * scanner say so where they begin, and put back what was before where they end. What is begun inside something else is the
 * innermost: a hint fault that moves a page is a migration meanwhile.
 *
 * Context: any task. Return: what it was at, for ps_work_end().
 */
static inline enum ps_time_class ps_work_begin(enum ps_time_class tc)
{
	struct task_struct *t = ps_current;
	enum ps_time_class before = (enum ps_time_class)t->work;

	t->work = (u32)tc;
	return before;
}
/** Ends what ps_work_begin() began. */
static inline void ps_work_end(enum ps_time_class before)
{
	ps_current->work = (u32)before;
}
/** Spends ns of virtual time on the work the task is at. */
static inline void ps_charge_work(ps_ns_t ns)
{
	ps_charge(ns, (enum ps_time_class)ps_current->work);
}

void ps_schedule_at(const struct ps_site *at);
bool ps_schedule_until_at(ps_ns_t deadline, const struct ps_site *at);
void ps_sleep_until_at(ps_ns_t until, const struct ps_site *at);
void ps_cond_resched_slow(const struct ps_site *at);

/**
 * Gives up the CPU: with state TASK_RUNNING behind every task that is due, otherwise until woken.
 *
 * Context: no spinlock held, outside RCU. The wait is charged to PS_TIME_WAIT (PS_TIME_IDLE in a daemon).
 */
#define schedule() ps_schedule_at(PS_HERE)
/** schedule() that also ends when the clock reaches deadline. Value: true if woken before. */
#define ps_schedule_until(deadline) ps_schedule_until_at((deadline), PS_HERE)
/** Sleeps until the clock reaches `until`; no waiting, if it has. Charged to PS_TIME_IDLE. */
#define ps_sleep_until(until) ps_sleep_until_at((until), PS_HERE)
/** Makes a waiting task runnable, not before the caller's time. Context: any task. Return: whether it was waiting. */
bool wake_up_process(struct task_struct *t);

static inline void ps_cond_resched_at(const struct ps_site *at)
{
	struct task_struct *t = ps_current;

	if (unlikely(t->now >= t->rt->horizon || t->hooks))
		ps_cond_resched_slow(at);
}
/** Lets tasks that are behind catch up, if the current one has run ahead by the quantum. Context: may sleep. */
#define cond_resched() ps_cond_resched_at(PS_HERE)

/** One turn of a loop that waits for another task without sleeping: costs PS_CPU_RELAX_NS, lets the others run. */
void cpu_relax(void);
#define PS_CPU_RELAX_NS 20

#define set_current_state(value)   ((void)(ps_point(PS_POINT_WRITE, &ps_current->state), ps_set_state(value)))
#define __set_current_state(value) ps_set_state(value)

static inline void ps_set_state(int value)
{
#ifdef PS_NATIVE
	/* Pairs with the waker's exchange in wake_up_process(): state is set before the condition is looked at. */
	__atomic_store_n(&ps_current->state, value, __ATOMIC_SEQ_CST);
#else
	ps_current->state = value;
#endif
}

#ifdef __cplusplus
}
#endif

#endif
