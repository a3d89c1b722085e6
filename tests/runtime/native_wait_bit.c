/* SPDX-License-Identifier: MIT */
/*
 * Bit locks on real threads: four words, each with a lock in bit 0, something like writeback in bit 1, and a neighbour
 * bit that others set and clear at the same time.
 */
#include "runtime/scene.h"

#include <pagesim/atomic.h>
#include <pagesim/wait_bit.h>

#define THREADS 4
#define ROUNDS  6000
#define WORDS   4

static struct {
	unsigned long flags;
	u64 pair[2]; /* under bit 0 */
} page[WORDS];

struct worker {
	u64 id, torn, locked, missed;
};

static void work(void *arg)
{
	struct worker *w = arg;
	u64 i;

	for (i = 0; i < ROUNDS; i++) {
		u64 n = (i * 7 + w->id) % WORDS;

		set_bit(8 + w->id, &page[n].flags);
		if (i % 3) {
			wait_on_bit_lock(&page[n].flags, 0, PAGE_LOCK);
		} else if (!bit_trylock(&page[n].flags, 0, PAGE_LOCK)) {
			clear_bit(8 + w->id, &page[n].flags);
			continue;
		}
		w->torn += page[n].pair[0] != page[n].pair[1];
		page[n].pair[0]++;
		if (i % 5 == 0)
			cpu_relax(); /* so that others do come to a held lock */
		page[n].pair[1]++;
		w->locked++;
		w->missed += !test_and_clear_bit(8 + w->id, &page[n].flags);
		bit_unlock(&page[n].flags, 0, PAGE_LOCK);
		if (i % 4 == 0)
			wait_on_bit(&page[n].flags, 0, PAGE_LOCK);
	}
}

static void bit_locks_exclude_and_leave_their_neighbours_alone(void **state)
{
	struct worker w[THREADS] = { 0 };
	struct ps_lock_class_stats waits;
	u64 locked = 0, counted = 0;
	int i;

	scene_begin(NULL);
	memset(page, 0, sizeof(page));
	for (i = 0; i < THREADS; i++) {
		w[i].id = (u64)i;
		scene_task("worker", work, &w[i]);
	}
	scene_run();
	for (i = 0; i < THREADS; i++) {
		assert_int_equal(w[i].torn, 0);
		assert_int_equal(w[i].missed, 0);
		locked += w[i].locked;
	}
	for (i = 0; i < WORDS; i++) {
		assert_int_equal(page[i].flags, 0);
		counted += page[i].pair[0];
	}
	assert_int_equal(counted, locked);
	ps_lock_class_stats(scene.rt, PAGE_LOCK, &waits);
	assert_true(waits.waits > 0);
	scene_end();
}

static u64 result; /* written before bit 1 is cleared, read after it was seen clear */
static atomic_t rounds_over;

static void waits_for_writeback(void *arg)
{
	u64 *wrong = arg;
	u64 i;

	for (i = 1; i <= 2000; i++) {
		wait_on_bit(&page[0].flags, 1, PAGE_LOCK);
		*wrong += result != i;
		set_bit(1, &page[0].flags);
		atomic_set_release(&rounds_over, (int)i);
	}
}

static void ends_writeback(void *arg)
{
	u64 i;

	for (i = 1; i <= 2000; i++) {
		while (atomic_read_acquire(&rounds_over) != (int)i - 1)
			cpu_relax();
		result = i;
		clear_bit_unlock(1, &page[0].flags);
		wake_up_bit(&page[0].flags, 1);
	}
}

static void who_waited_for_a_bit_sees_what_came_before_its_clearing(void **state)
{
	u64 wrong = 0;

	scene_begin(NULL);
	page[0].flags = 2;
	result = 0;
	rounds_over.counter = 0;
	scene_task("waiter", waits_for_writeback, &wrong);
	scene_task("io", ends_writeback, NULL);
	scene_run();
	assert_int_equal(wrong, 0);
	scene_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(bit_locks_exclude_and_leave_their_neighbours_alone),
		cmocka_unit_test(who_waited_for_a_bit_sees_what_came_before_its_clearing),
	};

	return cmocka_run_group_tests_name("native wait_bit", tests, NULL, NULL);
}
