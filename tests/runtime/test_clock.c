/* SPDX-License-Identifier: MIT */
/*
 * The clock driver: who runs when, how far ahead, what waiting costs, and that the same program gives the same order.
 */
#include "runtime/scene.h"

#include <pagesim/completion.h>
#include <pagesim/mutex.h>
#include <pagesim/rng.h>

static const struct ps_runtime_settings exact = { .quantum_ns = 1 };

/* Works in three steps of this many ns. */
static void three_steps(void *arg)
{
	ps_ns_t ns = *(const ps_ns_t *)arg;
	int i;

	for (i = 0; i < 3; i++) {
		say("works");
		ps_charge(ns, PS_TIME_FAULT);
		cond_resched();
	}
	say("ends");
}

/*
 *   fast  |-100-|-100-|-100-|
 *   slow  |----250----|----250----|----250----|
 *
 * Expect each step to begin when no other task is behind it.
 */
static void the_task_with_the_earliest_clock_runs(void **state)
{
	ps_ns_t fast = 100, slow = 250;

	scene_begin(&exact);
	scene_task("slow", three_steps, &slow);
	scene_task("fast", three_steps, &fast);
	scene_run();
	assert_diary("slow@0 works fast@0 works fast@100 works fast@200 works slow@250 works fast@300 ends "
		     "slow@500 works slow@750 ends ");
	scene_end();
}

static void sleeps_twice(void *arg)
{
	ps_sleep_until(100);
	say("wakes");
	ps_sleep_until(200);
	say("wakes");
}

static void equal_clocks_go_to_the_older_task(void **state)
{
	scene_begin(&exact);
	scene_task("a", sleeps_twice, NULL);
	scene_task("b", sleeps_twice, NULL);
	scene_task("c", sleeps_twice, NULL);
	scene_run();
	assert_diary("a@100 wakes b@100 wakes c@100 wakes a@200 wakes b@200 wakes c@200 wakes ");
	scene_end();
}

/* Quantum 250, steps of 100. Expect a task to stop at the first step 250 or more ahead of the other. */
static void a_task_runs_ahead_by_the_quantum_and_no_further(void **state)
{
	const struct ps_runtime_settings set = { .quantum_ns = 250 };
	ps_ns_t ns = 100;

	scene_begin(&set);
	scene_task("a", three_steps, &ns);
	scene_task("b", three_steps, &ns);
	scene_run();
	assert_diary("a@0 works a@100 works a@200 works b@0 works b@100 works b@200 works b@300 ends a@300 ends ");
	scene_end();
}

static void a_run_stops_when_all_are_past_its_limit(void **state)
{
	ps_ns_t fast = 100, slow = 250;

	scene_begin(&exact);
	scene_task("fast", three_steps, &fast);
	scene_task("slow", three_steps, &slow);
	ps_runtime_run(scene.rt, 100);
	assert_diary("fast@0 works slow@0 works fast@100 works ");
	ps_runtime_run(scene.rt, 199);
	assert_diary("");
	ps_runtime_run(scene.rt, 300);
	assert_diary("fast@200 works slow@250 works fast@300 ends ");
	assert_int_equal(ps_runtime_now(scene.rt), 500);
	scene_run();
	assert_diary("slow@500 works slow@750 ends ");
	scene_end();
}

static void yields(void *arg)
{
	int i;

	for (i = 0; i < 2; i++) {
		say("yields");
		schedule();
	}
	say("ends");
}

/* Without a state set, schedule() lets everybody of the same time go first, younger tasks too. */
static void a_yield_goes_behind_all_that_are_due(void **state)
{
	scene_begin(&exact);
	scene_task("a", yields, NULL);
	scene_task("b", yields, NULL);
	scene_run();
	assert_diary("a@0 yields b@0 yields a@0 yields b@0 yields a@0 ends b@0 ends ");
	scene_end();
}

static void sleeps(void *arg)
{
	ps_sleep_until(*(const ps_ns_t *)arg);
	say("wakes");
	ps_sleep_until(5);
	say("goes on");
}

static void a_sleeper_wakes_at_its_time(void **state)
{
	ps_ns_t late = 700, soon = 300, step = 400;
	struct task_struct *a, *b;

	scene_begin(&exact);
	a = scene_task("late", sleeps, &late);
	b = scene_task("soon", sleeps, &soon);
	scene_task("work", three_steps, &step);
	scene_run();
	assert_diary("work@0 works soon@300 wakes soon@300 goes on work@400 works late@700 wakes late@700 goes on "
		     "work@800 works work@1200 ends ");
	assert_int_equal(a->time[PS_TIME_IDLE], 700);
	assert_int_equal(b->time[PS_TIME_IDLE], 300);
	assert_time_adds_up(a);
	scene_end();
}

