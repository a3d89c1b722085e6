/* SPDX-License-Identifier: MIT */
/*
 * Who waits how long, to the nanosecond: locks that are held when somebody comes, and locks that were held, in virtual
 * time, by a task that has run ahead. A task here arrives, holds and goes as a struct visit says.
 */
#include "runtime/scene.h"

#include <pagesim/mutex.h>
#include <pagesim/rwsem.h>
#include <pagesim/spinlock.h>
#include <pagesim/wait_bit.h>

static const struct ps_runtime_settings exact = { .quantum_ns = 1 };
/* Every task runs to its end before the next begins: all contention is with the past. */
static const struct ps_runtime_settings far_ahead = { .quantum_ns = 1000000000 };

enum how { SPIN, MUTEX, READ, WRITE, BIT };

struct visit {
	enum how how;
	ps_ns_t arrive, hold;
	int times;     /* visits, 0 = 1 */
	ps_ns_t pause; /* between visits */
	struct task_struct *task;
	ps_ns_t got; /* clock at the first acquisition */
};

static spinlock_t spin;
static struct mutex mutex;
static struct rw_semaphore rwsem;
static unsigned long word;

static void take(enum how how)
{
	switch (how) {
	case SPIN:
		spin_lock(&spin);
		break;
	case MUTEX:
		mutex_lock(&mutex);
		break;
	case READ:
		down_read(&rwsem);
		break;
	case WRITE:
		down_write(&rwsem);
		break;
	case BIT:
		wait_on_bit_lock(&word, 3, PAGE_LOCK);
	}
}

static void give(enum how how)
{
	switch (how) {
	case SPIN:
		spin_unlock(&spin);
		break;
	case MUTEX:
		mutex_unlock(&mutex);
		break;
	case READ:
		up_read(&rwsem);
		break;
	case WRITE:
		up_write(&rwsem);
		break;
	case BIT:
		bit_unlock(&word, 3, PAGE_LOCK);
	}
}

static void visits(void *arg)
{
	struct visit *v = arg;
	int i;

	ps_charge(v->arrive, PS_TIME_ACCESS);
	cond_resched();
	for (i = 0; i < v->times; i++) {
		take(v->how);
		if (i == 0)
			v->got = ps_now();
		ps_charge(v->hold, PS_TIME_FAULT);
		if (v->how != SPIN)
			cond_resched();
		give(v->how);
		ps_charge(v->pause, PS_TIME_ACCESS);
	}
}

static void play(const struct ps_runtime_settings *set, struct visit *v, size_t n)
{
	char name[] = "a";
	size_t i;

	scene_begin(set);
	spin_lock_init(&spin, LRU_LOCK);
	mutex_init(&mutex, MMAP_LOCK);
	init_rwsem(&rwsem, ANON_VMA_RWSEM);
	word = 0;
	for (i = 0; i < n; i++, name[0]++) {
		v[i].times += !v[i].times;
		v[i].task = scene_task(name, visits, &v[i]);
	}
	scene_run();
	for (i = 0; i < n; i++)
		assert_time_adds_up(v[i].task);
}

static void assert_waits(enum lock_class lc, u64 waits, ps_ns_t total, ps_ns_t max)
{
	struct ps_lock_class_stats s;
	u64 in_hist = 0;
	int b;

	ps_lock_class_stats(scene.rt, lc, &s);
	assert_int_equal(s.waits, waits);
	assert_int_equal(s.total_ns, total);
	assert_int_equal(s.max_ns, max);
	for (b = 0; b < PS_LOCK_WAIT_BUCKETS; b++)
		in_hist += s.hist[b];
	assert_int_equal(in_hist, waits);
	if (max)
		assert_true(s.hist[63 - __builtin_clzll(max)] > 0);
}

static const struct {
	enum how how;
	enum lock_class lc;
} exclusive[] = { { SPIN, LRU_LOCK }, { MUTEX, MMAP_LOCK }, { WRITE, ANON_VMA_RWSEM }, { BIT, PAGE_LOCK } };

/*
 *   a  [0 ---- holds ---- 500]
 *   b        200 waits... [500 -- 600]
 *
 * Expect b to wait 300, whether a is stopped inside (the mutex kinds) or has run ahead through it (the spinlock: nobody
 * is stopped under one).
 */
