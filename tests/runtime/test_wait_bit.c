/* SPDX-License-Identifier: MIT */
/*
 * Bit locks: first asked, first served; waiters for "clear" go with the release; one bit of a word says nothing of the
 * others; and clearing and waking are two steps between which somebody may step in.
 */
#include "runtime/scene.h"

#include <pagesim/bug.h>
#include <pagesim/wait_bit.h>

static const struct ps_runtime_settings exact = { .quantum_ns = 1 };

static unsigned long words[2];

struct visitor {
	int word, bit;
	ps_ns_t hold; /* 0: waits for "clear" only */
};

static void visits(void *arg)
{
	const struct visitor *v = arg;

	if (!v->hold) {
		wait_on_bit(&words[v->word], v->bit, PAGE_LOCK);
		say("sees it clear");
		return;
	}
	wait_on_bit_lock(&words[v->word], v->bit, PAGE_LOCK);
	say("locks");
	ps_charge(v->hold, PS_TIME_COPY);
	cond_resched();
	bit_unlock(&words[v->word], v->bit, PAGE_LOCK);
}

static void play(const struct ps_runtime_settings *set, const struct visitor *v, size_t n)
{
	char name[] = "a";
	size_t i;

	words[0] = words[1] = 0;
	scene_begin(set);
	for (i = 0; i < n; i++, name[0]++)
		scene_task(name, visits, (void *)&v[i]);
	scene_run();
	assert_true(!words[0] && !words[1]);
}

static void a_bit_lock_is_first_come_first_served(void **state)
{
	static const struct visitor v[] = { { 0, 0, 100 }, { 0, 0, 100 }, { 0, 0, 100 } };

	play(&exact, v, ARRAY_SIZE(v));
	assert_diary("a@0 locks b@100 locks c@200 locks ");
	scene_end();
}

static void bits_and_words_are_strangers(void **state)
{
	static const struct visitor v[] = { { 0, 0, 100 }, { 0, 1, 100 }, { 1, 0, 100 }, { 1, 63, 100 } };

	play(&exact, v, ARRAY_SIZE(v));
	assert_diary("a@0 locks b@0 locks c@0 locks d@0 locks ");
	scene_end();
}

/*
 * Queue: b waits for "clear", c for the lock, d for "clear". Expect a's release to let b go and give c the bit; d stands
 * behind c and sees the bit set again.
 */
static void a_release_serves_up_to_the_next_owner(void **state)
{
	static const struct visitor v[] = { { 0, 0, 100 }, { 0, 0, 0 }, { 0, 0, 100 }, { 0, 0, 0 } };

	play(&exact, v, ARRAY_SIZE(v));
	assert_diary("a@0 locks b@100 sees it clear c@100 locks d@200 sees it clear ");
	scene_end();
}

static void waits_are_counted_for_the_class(void **state)
{
	static const struct visitor v[] = { { 0, 0, 100 }, { 0, 0, 50 } };
	struct ps_lock_class_stats s;

	play(&exact, v, ARRAY_SIZE(v));
	ps_lock_class_stats(scene.rt, PAGE_LOCK, &s);
	assert_int_equal(s.waits, 1);
	assert_int_equal(s.total_ns, 100);
	ps_lock_class_stats(scene.rt, WAITQUEUE_LOCK, &s);
	assert_int_equal(s.waits, 0);
	scene_end();
}

static void ends_writeback(void *arg)
{
	ps_charge(300, PS_TIME_SYSCALL);
	cond_resched();
	clear_bit(5, &words[0]);
	wake_up_bit(&words[0], 5);
}

static void a_bit_cleared_by_hand_wakes_with_wake_up_bit(void **state)
{
	static const struct visitor v = { 0, 5, 0 };

	scene_begin(&exact);
	words[0] = 1UL << 5;
	scene_task("waiter", visits, (void *)&v);
	scene_task("io", ends_writeback, NULL);
	scene_run();
	assert_diary("waiter@300 sees it clear ");
	scene_end();
}

/* Steps in between "clear" and "wake" of somebody else's release: the first wake point after the clear. */
struct thief {
	struct ps_listener listener;
	struct task_struct *t;
	bool done;
};