static void waits_to_be_woken(void *arg)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule();
	say("woken");
	set_current_state(TASK_INTERRUPTIBLE);
	say(ps_schedule_until(1000) ? "woken" : "timed out");
	set_current_state(TASK_INTERRUPTIBLE);
	say(ps_schedule_until(5000) ? "woken" : "timed out");
}

static void wakes_twice(void *arg)
{
	struct task_struct *sleeper = arg;

	ps_charge(400, PS_TIME_SYSCALL);
	cond_resched();
	assert_true(wake_up_process(sleeper));
	assert_false(wake_up_process(sleeper));
	ps_charge(1600, PS_TIME_SYSCALL);
	cond_resched();
	assert_true(wake_up_process(sleeper));
}

/* A wake-up is never before the waker's time; a deadline is kept when nobody wakes. */
static void who_is_woken_goes_on_at_the_wakers_time(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	t = scene_task("sleeper", waits_to_be_woken, NULL);
	scene_task("waker", wakes_twice, t);
	scene_run();
	assert_diary("sleeper@400 woken sleeper@1000 timed out sleeper@2000 woken ");
	assert_int_equal(t->time[PS_TIME_WAIT], 2000);
	assert_time_adds_up(t);
	scene_end();
}

static void ticks(void *arg)
{
	for (;;) {
		ps_sleep_until(ps_now() + 1000);
		ps_charge(10, PS_TIME_SCAN);
	}
}

/* A daemon that sleeps and works for ever. Expect the run to end with the last task that is not a daemon. */
static void daemons_do_not_keep_the_machine_running(void **state)
{
	ps_ns_t ns = 1700;
	struct task_struct *d;

	scene_begin(&exact);
	d = scene_task("kticker", ticks, NULL);
	ps_task_set_daemon(d, true);
	assert_true(ps_task_is_daemon(d));
	scene_task("work", three_steps, &ns);
	scene_run();
	assert_diary("work@0 works work@1700 works work@3400 works work@5100 ends ");
	assert_in_range(d->now, 5050, 6050);
	ps_runtime_run(scene.rt, 100000);
	assert_in_range(d->now, 99000, 101000);
	scene_end();
}

/* ------------------------------------------------------------------ hosted tasks */

static void a_hosted_task_is_the_host_itself(void **state)
{
	struct task_struct *t;
	int on_this_stack = 0;

	scene_begin(&exact);
	assert_null(ps_current);
	t = scene_task("script", NULL, NULL);
	assert_true(ps_task_is_hosted(t));
	ps_task_enter(t);
	assert_ptr_equal(current, t);
	ps_charge(123, PS_TIME_SYSCALL);
	on_this_stack++;
	ps_task_leave();
	assert_null(ps_current);
	assert_int_equal(on_this_stack, 1);
	assert_int_equal(t->now, 123);
	assert_int_equal(ps_runtime_now(scene.rt), 123);
	assert_int_equal(ps_runtime_switches(scene.rt), 0);
	ps_task_free(t);
	assert_int_equal(ps_runtime_now(scene.rt), 123);
	scene_end();
}

/* Expect the fiber that is behind to run when the host leaves past the horizon, up to the host's time and not beyond. */
static void leaving_lets_fibers_catch_up(void **state)
{
	const struct ps_runtime_settings set = { .quantum_ns = 150 };
	struct task_struct *t;
	ps_ns_t ns = 100;

	scene_begin(&set);
	scene_task("fiber", three_steps, &ns);
	t = scene_task("script", NULL, NULL);
	ps_task_enter(t);
	ps_charge(100, PS_TIME_SYSCALL);
	ps_task_leave();
	assert_diary("");
	ps_task_enter(t);
	ps_charge(100, PS_TIME_SYSCALL);
	ps_task_leave();
	assert_diary("fiber@0 works fiber@100 works fiber@200 works ");
	scene_run();
	assert_diary("fiber@300 ends ");
	scene_end();
}

static struct mutex big_lock;

static void holds_the_big_lock(void *arg)
{
	mutex_lock(&big_lock);
	say("holds");
	ps_charge(300, PS_TIME_FAULT);
	cond_resched();
	say("lets go");
	mutex_unlock(&big_lock);
}

