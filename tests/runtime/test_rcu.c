/* SPDX-License-Identifier: MIT */
/*
 * RCU: a grace period waits for the sections that are open and for no others, callbacks come after it and in order, and
 * a reader never sees what was retired. The letters are the guarantees of rcu.h.
 */
#include "runtime/scene.h"

#include <pagesim/rcu.h>
#include <pagesim/rng.h>

static const struct ps_runtime_settings exact = { .quantum_ns = 1 };

/* A read section that lets others run inside: the shuffler does this anywhere, a listener here on purpose. */
static void lets_everybody_go_first(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	struct task_struct *next;

	if (kind == PS_POINT_OTHER && ps_runnable(ps_current->rt, &next, 1))
		ps_yield_to(next);
}

static struct ps_listener opener = { .step = lets_everybody_go_first };

static void reads(void *arg)
{
	rcu_read_lock();
	rcu_read_lock();
	say("opens");
	ps_point(PS_POINT_OTHER, NULL);
	rcu_read_unlock();
	say("still in");
	ps_point(PS_POINT_OTHER, NULL);
	rcu_read_unlock();
	say("closes");
}

static void synchronizes(void *arg)
{
	say("asks");
	synchronize_rcu();
	say("knows");
}

/* (a) Expect the grace period to end with the outermost unlock of the section that was open. */
static void a_grace_period_waits_for_open_sections(void **state)
{
	scene_begin(&exact);
	ps_runtime_listen(scene.rt, &opener);
	scene_task("reader", reads, NULL);
	scene_task("writer", synchronizes, NULL);
	scene_run();
	assert_diary("reader@0 opens writer@0 asks reader@0 still in reader@0 closes writer@0 knows ");
	scene_end();
}

static void reads_twice(void *arg)
{
	reads(arg);
	reads(arg);
}

/* The reader opens a second section at once. Expect the grace period to end between the two, not after the second. */
static void a_later_section_is_not_waited_for(void **state)
{
	scene_begin(&exact);
	ps_runtime_listen(scene.rt, &opener);
	scene_task("reader", reads_twice, NULL);
	scene_task("writer", synchronizes, NULL);
	scene_run();
	assert_diary("reader@0 opens writer@0 asks reader@0 still in reader@0 closes reader@0 opens writer@0 knows "
		     "reader@0 still in reader@0 closes ");
	scene_end();
}

static void without_readers_there_is_nothing_to_wait_for(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	t = scene_task("t", NULL, NULL);
	ps_task_enter(t);
	ps_charge(50, PS_TIME_SYSCALL);
	synchronize_rcu();
	rcu_barrier();
	assert_int_equal(ps_now(), 50);
	assert_int_equal(ps_runtime_switches(scene.rt), 0);
	ps_task_leave();
	scene_end();
}

struct item {
	struct rcu_head rcu;
	char name[4];
};

static int machine_of_test;

static void retired(struct rcu_head *head)
{
	struct item *item = container_of(head, struct item, rcu);

	assert_ptr_equal(ps_current->machine, &machine_of_test);
	assert_int_equal(ps_locks_held(ps_current), 0);
	assert_int_equal(ps_current->rcu_depth, 0);
	say(item->name);
	ps_free(item);
}

static void retire(const char *name)
{
	struct item *item = ps_alloc(sizeof(*item));

	assert_non_null(item);
	snprintf(item->name, sizeof(item->name), "%s", name);
	call_rcu(&item->rcu, retired);
}

/* (b), (c): in order, by a task of the runtime with the caller's machine; the barrier returns after all of them. */
static void callbacks_run_in_order_before_the_barrier_returns(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	t = scene_task("t", NULL, NULL);
	t->machine = (struct ps_machine *)&machine_of_test;
	ps_task_enter(t);
	retire("x");
	ps_charge(70, PS_TIME_SYSCALL);
	retire("y");
	retire("z");
	assert_diary("");
	rcu_barrier();
	assert_diary("rcu@70 x rcu@70 y rcu@70 z ");
	retire("w");
	rcu_barrier();
	assert_diary("rcu@70 w ");
	ps_task_leave();
	scene_end();
}

static void callbacks_run_without_a_barrier_when_time_goes_on(void **state)
{
	struct task_struct *t;

	scene_begin(&exact);
	t = scene_task("t", NULL, NULL);
	t->machine = (struct ps_machine *)&machine_of_test;
	ps_task_enter(t);
	retire("x");
	ps_charge(100, PS_TIME_SYSCALL);
	ps_task_leave();
	assert_diary("rcu@0 x ");
	scene_end();
}

static void retires_inside(void *arg)
{
	ps_current->machine = (struct ps_machine *)&machine_of_test;
	rcu_read_lock();
	retire("x");
	say("in");
	ps_point(PS_POINT_OTHER, NULL);
	ps_point(PS_POINT_OTHER, NULL);
	say("still in");
	rcu_read_unlock();
	say("out");
}

static void a_callback_waits_for_the_section_that_queued_it(void **state)
{
	scene_begin(&exact);
	ps_runtime_listen(scene.rt, &opener);
	scene_task("t", retires_inside, NULL);
	scene_run();
	assert_diary("t@0 in t@0 still in t@0 out rcu@0 x ");
	scene_end();
}

