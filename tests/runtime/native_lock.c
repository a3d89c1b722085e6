/* SPDX-License-Identifier: MIT */
/*
 * Spinlocks and mutexes on real threads: plain words guarded by them are never seen half-changed. Threads record, the
 * main thread asserts; ThreadSanitizer sees what the sums do not.
 */
#include "runtime/scene.h"

#include <pagesim/mutex.h>
#include <pagesim/spinlock.h>

#define THREADS 4
#define ROUNDS  20000

static spinlock_t spin;
static struct mutex mutex;
static u64 under_spin[2], under_mutex[2];

struct worker {
	u64 torn, spins, mutexes;
};

static void bump(u64 *pair, struct worker *w)
{
	w->torn += pair[0] != pair[1];
	if (++pair[0] % 50 == 0)
		cpu_relax(); /* so that others do come to a held lock */
	pair[1]++;
}

static void work(void *arg)
{
	struct worker *w = arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (i % 3) {
			spin_lock(&spin);
		} else if (!spin_trylock(&spin)) {
			continue;
		}
		bump(under_spin, w);
		w->spins++;
		spin_unlock(&spin);
		if (i % 4) {
			mutex_lock(&mutex);
		} else if (!mutex_trylock(&mutex)) {
			continue;
		}
		bump(under_mutex, w);
		w->mutexes++;
		mutex_unlock(&mutex);
		ps_charge(10, PS_TIME_ACCESS);
		cond_resched();
	}
}

static void run_workers(u32 shuffle)
{
	const struct ps_runtime_settings set = { .shuffle = shuffle };
	struct worker w[THREADS] = { 0 };
	u64 spins = 0, mutexes = 0;
	int i;

	scene_begin(&set);
	spin_lock_init(&spin, LRU_LOCK);
	mutex_init(&mutex, MMAP_LOCK);
	memset(under_spin, 0, sizeof(under_spin));
	memset(under_mutex, 0, sizeof(under_mutex));
	for (i = 0; i < THREADS; i++)
		scene_task("worker", work, &w[i]);
	scene_run();
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(w[i].torn, 0);
		spins += w[i].spins;
		mutexes += w[i].mutexes;
	}
	assert_true(under_spin[0] == spins && under_spin[1] == spins);
	assert_true(under_mutex[0] == mutexes && under_mutex[1] == mutexes);
	assert_true(spins >= (u64)THREADS * ROUNDS / 3);
	assert_false(spin_is_locked(&spin) || mutex_is_locked(&mutex));
	scene_end();
}

static void locks_exclude(void **state)
{
	run_workers(0);
}

static void locks_exclude_disturbed_threads(void **state)
{
	run_workers(2000);
}

/* The checker works on threads too. */
static void a_breach_of_rank_is_reported(void **state)
{
	struct ps_lock_report r;

	scene_begin(NULL);
	spin_lock_init(&spin, LRU_LOCK);
	mutex_init(&mutex, MMAP_LOCK);
	ps_task_enter(scene_task("t", NULL, NULL));
	spin_lock(&spin);
	assert_int_equal(ps_locks_held(ps_current), 1);
	assert_true(mutex_trylock(&mutex));
	assert_int_equal(scene.nr_reports, 0);
	mutex_unlock(&mutex);
	might_sleep();
	r = scene_take_report();
	assert_int_equal(r.kind, PS_LOCK_SLEEP_IN_SPIN);
	assert_int_equal(r.held, LRU_LOCK);
	mutex_lock(&mutex);
	assert_int_equal(scene.nr_reports, 2);
	assert_int_equal(scene.reports[1].kind, PS_LOCK_OUT_OF_RANK);
	scene.nr_reports = 0;
	mutex_unlock(&mutex);
	spin_unlock(&spin);
	spin_unlock(&spin);
	assert_int_equal(scene_take_report().kind, PS_LOCK_NOT_HELD);
	ps_task_leave();
	scene_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(locks_exclude),
		cmocka_unit_test(locks_exclude_disturbed_threads),
		cmocka_unit_test(a_breach_of_rank_is_reported),
	};

	return cmocka_run_group_tests_name("native lock", tests, NULL, NULL);
}