static void who_comes_to_a_held_lock_waits_for_the_rest(void **state)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(exclusive); i++) {
		struct visit v[] = { { exclusive[i].how, 0, 500 }, { exclusive[i].how, 200, 100 } };

		play(&exact, v, 2);
		assert_int_equal(v[0].got, 0);
		assert_int_equal(v[1].got, 500);
		assert_int_equal(v[1].task->time[PS_TIME_WAIT], 300);
		assert_int_equal(v[1].task->now, 600);
		assert_waits(exclusive[i].lc, 1, 300, 300);
		assert_waits(LEAF_LOCK, 0, 0, 0);
		scene_end();
	}
}

/*
 *   a   [0 ------------ 1000]
 *   b        300 ............[1000 - 1100]
 *   c     200 ...............              [1100...     c came first in virtual time, although b asked first
 *
 * The tasks are created so that the host sees b's request before c's. Expect c to be served first.
 */
static void waiters_are_served_by_their_arrival_in_virtual_time(void **state)
{
	size_t i;

	/* Bit locks are served in the order of asking: the queue is the kernel's. */
	for (i = 0; i < 3; i++) {
		const struct ps_runtime_settings set = { .quantum_ns = 400 };
		struct visit v[] = { { exclusive[i].how, 0, 1000 },
				     { exclusive[i].how, 300, 100 },
				     { exclusive[i].how, 200, 100 } };

		if (exclusive[i].how == SPIN)
			continue;
		play(&set, v, 3);
		assert_int_equal(v[0].got, 0);
		assert_int_equal(v[2].got, 1000);
		assert_int_equal(v[1].got, 1100);
		assert_waits(exclusive[i].lc, 2, 800 + 800, 800);
		scene_end();
	}
}

/* Five tasks, one after the other at time 0, each holding 100. Expect waits of 0, 100, 200, 300, 400. */
static void a_convoy_adds_up(void **state)
{
	size_t i;

	for (i = 0; i < ARRAY_SIZE(exclusive); i++) {
		struct visit v[5];
		int k;

		memset(v, 0, sizeof(v));
		for (k = 0; k < 5; k++)
			v[k] = (struct visit){ .how = exclusive[i].how, .hold = 100 };
		play(&exact, v, 5);
		for (k = 0; k < 5; k++)
			assert_int_equal(v[k].got, 100 * k);
		assert_waits(exclusive[i].lc, 4, 100 + 200 + 300 + 400, 400);
		scene_end();
	}
}

/*
 * a has run to its end before b begins: held [100, 600) in the past. Expect b to wait exactly what it would have waited,
 * and not to wait before the hold or after it.
 */
static void a_lock_held_by_who_ran_ahead_is_waited_for(void **state)
{
	static const struct {
		ps_ns_t arrive, got;
	} cases[] = { { 50, 50 }, { 99, 99 }, { 100, 600 }, { 350, 600 }, { 599, 600 }, { 600, 600 }, { 700, 700 } };
	size_t i, c;

	for (i = 0; i < ARRAY_SIZE(exclusive); i++) {
		for (c = 0; c < ARRAY_SIZE(cases); c++) {
			struct visit v[] = { { exclusive[i].how, 100, 500 },
					     { exclusive[i].how, cases[c].arrive, 10 } };
			ps_ns_t waited = cases[c].got - cases[c].arrive;

			play(&far_ahead, v, 2);
			assert_int_equal(v[1].got, cases[c].got);
			assert_waits(exclusive[i].lc, waited != 0, waited, waited);
			scene_end();
		}
	}
}

/*
 * a held the lock 10 times 100 ns in [0, 2000): half of the time. b comes at 1000. Expect half the chance to find it
 * held times half a hold: 25 ns.
 */
static void many_past_holds_cost_their_expectation(void **state)
{
	size_t i;

	/* A bit has no memory of many holds: only its latest count. */
	for (i = 0; i < 3; i++) {
		struct visit v[] = { { exclusive[i].how, 0, 100, 10, 100 }, { exclusive[i].how, 1000, 10 } };

		play(&far_ahead, v, 2);
		/* The stretch ends with the last hold: 1900. busy 1000: 1000 / 1900 * 1000 / 20 = 26 */
		assert_int_equal(v[1].got, 1026);
		scene_end();
	}
}

/* A past reader keeps only writers waiting, a past writer everybody. */
static void past_readers_keep_only_writers_waiting(void **state)
{
	static const struct {
		enum how first, second;
		ps_ns_t got;
	} cases[] = { { READ, READ, 300 }, { READ, WRITE, 500 }, { WRITE, READ, 500 }, { WRITE, WRITE, 500 } };
	size_t c;

	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		struct visit v[] = { { cases[c].first, 0, 500 }, { cases[c].second, 300, 10 } };

		play(&far_ahead, v, 2);
		assert_int_equal(v[1].got, cases[c].got);
		scene_end();
	}
}