/* The host comes to a lock that a fiber holds. Expect the fiber to run on the way, and the host to pay for it. */
static void a_hosted_task_that_blocks_lets_the_others_run(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	mutex_init(&big_lock, MMAP_LOCK);
	scene_task("fiber", holds_the_big_lock, NULL);
	t = scene_task("script", NULL, NULL);
	ps_runtime_run(scene.rt, 0);
	ps_task_enter(t);
	ps_charge(50, PS_TIME_SYSCALL);
	mutex_lock(&big_lock);
	say("has it");
	mutex_unlock(&big_lock);
	ps_task_leave();
	assert_diary("fiber@0 holds fiber@300 lets go script@300 has it ");
	assert_int_equal(t->time[PS_TIME_WAIT], 250);
	assert_time_adds_up(t);
	scene_end();
}

static void a_hosted_task_yields_like_any_other(void **state)
{
	ps_ns_t ns = 100;
	struct task_struct *t;

	scene_begin(&exact);
	scene_task("fiber", three_steps, &ns);
	t = scene_task("script", NULL, NULL);
	ps_task_enter(t);
	ps_charge(150, PS_TIME_SYSCALL);
	cond_resched();
	say("back");
	ps_sleep_until(250);
	say("slept");
	ps_task_leave();
	assert_diary("fiber@0 works fiber@100 works script@150 back fiber@200 works script@250 slept ");
	scene_end();
}

/* ------------------------------------------------------------------ life and death of tasks */

static void ends_late(void *arg)
{
	ps_charge(900, PS_TIME_SYSCALL);
	cond_resched();
	say("ends");
}

static void joins(void *arg)
{
	struct task_struct *t = arg;

	ps_task_join(t);
	assert_true(ps_task_ended(t));
	say("joined");
	ps_task_join(t);
	ps_task_free(t);
}

static void a_join_waits_for_the_end(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	t = scene_task("worker", ends_late, NULL);
	assert_false(ps_task_ended(t));
	scene_task("j1", joins, t);
	scene_run();
	assert_diary("worker@900 ends j1@900 joined ");
	scene_end();
}

static void until_stopped(void *arg)
{
	while (!kthread_should_stop()) {
		set_current_state(TASK_INTERRUPTIBLE);
		if (!kthread_should_stop())
			schedule();
	}
	__set_current_state(TASK_RUNNING);
	say("stops");
}

static void a_kernel_thread_stops_when_asked(void **state)
{
	struct task_struct *d, *t;

	scene_begin(&exact);
	d = scene_task("kthread", until_stopped, NULL);
	ps_task_set_daemon(d, true);
	t = scene_task("script", NULL, NULL);
	scene_run();
	ps_task_enter(t);
	ps_charge(77, PS_TIME_SYSCALL);
	kthread_stop(d);
	say("goes on");
	ps_task_leave();
	assert_diary("kthread@77 stops script@77 goes on ");
	assert_int_equal(d->time[PS_TIME_IDLE], 77);
	ps_task_free(d);
	scene_end();
}

static void creates(void *arg)
{
	int nothing[3];

	ps_current->cpu = 3;
	ps_current->machine = (struct ps_machine *)&nothing[0];
	ps_current->stats = (struct ps_stats *)&nothing[1];
	ps_current->mm = (struct mm_struct *)&nothing[2];
	ps_charge(40, PS_TIME_SYSCALL);
	*(struct task_struct **)arg = scene_task("child-with-a-name-far-too-long", ends_late, NULL);
}

static void a_child_begins_where_its_creator_is(void **state)
{
	struct task_struct *parent, *child = NULL;

	scene_begin(&exact);
	parent = scene_task("parent", creates, &child);
	scene_run();
	assert_int_equal(child->cpu, 3);
	assert_true(child->machine && child->machine == parent->machine);
	assert_true(child->stats && child->stats == parent->stats);
	assert_true(child->mm && child->mm == parent->mm);
	assert_int_equal(child->started, 40);
	assert_int_equal(child->now, 940);
	assert_string_equal(child->comm, "child-with-a-name-far-t");
	assert_int_equal(child->id, parent->id + 1);
	assert_ptr_equal(ps_task_next(scene.rt, NULL), parent);
	assert_ptr_equal(ps_task_next(scene.rt, parent), child);
	assert_null(ps_task_next(scene.rt, child));
	/* A task the host creates begins at the latest time there is. */
	assert_int_equal(scene_task("later", ends_late, NULL)->started, 940);
	scene_end();
}

static void gives_up(void *arg)
{
	say("gives up");
	ps_task_abandon();
}

