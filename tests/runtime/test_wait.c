/* SPDX-License-Identifier: MIT */
/*
 * Wait queues and completions: the order of wake-ups, and that none is lost, under a shuffler that interrupts at any
 * schedule point. A queue used wrongly on purpose must be caught losing one, or the shuffler proves nothing.
 */
#include "runtime/scene.h"

#include <pagesim/atomic.h>
#include <pagesim/completion.h>
#include <pagesim/wait.h>

#define SEEDS 400

static const struct ps_runtime_settings exact = { .quantum_ns = 1 };

static wait_queue_head_t queue;
static int ready;
static struct completion event;

static void waits(void *arg)
{
	wait_event(&queue, READ_ONCE(ready));
	say("woken");
}

static void sets_and_wakes(void *arg)
{
	ps_charge(100, PS_TIME_SYSCALL);
	cond_resched();
	WRITE_ONCE(ready, 1);
	wake_up_all(&queue);
}

static void every_waiter_goes_on_at_the_wakers_time(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	init_waitqueue_head(&queue);
	ready = 0;
	t = scene_task("a", waits, NULL);
	scene_task("b", waits, NULL);
	scene_task("w", sets_and_wakes, NULL);
	scene_run();
	/* Not exclusive: each stands before those that came earlier. */
	assert_diary("a@100 woken b@100 woken ");
	assert_int_equal(t->time[PS_TIME_WAIT], 100);
	assert_true(list_empty(&queue.head));
	scene_end();
}

static int tokens;

static void waits_exclusively(void *arg)
{
	DEFINE_WAIT(wait);

	for (;;) {
		prepare_to_wait_exclusive(&queue, &wait, TASK_UNINTERRUPTIBLE);
		if (tokens)
			break;
		schedule();
	}
	finish_wait(&queue, &wait);
	tokens--;
	say("served");
}

static void hands_out(void *arg)
{
	int i;

	for (i = 0; i < 3; i++) {
		ps_charge(100, PS_TIME_SYSCALL);
		cond_resched();
		tokens++;
		wake_up(&queue);
	}
}

static void exclusive_waiters_are_woken_one_by_one_in_order(void **state)
{
	scene_begin(&exact);
	init_waitqueue_head(&queue);
	tokens = 0;
	scene_task("a", waits_exclusively, NULL);
	scene_task("b", waits_exclusively, NULL);
	scene_task("c", waits_exclusively, NULL);
	scene_task("w", hands_out, NULL);
	scene_run();
	assert_diary("a@100 served b@200 served c@300 served ");
	scene_end();
}

static void one_wake_up_takes_all_common_and_one_exclusive(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	init_waitqueue_head(&queue);
	ready = 0;
	tokens = 2;
	scene_task("common", waits, NULL);
	tokens = 0;
	scene_task("ex1", waits_exclusively, NULL);
	scene_task("ex2", waits_exclusively, NULL);
	t = scene_task("t", NULL, NULL);
	scene_run();
	ps_task_enter(t);
	assert_true(waitqueue_active(&queue));
	ready = 1;
	tokens = 2;
	wake_up(&queue);
	ps_task_leave();
	scene_run();
	assert_diary("common@0 woken ex1@0 served ");
	ps_task_enter(t);
	wake_up_nr(&queue, 5);
	ps_task_leave();
	scene_run();
	assert_diary("ex2@0 served ");
	scene_end();
}

static void waits_with_a_deadline(void *arg)
{
	bool held = ps_wait_event_until(&queue, READ_ONCE(ready), *(const ps_ns_t *)arg);

	say(held ? "held" : "gave up");
}

static void a_deadline_ends_the_wait(void **state)
{
	ps_ns_t early = 50, late = 5000;

	scene_begin(&exact);
	init_waitqueue_head(&queue);
	ready = 0;
	scene_task("early", waits_with_a_deadline, &early);
	scene_task("late", waits_with_a_deadline, &late);
	scene_task("w", sets_and_wakes, NULL);
	scene_run();
	assert_diary("early@50 gave up late@100 held ");
	scene_end();
}

/* ------------------------------------------------------------------ shuffled */

#define ITEMS 12

static atomic_t items;
static int made, taken;

static void produces(void *arg)
{
	int i;

	for (i = 0; i < ITEMS; i++) {
		atomic_inc(&items);
		made++;
		wake_up(&queue);
	}
}

