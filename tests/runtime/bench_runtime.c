/* SPDX-License-Identifier: MIT */
/*
 * What the runtime costs on this host, in nanoseconds: the best of thirty runs of each step. "watched" is with the lock
 * checker on, as in tests; the other column is as in replay.
 */
#define _POSIX_C_SOURCE 200809L
#include <stdio.h>
#include <stdlib.h>
#include <time.h>

#include "runtime/fiber.h"

#include <pagesim/alloc.h>
#include <pagesim/atomic.h>
#include <pagesim/mutex.h>
#include <pagesim/rcu.h>
#include <pagesim/runtime.h>
#include <pagesim/rwsem.h>
#include <pagesim/spinlock.h>
#include <pagesim/wait_bit.h>

static double now_ns(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

#define REPEATS 30

/* ns for one of n executions of the statement, the best of some repeats. */
#define BEST(n, statement)                                                    \
	__extension__({                                                       \
		double best_ = 1e18;                                          \
		long rep_, i_;                                                \
                                                                              \
		for (rep_ = 0; rep_ < REPEATS; rep_++) {                      \
			double t_ = now_ns();                                 \
                                                                              \
			for (i_ = 0; i_ < (n); i_++) {                        \
				statement;                                    \
				__asm__ __volatile__("" ::: "memory");        \
			}                                                     \
			best_ = ps_min(best_, (now_ns() - t_) / (double)(n)); \
		}                                                             \
		best_;                                                        \
	})

#define N 500000

static spinlock_t spin;
static struct mutex mutex;
static struct rw_semaphore sem;
static unsigned long word;
static atomic_t counter;

/* ------------------------------------------------------------------ bare switches */

static struct ps_fiber host;
static struct ps_fiber *other;

static void back_and_forth(void)
{
	for (;;)
		ps_fiber_switch(other, &host);
}

static void bare_switch(void)
{
	struct ps_fiber_pool pool = { .stack_bytes = 65536 };

	ps_fiber_init_host(&host);
	other = ps_fiber_get(&pool, back_and_forth);
	if (!other)
		exit(1);
	printf("%-44s %10.1f\n", "switch of stacks, bare", BEST(N, ps_fiber_switch(&host, other)) / 2);
	other->spoilt = true;
	ps_fiber_put(&pool, other);
	ps_fiber_pool_empty(&pool);
}

/* ------------------------------------------------------------------ in a runtime */

static void in_turns(void *arg)
{
	long i;

	for (i = 0; i < N; i++) {
		ps_charge(1000, PS_TIME_ACCESS);
		cond_resched();
	}
}

static void nothing(void *arg)
{
}

/* Tasks that overtake each other at every step: scheduler and switch. */
static double switches(const struct ps_runtime_settings *set, int tasks)
{
	double best = 1e18;
	int rep, i;

	for (rep = 0; rep < REPEATS / 3; rep++) {
		struct ps_runtime *rt = ps_runtime_new(set);
		double t;

		if (!rt)
			exit(1);
		for (i = 0; i < tasks; i++)
			if (!ps_task_new(rt, "t", in_turns, NULL))
				exit(1);
		t = now_ns();
		ps_runtime_run(rt, UINT64_MAX);
		best = ps_min(best, (now_ns() - t) / (double)ps_runtime_switches(rt));
		ps_runtime_free(rt);
	}
	return best;
}

static double short_life(struct ps_runtime *rt)
{
	return BEST(10000, {
		struct task_struct *t = ps_task_new(rt, "t", nothing, NULL);

		ps_runtime_run(rt, UINT64_MAX);
		ps_task_free(t);
	});
}

#define ROWS 16

struct row {
	const char *text;
	double ns[2];
};

static void measure(struct row *row, int column)
{
	const struct ps_runtime_settings set = { .no_lockcheck = column == 0, .quantum_ns = 1 };
	struct ps_runtime *rt = ps_runtime_new(&set);
	struct task_struct *t = rt ? ps_task_new(rt, "bench", NULL, NULL) : NULL;
	unsigned long x = 0;

	if (!t)
		exit(1);
	spin_lock_init(&spin, LRU_LOCK);
	mutex_init(&mutex, MMAP_LOCK);
	init_rwsem(&sem, MMAP_LOCK);
	ps_task_enter(t);
#define ROW(name, ns_)                   \
	do {                             \
		row->text = name;        \
		row++->ns[column] = ns_; \
	} while (0)
	ROW("loop alone", BEST(N, x++));
	ROW("schedule point nobody hears", BEST(N, ps_point(PS_POINT_OTHER, &x)));
	ROW("READ_ONCE", BEST(N, (void)READ_ONCE(word)));
	ROW("atomic_inc", BEST(N, atomic_inc(&counter)));
	ROW("ps_charge", BEST(N, ps_charge(1, PS_TIME_ACCESS)));
	ROW("cond_resched, nothing due", BEST(N, cond_resched()));
	ROW("spin_lock + spin_unlock", BEST(N, spin_lock(&spin); spin_unlock(&spin)));
	ROW("spin_trylock + spin_unlock", BEST(N, (void)spin_trylock(&spin); spin_unlock(&spin)));
	ROW("mutex_lock + mutex_unlock", BEST(N, mutex_lock(&mutex); mutex_unlock(&mutex)));
	ROW("down_read + up_read", BEST(N, down_read(&sem); up_read(&sem)));
	ROW("down_write + up_write", BEST(N, down_write(&sem); up_write(&sem)));
	ROW("bit lock + unlock", BEST(N, wait_on_bit_lock(&word, 0, PAGE_LOCK); bit_unlock(&word, 0, PAGE_LOCK)));
	ROW("rcu_read_lock + rcu_read_unlock", BEST(N, rcu_read_lock(); rcu_read_unlock()));
	ps_task_leave();
	ROW("ps_task_enter + ps_task_leave", BEST(N, ps_task_enter(t); ps_task_leave()));
	ROW("switch of 2 tasks that overtake each other", switches(&set, 2));
	ROW("a task's whole life: new, run, free", short_life(rt));
	ps_runtime_free(rt);
}

int main(void)
{
	static struct row rows[ROWS];
	int i;

	printf("%-44s %10s %10s\n", "", "ns", "watched");
	bare_switch();
	measure(rows, 0);
	measure(rows, 1);
	for (i = 0; i < ROWS; i++)
		printf("%-44s %10.1f %10.1f\n", rows[i].text, rows[i].ns[0], rows[i].ns[1]);
	printf("%-44s %10.1f\n", "ps_alloc + ps_free of 100 bytes", BEST(N, ps_free(ps_alloc(100))));
	return 0;
}