static void an_abandoned_fiber_never_comes_back(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	t = scene_task("fiber", gives_up, NULL);
	scene_run();
	assert_diary("fiber@0 gives up ");
	assert_true(ps_task_ended(t));
	scene_end();
}

static void count_one(void *arg)
{
	volatile char deep[20000];

	deep[0] = 1;
	deep[sizeof(deep) - 1] = deep[0];
	++*(int *)arg;
}

/* Twenty thousand short lives. Expect two stacks, not twenty thousand. */
static void stacks_are_used_again(void **state)
{
	struct ps_alloc_counts a, b;
	int i, count = 0;

	scene_begin(NULL);
	ps_alloc_counts(&a);
	for (i = 0; i < 20000; i++) {
		struct task_struct *t = scene_task("short", count_one, &count);

		scene_run();
		ps_task_free(t);
	}
	assert_int_equal(count, 20000);
	ps_alloc_counts(&b);
	assert_true(b.live - a.live <= 2);
	scene_end();
}

static void a_task_that_never_ran_can_be_freed(void **state)
{
	ps_ns_t ns = 1;

	scene_begin(NULL);
	ps_task_free(scene_task("never", three_steps, &ns));
	ps_task_free(scene_task("hosted", NULL, NULL));
	ps_task_free(NULL);
	scene_run();
	assert_diary("");
	scene_end();
}

/* Every allocation of a runtime and forty tasks refused once. Expect NULL, and nothing lost. */
static void without_memory_nothing_is_created_and_nothing_lost(void **state)
{
	struct ps_alloc_counts before, after;
	u64 n;

	ps_alloc_counts(&before);
	for (n = 1;; n++) {
		struct ps_runtime *rt;
		int i, count = 0, created = 0;
		bool over;

		ps_alloc_fail_nth(n);
		rt = ps_runtime_new(NULL);
		for (i = 0; rt && i < 40; i++)
			created += ps_task_new(rt, "t", i % 2 ? count_one : NULL, &count) != NULL;
		over = ps_alloc_fail_nth(0);
		assert_int_equal(created, over ? 40 : rt ? 39 : 0);
		if (rt)
			ps_runtime_run(rt, UINT64_MAX);
		ps_runtime_free(rt);
		ps_alloc_counts(&after);
		assert_int_equal(after.live, before.live);
		if (over)
			break;
	}
	assert_true(n > 60);
}

/* ------------------------------------------------------------------ determinism */

static struct mutex mixed_lock;
static struct completion mixed_events;

static void mixed_work(void *arg)
{
	struct ps_rng rng;
	int i;

	ps_rng_init(&rng, (u64)(uintptr_t)arg);
	for (i = 0; i < 30; i++) {
		switch (ps_rng_below(&rng, 5)) {
		case 0:
			mutex_lock(&mixed_lock);
			say("in");
			ps_charge(ps_rng_below(&rng, 300), PS_TIME_FAULT);
			cond_resched();
			mutex_unlock(&mixed_lock);
			break;
		case 1:
			ps_sleep_until(ps_now() + ps_rng_below(&rng, 500));
			break;
		case 2:
			complete(&mixed_events);
			break;
		case 3:
			if (try_wait_for_completion(&mixed_events))
				say("took");
			break;
		default:
			ps_charge(ps_rng_below(&rng, 100), PS_TIME_ACCESS);
			cond_resched();
		}
	}
	say("ends");
}

static void mixed_run(u32 shuffle, u64 seed, char *diary, size_t size)
{
	const struct ps_runtime_settings set = { .quantum_ns = 100, .shuffle = shuffle, .seed = seed };
	char name[] = "a";
	uintptr_t i;

	scene_begin(&set);
	mutex_init(&mixed_lock, MMAP_LOCK);
	init_completion(&mixed_events);
	for (i = 0; i < 6; i++, name[0]++)
		scene_task(name, mixed_work, (void *)i);
	scene_run();
	assert_int_equal(strlen(scene.diary), scene.written);
	snprintf(diary, size, "%s", scene.diary);
	scene_end();
}

/* Six tasks that lock, sleep, signal and work. Expect the same diary twice, and another one for another shuffle. */
static void the_same_program_gives_the_same_history(void **state)
{
	static char first[16384], second[16384], other[16384];

	mixed_run(0, 0, first, sizeof(first));
	mixed_run(0, 0, second, sizeof(second));
	assert_string_equal(first, second);
	mixed_run(20000, 1, first, sizeof(first));
	mixed_run(20000, 1, second, sizeof(second));
	mixed_run(20000, 2, other, sizeof(other));
	assert_string_equal(first, second);
	assert_string_not_equal(first, other);
}

