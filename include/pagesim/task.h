/* SPDX-License-Identifier: MIT */
/*
 * A simulated thread. Each has its own virtual clock (`now`) and carries pointers to the world it lives in; the layers
 * above own what they point at. `current` is the task that runs on this host thread, NULL when the host itself runs.
 *
 * Two kinds: a task with a function has a stack of its own (a fiber; a POSIX thread under the native driver); a *hosted*
 * task (fn NULL) has none and is the host's stack between ps_task_enter() and ps_task_leave(). A script line, a test and
 * a replayed access are all "enter, call the model, leave".
 *
 *        ps_task_new            picked                 returns from fn
 *     o ------------> RUNNABLE --------> running ----------------------> ended
 *                      ^    ^              |  |
 *                      |    +- yields -----+  | schedule() with a state set
 *                      |                      v
 *                      +---- wake ------- waiting (or asleep till a time)
 *
 * Layer: runtime
 */
#ifndef PAGESIM_TASK_H
#define PAGESIM_TASK_H

#include <pagesim/lock_class.h>
#include <pagesim/site.h>
#include <pagesim/types.h>

#ifdef __cplusplus
extern "C" {
#endif

struct ps_runtime;
struct ps_machine;
struct ps_stats;
struct mm_struct;
struct mempolicy;

/* Where virtual time goes. The sum over the classes is always now - started. */
#define PS_TIME_CLASSES(X)                                                          \
	X(ACCESS, "access")       /* loads and stores that reach their page */      \
	X(COMPUTE, "compute")     /* a program's instructions between accesses */   \
	X(FAULT, "fault")         /* page faults, without what is counted below */  \
	X(MIGRATE, "migrate")     /* moving and splitting pages, not their bytes */ \
	X(COPY, "copy")           /* page contents, zeroing included */             \
	X(WAIT, "wait")           /* for a lock or an event */                      \
	X(SCAN, "scan")           /* NUMA scanning */                               \
	X(RECLAIM, "reclaim")     /* getting memory back */                         \
	X(SYSCALL, "syscall")     /* all other work of the kernel for the task */   \
	X(INTERRUPT, "interrupt") /* answering other CPUs' TLB shootdowns */        \
	X(IDLE, "idle")           /* asleep by own wish, or a daemon without work */

enum ps_time_class {
#define X(name, text) PS_TIME_##name,
	PS_TIME_CLASSES(X)
#undef X
		PS_NR_TIME_CLASSES
};

/** Return: "access", "fault", ...; "?" outside the enum. */
const char *ps_time_class_name(enum ps_time_class tc);

/* Task states, as in Linux. */
#define TASK_RUNNING         0
#define TASK_INTERRUPTIBLE   1
#define TASK_UNINTERRUPTIBLE 2
#define TASK_DEAD            4

/* What a task is about; written by the task itself. Numbers are Linux's. */
#define PF_MEMALLOC 0x00000800u /* frees memory: must not reclaim to get some */
#define PF_KSWAPD   0x00020000u /* is a kswapd */

/* Who wants to hear of this task's steps; 0 is the fast path everywhere. */
#define PS_HOOK_POINT 1u /* a listener hears schedule points (sched_point.h) */
#define PS_HOOK_CHECK 2u /* the lock checker follows (lock.h) */
#define PS_HOOK_RCU   4u /* a grace period waits for the end of its read section */

/** Fields marked (rt) are the runtime's to write; the rest is set by whoever creates the task, and is inherited. */
struct task_struct {
	ps_ns_t now;           /* virtual time of this thread; grows by ps_charge() and by waiting */
	u32 hooks;             /* (rt) PS_HOOK_* */
	u32 slice;             /* (rt) number of this stretch of running without a switch */
	struct ps_runtime *rt; /* (rt) */
	int cpu;               /* simulated CPU */
	int rcu_depth;         /* (rt) nesting of rcu_read_lock() */
	struct ps_machine *machine;
	struct ps_stats *stats;
	struct mm_struct *mm; /* NULL for a kernel thread */
	ps_ns_t time[PS_NR_TIME_CLASSES];
	ps_ns_t started; /* (rt) its clock when it was created */
	int state;       /* TASK_*; written by set_current_state() and by the waker */
	u32 id;          /* (rt) creation number within the runtime, from 1 */
	u32 flags;       /* PF_* */
	u32 work;        /* enum ps_time_class of the work it is at, see ps_work_begin(); its own */
	char comm[24];
	struct mempolicy *mempolicy; /* the task's own, or NULL: not inherited, fork copies it */
	bool unprivileged;           /* without CAP_SYS_NICE */
	void *task_private;          /* whose the task is, e.g. the replayed process */
};

/** The running task. The only thread-local the layers above know. */
extern __thread struct task_struct *ps_current;
#define current ps_current

/** What a task executes. Its return ends the task. */
typedef void (*ps_task_fn)(void *arg);

/**
 * Creates a task: runnable at once if fn is given, otherwise hosted.
 *
 * Its clock starts at the creator's `now` (at the runtime's latest time when the host creates it); cpu, machine, stats
 * and mm are the creator's, or 0 and NULL. The name is cut to what comm holds.
 *
 * Context: any task or the host; allocates.
 * Return: the task, owned by the caller until ps_task_free(), or NULL without memory.
 */
struct task_struct *ps_task_new(struct ps_runtime *rt, const char *name, ps_task_fn fn, void *arg);

/**
 * Frees a task: a hosted one that is not entered, or one that has ended or never ran. NULL is allowed.
 *
 * A task that still waits is taken out of its queue only by ps_runtime_free(); freeing it here is a BUG. Locks still
 * held are reported (PS_LOCK_HELD_AT_EXIT).
 */
void ps_task_free(struct task_struct *t);

/** Makes the host's stack run as t. Context: the host, in no task; t hosted. */
void ps_task_enter(struct task_struct *t);

/**
 * Ends what ps_task_enter() began. When t's clock has passed the runtime's horizon, the fibers that are behind run up
 * to t's time first.
 *
 * Context: in a hosted task, holding no spinlock and in no RCU section (reported otherwise).
 */
void ps_task_leave(void);

/** Marks a kernel daemon: it may wait for ever, and ps_runtime_run() does not wait for its end. */
void ps_task_set_daemon(struct task_struct *t, bool daemon);
bool ps_task_is_daemon(const struct task_struct *t);
bool ps_task_is_hosted(const struct task_struct *t);
/** Has its function returned (or has it been abandoned)? Never true for a hosted task. */
bool ps_task_ended(const struct task_struct *t);

/** Asks a task to end: kthread_should_stop() turns true and it is woken. */
void ps_task_ask_stop(struct task_struct *t);
/** Has somebody asked the current task to end? */
bool kthread_should_stop(void);

void ps_task_join_at(struct task_struct *t, const struct ps_site *at);
void ps_kthread_stop_at(struct task_struct *t, const struct ps_site *at);
/** Waits until t has ended. Context: in a task other than t; may sleep. */
#define ps_task_join(t) ps_task_join_at((t), PS_HERE)
/** Asks t to end and waits for it. Context: as ps_task_join(). */
#define kthread_stop(t) ps_kthread_stop_at((t), PS_HERE)

/**
 * Ends the current fiber here and now, without unwinding: its locks stay held, its stack is dropped. What a BUG handler
 * of a test calls when the BUG was in a fiber. Context: in a fiber, not hosted. Return: never.
 */
__attribute__((noreturn)) void ps_task_abandon(void);

#ifdef __cplusplus
}
#endif

#endif