static void steals_between(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	struct thief *thief = container_of(listener, struct thief, listener);

	if (thief->done || kind != PS_POINT_WAKE || obj != &words[0])
		return;
	thief->done = true;
	ps_yield_to(thief->t);
}

static void takes_at_once(void *arg)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule();
	say("runs");
	if (bit_trylock(&words[0], 0, PAGE_LOCK)) {
		say("stole");
		ps_charge(50, PS_TIME_COPY);
		cond_resched();
		bit_unlock(&words[0], 0, PAGE_LOCK);
	}
}

static void wakes_thief(void *arg)
{
	wait_on_bit_lock(&words[0], 0, PAGE_LOCK);
	ps_charge(100, PS_TIME_COPY);
	cond_resched();
	wake_up_process(arg);
	bit_unlock(&words[0], 0, PAGE_LOCK);
}

/* Expect the thief to succeed, the sleeper to go on sleeping, and to get the bit in the end. */
static void a_thief_between_clear_and_wake_takes_the_bit(void **state)
{
	static const struct visitor sleeper = { 0, 0, 10 };
	struct thief thief = { .listener.step = steals_between };

	scene_begin(&exact);
	words[0] = 0;
	thief.t = scene_task("thief", takes_at_once, NULL);
	scene_task("owner", wakes_thief, thief.t);
	scene_task("sleeper", visits, (void *)&sleeper);
	ps_runtime_listen(scene.rt, &thief.listener);
	scene_run();
	assert_true(thief.done);
	assert_diary("thief@100 runs thief@100 stole sleeper@150 locks ");
	assert_int_equal(words[0], 0);
	scene_end();
}

struct caught {
	jmp_buf back;
	int bugs;
};

static void catch (void *arg, const struct ps_bug *bug)
{
	struct caught *c = arg;

	c->bugs++;
	longjmp(c->back, 1);
}

static void unlocking_a_clear_bit_is_a_bug(void **state)
{
	struct caught c = { .bugs = 0 };

	scene_begin(&exact);
	words[0] = 0;
	ps_task_enter(scene_task("t", NULL, NULL));
	ps_bug_set_handler((struct ps_bug_handler){ catch, &c });
	if (!setjmp(c.back))
		bit_unlock(&words[0], 0, PAGE_LOCK);
	assert_int_equal(c.bugs, 1);
	ps_bug_set_handler((struct ps_bug_handler){ NULL, NULL });
	ps_task_leave();
	scene_end();
}

static int inside, visits_done;

static void visits_often(void *arg)
{
	int i;

	for (i = 0; i < 6; i++) {
		wait_on_bit_lock(&words[0], 2, PAGE_LOCK);
		assert_int_equal(inside++, 0);
		ps_point(PS_POINT_OTHER, NULL);
		inside--;
		visits_done++;
		bit_unlock(&words[0], 2, PAGE_LOCK);
		wait_on_bit(&words[0], 2, PAGE_LOCK);
	}
}

/* Expect mutual exclusion, an end, and no waiter forgotten, for 300 shuffles of five tasks. */
static void shuffled_bit_locks_exclude_and_lose_nobody(void **state)
{
	u64 seed;
	int i;

	for (seed = 0; seed < 300; seed++) {
		const struct ps_runtime_settings set = { .shuffle = 12000, .seed = seed };

		scene_begin(&set);
		words[0] = 0;
		inside = visits_done = 0;
		for (i = 0; i < 5; i++)
			scene_task("v", visits_often, NULL);
		scene_run();
		assert_int_equal(visits_done, 30);
		assert_int_equal(words[0], 0);
		scene_end();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_bit_lock_is_first_come_first_served),
		cmocka_unit_test(bits_and_words_are_strangers),
		cmocka_unit_test(a_release_serves_up_to_the_next_owner),
		cmocka_unit_test(waits_are_counted_for_the_class),
		cmocka_unit_test(a_bit_cleared_by_hand_wakes_with_wake_up_bit),
		cmocka_unit_test(a_thief_between_clear_and_wake_takes_the_bit),
		cmocka_unit_test(unlocking_a_clear_bit_is_a_bug),
		cmocka_unit_test(shuffled_bit_locks_exclude_and_lose_nobody),
	};

	return cmocka_run_group_tests_name("wait_bit", tests, NULL, NULL);
}