static void two_runtimes_do_not_know_each_other(void **state)
{
	struct ps_runtime *other;
	struct task_struct *a, *b;
	ps_ns_t ns = 100;

	scene_begin(&exact);
	other = ps_runtime_new(&exact);
	a = scene_task("here", three_steps, &ns);
	b = ps_task_new(other, "there", three_steps, &ns);
	ps_runtime_run(other, 100);
	scene_run();
	ps_runtime_run(other, UINT64_MAX);
	assert_diary("there@0 works there@100 works here@0 works here@100 works here@200 works here@300 ends "
		     "there@200 works there@300 ends ");
	assert_true(a->id == 1 && b->id == 1);
	ps_runtime_free(other);
	scene_end();
}

static void asks_for_quirk(void *arg)
{
	say(ps_quirk(0) ? "on" : "off");
	ps_sleep_until(10);
	say(ps_quirk(0) ? "on" : "off");
}

/* Quirk 0, whatever it is: on in the tasks of the runtime that has it, in no other, and not for the host. */
static void quirks_are_the_runtimes(void **state)
{
	const struct ps_quirk_set quirks = { { 1 } };
	const struct ps_runtime_settings set = { .quirks = &quirks };
	struct ps_runtime *plain;

	scene_begin(&set);
	plain = ps_runtime_new(NULL);
	scene_task("with", asks_for_quirk, NULL);
	ps_task_new(plain, "without", asks_for_quirk, NULL);
	ps_runtime_run(plain, 0);
	ps_runtime_run(scene.rt, 0);
	assert_false(ps_quirk(0));
	ps_runtime_run(plain, UINT64_MAX);
	scene_run();
	ps_task_enter(scene_task("host", NULL, NULL));
	assert_true(ps_quirk(0));
	ps_task_leave();
	assert_false(ps_quirk(0));
	assert_diary("without@0 off with@0 on without@10 off with@10 on ");
	ps_runtime_free(plain);
	scene_end();
}

static void defaults_are_filled_in(void **state)
{
	const struct ps_runtime_settings *set;

	scene_begin(NULL);
	set = ps_runtime_settings(scene.rt);
	assert_int_equal(set->quantum_ns, PS_QUANTUM_NS_DEFAULT);
	assert_int_equal(set->stack_bytes, PS_STACK_BYTES_DEFAULT);
	assert_int_equal(set->hung_task_ns, PS_HUNG_TASK_NS_DEFAULT);
	assert_string_equal(ps_time_class_name(PS_TIME_ACCESS), "access");
	assert_string_equal(ps_time_class_name(PS_TIME_IDLE), "idle");
	assert_string_equal(ps_time_class_name(PS_NR_TIME_CLASSES), "?");
	scene_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(the_task_with_the_earliest_clock_runs),
		cmocka_unit_test(equal_clocks_go_to_the_older_task),
		cmocka_unit_test(a_task_runs_ahead_by_the_quantum_and_no_further),
		cmocka_unit_test(a_run_stops_when_all_are_past_its_limit),
		cmocka_unit_test(a_yield_goes_behind_all_that_are_due),
		cmocka_unit_test(a_sleeper_wakes_at_its_time),
		cmocka_unit_test(who_is_woken_goes_on_at_the_wakers_time),
		cmocka_unit_test(daemons_do_not_keep_the_machine_running),
		cmocka_unit_test(a_hosted_task_is_the_host_itself),
		cmocka_unit_test(leaving_lets_fibers_catch_up),
		cmocka_unit_test(a_hosted_task_that_blocks_lets_the_others_run),
		cmocka_unit_test(a_hosted_task_yields_like_any_other),
		cmocka_unit_test(a_join_waits_for_the_end),
		cmocka_unit_test(a_kernel_thread_stops_when_asked),
		cmocka_unit_test(a_child_begins_where_its_creator_is),
		cmocka_unit_test(an_abandoned_fiber_never_comes_back),
		cmocka_unit_test(stacks_are_used_again),
		cmocka_unit_test(a_task_that_never_ran_can_be_freed),
		cmocka_unit_test(without_memory_nothing_is_created_and_nothing_lost),
		cmocka_unit_test(the_same_program_gives_the_same_history),
		cmocka_unit_test(two_runtimes_do_not_know_each_other),
		cmocka_unit_test(quirks_are_the_runtimes),
		cmocka_unit_test(defaults_are_filled_in),
	};

	return cmocka_run_group_tests_name("clock", tests, NULL, NULL);
}