/* Every allocation on the way refused once. Expect the callbacks to run all the same. */
static void callbacks_need_no_memory(void **state)
{
	u64 n;

	for (n = 1; n < 8; n++) {
		struct item *item;
		struct task_struct *t;

		scene_begin(&exact);
		t = scene_task("t", NULL, NULL);
		t->machine = (struct ps_machine *)&machine_of_test;
		ps_task_enter(t);
		item = ps_alloc(sizeof(*item));
		item->name[0] = 'x';
		item->name[1] = 0;
		ps_alloc_fail_nth(n);
		call_rcu(&item->rcu, retired);
		rcu_barrier();
		ps_alloc_fail_nth(0);
		assert_true(scene.written > 0);
		ps_task_leave();
		scene_end();
	}
}

/* ------------------------------------------------------------------ publish and retire, shuffled */

#define POISON 0xdead

struct config {
	struct rcu_head rcu;
	int a, b;
};

static struct config *published;
static int reads_done, callbacks_done;

static void poison(struct rcu_head *head)
{
	struct config *old = container_of(head, struct config, rcu);

	old->a = old->b = POISON;
	ps_free(old);
	callbacks_done++;
}

static void reads_config(void *arg)
{
	int i;

	for (i = 0; i < 8; i++) {
		struct config *c;

		rcu_read_lock();
		c = rcu_dereference(published);
		ps_point(PS_POINT_OTHER, c);
		assert_int_equal(READ_ONCE(c->a), c->b);
		assert_int_not_equal(c->a, POISON);
		ps_point(PS_POINT_OTHER, c);
		assert_int_not_equal(READ_ONCE(c->b), POISON);
		rcu_read_unlock();
		reads_done++;
	}
}

static void updates_config(void *arg)
{
	int i;

	for (i = 1; i <= 6; i++) {
		struct config *old = published, *c = ps_alloc(sizeof(*c));

		c->a = c->b = i;
		rcu_assign_pointer(published, c);
		if (i % 2) {
			call_rcu(&old->rcu, poison);
		} else {
			synchronize_rcu();
			poison(&old->rcu);
		}
	}
	rcu_barrier();
}

/* (a), (d) Expect no reader ever to see a retired or half-made config; a use after free is the sanitizer's to see. */
static void readers_never_see_what_was_retired(void **state)
{
	u64 seed;

	for (seed = 0; seed < 300; seed++) {
		const struct ps_runtime_settings set = { .shuffle = 12000, .seed = seed };

		scene_begin(&set);
		published = ps_alloc(sizeof(*published));
		published->a = published->b = 0;
		reads_done = callbacks_done = 0;
		scene_task("r1", reads_config, NULL);
		scene_task("r2", reads_config, NULL);
		scene_task("r3", reads_config, NULL);
		scene_task("w", updates_config, NULL);
		scene_run();
		assert_int_equal(reads_done, 24);
		assert_int_equal(callbacks_done, 6);
		assert_int_equal(published->a, 6);
		ps_free(published);
		scene_end();
	}
}

/* The mistake: retire without a grace period. Expect the shuffler to show it, or the test above proves nothing. */
static bool seen_retired;

static void reads_carefully(void *arg)
{
	int i;

	for (i = 0; i < 8; i++) {
		struct config *c;

		rcu_read_lock();
		c = rcu_dereference(published);
		ps_point(PS_POINT_OTHER, c);
		seen_retired |= READ_ONCE(c->a) == POISON;
		rcu_read_unlock();
	}
}

static void updates_hastily(void *arg)
{
	static struct config pool[8];
	int i;

	for (i = 0; i < 6; i++) {
		struct config *old = published;

		pool[i].a = pool[i].b = i;
		rcu_assign_pointer(published, &pool[i]);
		WRITE_ONCE(old->a, POISON);
	}
}

static void retiring_without_a_grace_period_shows(void **state)
{
	u64 seed;

	seen_retired = false;
	for (seed = 0; seed < 100 && !seen_retired; seed++) {
		const struct ps_runtime_settings set = { .shuffle = 12000, .seed = seed };
		struct config start = { .a = 0 };

		scene_begin(&set);
		published = &start;
		scene_task("r1", reads_carefully, NULL);
		scene_task("w", updates_hastily, NULL);
		scene_run();
		scene_end();
	}
	assert_true(seen_retired);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(a_grace_period_waits_for_open_sections),
		cmocka_unit_test(a_later_section_is_not_waited_for),
		cmocka_unit_test(without_readers_there_is_nothing_to_wait_for),
		cmocka_unit_test(callbacks_run_in_order_before_the_barrier_returns),
		cmocka_unit_test(callbacks_run_without_a_barrier_when_time_goes_on),
		cmocka_unit_test(a_callback_waits_for_the_section_that_queued_it),
		cmocka_unit_test(callbacks_need_no_memory),
		cmocka_unit_test(readers_never_see_what_was_retired),
		cmocka_unit_test(retiring_without_a_grace_period_shows),
	};

	return cmocka_run_group_tests_name("rcu", tests, NULL, NULL);
}