/*
 * Readers at [0, 300) and [200, 700) are one group. Expect a writer who comes at 100 to wait till 700, when they are
 * stopped inside and when they have run ahead.
 */
static void a_writer_waits_for_the_whole_group_of_readers(void **state)
{
	struct visit now[] = { { READ, 0, 300 }, { READ, 50, 650 }, { WRITE, 100, 10 } };
	struct visit past[] = { { READ, 0, 300 }, { READ, 200, 500 }, { WRITE, 100, 10 } };

	play(&exact, now, 3);
	assert_int_equal(now[2].got, 700);
	scene_end();
	play(&far_ahead, past, 3);
	assert_int_equal(past[2].got, 700);
	scene_end();
}

static void an_uncontended_lock_costs_nothing(void **state)
{
	struct visit v[] = {
		{ SPIN, 0, 100, 5, 50 }, { MUTEX, 0, 100, 5, 50 }, { READ, 0, 100, 5, 50 }, { BIT, 0, 100, 5, 50 }
	};
	size_t i;

	play(&exact, v, ARRAY_SIZE(v));
	for (i = 0; i < ARRAY_SIZE(v); i++) {
		assert_int_equal(v[i].task->now, 750);
		assert_int_equal(v[i].task->time[PS_TIME_WAIT], 0);
	}
	for (i = 0; i < NR_LOCK_CLASSES; i++)
		assert_waits((enum lock_class)i, 0, 0, 0);
	scene_end();
}

/* A try never waits: it fails on what is held, and a past hold does not concern it. */
static void trylocks_do_not_wait(void **state)
{
	struct visit v[] = { { MUTEX, 0, 500 }, { WRITE, 0, 500 }, { BIT, 0, 500 } };
	struct task_struct *t;

	play(&far_ahead, v, 3);
	t = scene_task("t", NULL, NULL);
	t->now = 100;
	ps_task_enter(t);
	assert_true(mutex_trylock(&mutex) && down_write_trylock(&rwsem) && bit_trylock(&word, 3, PAGE_LOCK) &&
		    spin_trylock(&spin));
	assert_int_equal(ps_now(), 100);
	assert_false(mutex_trylock(&mutex));
	assert_false(down_write_trylock(&rwsem) || down_read_trylock(&rwsem));
	assert_false(bit_trylock(&word, 3, PAGE_LOCK));
	assert_false(spin_trylock(&spin));
	assert_true(mutex_is_locked(&mutex) && rwsem_is_locked(&rwsem) && spin_is_locked(&spin));
	spin_unlock(&spin);
	bit_unlock(&word, 3, PAGE_LOCK);
	up_write(&rwsem);
	mutex_unlock(&mutex);
	assert_false(mutex_is_locked(&mutex) || rwsem_is_locked(&rwsem) || spin_is_locked(&spin) || word);
	ps_task_leave();
	scene_end();
}

static void classes_have_names(void **state)
{
	struct ps_lock_class_stats s;

	assert_string_equal(ps_lock_class_name(PAGE_LOCK), "PAGE_LOCK");
	assert_string_equal(ps_lock_class_text(PAGE_LOCK), "PG_locked (lock_page)");
	assert_string_equal(ps_lock_class_name(NR_LOCK_CLASSES), "?");
	assert_true(ps_lock_class_sleeps(PAGE_LOCK) && !ps_lock_class_sleeps(PTE_LOCK));
	scene_begin(NULL);
	ps_lock_class_stats(scene.rt, NR_LOCK_CLASSES, &s);
	assert_int_equal(s.waits, 0);
	scene_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(who_comes_to_a_held_lock_waits_for_the_rest),
		cmocka_unit_test(waiters_are_served_by_their_arrival_in_virtual_time),
		cmocka_unit_test(a_convoy_adds_up),
		cmocka_unit_test(a_lock_held_by_who_ran_ahead_is_waited_for),
		cmocka_unit_test(many_past_holds_cost_their_expectation),
		cmocka_unit_test(past_readers_keep_only_writers_waiting),
		cmocka_unit_test(a_writer_waits_for_the_whole_group_of_readers),
		cmocka_unit_test(an_uncontended_lock_costs_nothing),
		cmocka_unit_test(trylocks_do_not_wait),
		cmocka_unit_test(classes_have_names),
	};

	return cmocka_run_group_tests_name("contention", tests, NULL, NULL);
}