static void consumes(void *arg)
{
	int i;

	for (i = 0; i < ITEMS / 2; i++) {
		DEFINE_WAIT(wait);

		for (;;) {
			prepare_to_wait_exclusive(&queue, &wait, TASK_UNINTERRUPTIBLE);
			if (atomic_dec_if_positive(&items) >= 0)
				break;
			schedule();
		}
		taken++;
		finish_wait(&queue, &wait);
	}
}

/* The mistake: looks first, then goes to sleep. A wake-up in between is lost. */
static void consumes_wrongly(void *arg)
{
	int i;

	for (i = 0; i < ITEMS / 2; i++) {
		DEFINE_WAIT(wait);

		while (atomic_dec_if_positive(&items) < 0) {
			prepare_to_wait_exclusive(&queue, &wait, TASK_UNINTERRUPTIBLE);
			schedule();
			finish_wait(&queue, &wait);
		}
		taken++;
	}
}

/* Return: whether all items were taken (otherwise: a deadlock). */
static bool produce_and_consume(u64 seed, ps_task_fn consumer)
{
	const struct ps_runtime_settings set = { .shuffle = 16384, .seed = seed };
	volatile bool done = false;

	scene_begin(&set);
	init_waitqueue_head(&queue);
	items.counter = made = taken = 0;
	scene_task("c1", consumer, NULL);
	scene_task("c2", consumer, NULL);
	scene_task("p", produces, NULL);
	if (!setjmp(scene.after_deadlock)) {
		scene_run();
		done = true;
	}
	if (done)
		assert_true(made == ITEMS && taken == ITEMS && items.counter == 0);
	scene_end();
	return done;
}

static void no_wake_up_is_lost_whatever_the_order(void **state)
{
	u64 seed;

	for (seed = 0; seed < SEEDS; seed++)
		assert_true(produce_and_consume(seed, consumes));
}

static void looking_before_queueing_loses_wake_ups(void **state)
{
	int lost = 0;
	u64 seed;

	for (seed = 0; seed < SEEDS; seed++)
		lost += !produce_and_consume(seed, consumes_wrongly);
	assert_true(lost > 0);
}

/* ------------------------------------------------------------------ completions */

static void awaits(void *arg)
{
	wait_for_completion(&event);
	say("done");
}

static void completes(void *arg)
{
	ps_charge(10, PS_TIME_SYSCALL);
	cond_resched();
	complete(&event);
	ps_charge(10, PS_TIME_SYSCALL);
	cond_resched();
	complete_all(&event);
	/* A third event on top of "for ever" changes nothing. */
	complete(&event);
}

static void a_completion_lets_one_go_and_then_all(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	init_completion(&event);
	scene_task("a", awaits, NULL);
	scene_task("b", awaits, NULL);
	scene_task("c", awaits, NULL);
	scene_task("w", completes, NULL);
	scene_run();
	assert_diary("a@10 done b@20 done c@20 done ");
	t = scene_task("t", NULL, NULL);
	ps_task_enter(t);
	wait_for_completion(&event);
	assert_true(try_wait_for_completion(&event) && try_wait_for_completion(&event));
	reinit_completion(&event);
	assert_false(try_wait_for_completion(&event));
	complete(&event);
	assert_true(try_wait_for_completion(&event));
	assert_false(try_wait_for_completion(&event));
	ps_task_leave();
	scene_end();
}

static void completes_each(void *arg)
{
	int i;

	for (i = 0; i < 3; i++)
		complete(&event);
}

static void completions_survive_shuffling(void **state)
{
	u64 seed;

	for (seed = 0; seed < SEEDS; seed++) {
		const struct ps_runtime_settings set = { .shuffle = 20000, .seed = seed };

		scene_begin(&set);
		init_completion(&event);
		scene_task("a", awaits, NULL);
		scene_task("b", awaits, NULL);
		scene_task("c", awaits, NULL);
		scene_task("w", completes_each, NULL);
		scene_run();
		assert_int_equal(event.done, 0);
		scene_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_waiter_goes_on_at_the_wakers_time),
		cmocka_unit_test(exclusive_waiters_are_woken_one_by_one_in_order),
		cmocka_unit_test(one_wake_up_takes_all_common_and_one_exclusive),
		cmocka_unit_test(a_deadline_ends_the_wait),
		cmocka_unit_test(no_wake_up_is_lost_whatever_the_order),
		cmocka_unit_test(looking_before_queueing_loses_wake_ups),
		cmocka_unit_test(a_completion_lets_one_go_and_then_all),
		cmocka_unit_test(completions_survive_shuffling),
	};

	return cmocka_run_group_tests_name("wait", tests, NULL, NULL);
}
