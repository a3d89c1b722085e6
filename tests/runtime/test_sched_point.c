/* SPDX-License-Identifier: MIT */
/*
 * Schedule points as a listener hears them: which steps the locks, queues and RCU are made of, and that a listener can
 * decide who goes next. A step reads as "kind:object", objects being named by the test.
 */
#include "runtime/scene.h"

#include <pagesim/mutex.h>
#include <pagesim/rcu.h>
#include <pagesim/rwsem.h>
#include <pagesim/spinlock.h>
#include <pagesim/wait.h>
#include <pagesim/wait_bit.h>

static spinlock_t spin;
static struct mutex mutex;
static struct rw_semaphore sem;
static unsigned long word;
static wait_queue_head_t queue;
static struct task_struct *script;

static const struct {
	const void *obj;
	const char *name;
} names[] = { { &spin, "spin" },   { &mutex, "mutex" },      { &sem, "sem" }, { &word, "word" },
	      { &queue, "queue" }, { &queue.lock, "queue" }, { NULL, "-" } };

static char steps[2048];

static void hear(struct ps_listener *listener, enum ps_point_kind kind, const void *obj)
{
	const char *name = "?";
	size_t i, n = strlen(steps);

	for (i = 0; i < ARRAY_SIZE(names); i++)
		if (names[i].obj == obj)
			name = names[i].name;
	if (obj == ps_current || obj == &ps_current->state)
		name = "self";
	if (kind == PS_POINT_OTHER)
		return;
	snprintf(steps + n, sizeof(steps) - n, "%s%s:%s", n ? " " : "", ps_point_name(kind), name);
}

static struct ps_listener listener = { .step = hear };

static int setup(void **state)
{
	scene_begin(NULL);
	spin_lock_init(&spin, LRU_LOCK);
	mutex_init(&mutex, MMAP_LOCK);
	init_rwsem(&sem, MMAP_LOCK);
	init_waitqueue_head(&queue);
	word = 0;
	script = scene_task("t", NULL, NULL);
	ps_task_enter(script);
	assert_null(ps_runtime_listen(scene.rt, &listener));
	steps[0] = 0;
	return 0;
}

static int teardown(void **state)
{
	ps_task_leave();
	scene_end();
	return 0;
}

static void assert_steps(const char *expected)
{
	assert_string_equal(steps, expected);
	steps[0] = 0;
}

static void locks_say_what_they_take_and_release(void **state)
{
	spin_lock(&spin);
	spin_unlock(&spin);
	assert_true(spin_trylock(&spin));
	spin_unlock(&spin);
	assert_steps("acquire:spin release:spin try:spin release:spin");
	mutex_lock(&mutex);
	mutex_unlock(&mutex);
	assert_true(mutex_trylock(&mutex));
	mutex_unlock(&mutex);
	assert_steps("acquire:mutex release:mutex try:mutex release:mutex");
	down_read(&sem);
	up_read(&sem);
	assert_true(down_read_trylock(&sem));
	up_read(&sem);
	down_write(&sem);
	downgrade_write(&sem);
	up_read(&sem);
	assert_true(down_write_trylock(&sem));
	up_write(&sem);
	assert_steps("acquire-read:sem release-read:sem try-read:sem release-read:sem acquire:sem release:sem "
		     "release-read:sem try:sem release:sem");
}

/* Clearing the bit and waking are two steps. */
static void a_bit_lock_is_released_in_two_steps(void **state)
{
	wait_on_bit_lock(&word, 0, PAGE_LOCK);
	assert_steps("try:word");
	bit_unlock(&word, 0, PAGE_LOCK);
	assert_steps("release:word wake:word");
}

/* Queueing, setting the state, sleeping and waking are each a step of their own. */
static void waiting_and_waking_are_made_of_single_steps(void **state)
{
	DEFINE_WAIT(wait);

	prepare_to_wait(&queue, &wait, TASK_UNINTERRUPTIBLE);
	assert_steps("acquire:queue write:self release:queue");
	finish_wait(&queue, &wait);
	assert_steps("acquire:queue release:queue");
	wake_up(&queue);
	assert_steps("acquire:queue release:queue");
	schedule();
	assert_steps("wait:self");
	cond_resched();
	assert_steps("yield:-");
}

static void rcu_is_heard(void **state)
{
	rcu_read_lock();
	rcu_read_unlock();
	synchronize_rcu();
	assert_steps("rcu-lock:- rcu-unlock:- rcu-sync:-");
}

static void nobody_hears_when_nobody_listens(void **state)
{
	assert_ptr_equal(ps_runtime_listen(scene.rt, NULL), &listener);
	spin_lock(&spin);
	spin_unlock(&spin);
	assert_steps("");
	assert_null(ps_runtime_listen(scene.rt, &listener));
	spin_lock(&spin);
	spin_unlock(&spin);
	assert_steps("acquire:spin release:spin");
}

static void every_kind_has_a_name(void **state)
{
	int k, j;

	for (k = 0; k < PS_NR_POINTS; k++) {
		assert_string_not_equal(ps_point_name((enum ps_point_kind)k), "?");
		for (j = 0; j < k; j++)
			assert_string_not_equal(ps_point_name((enum ps_point_kind)k),
						ps_point_name((enum ps_point_kind)j));
	}
	assert_string_equal(ps_point_name(PS_NR_POINTS), "?");
}

/* ------------------------------------------------------------------ deciding who goes next */

static struct task_struct *youngest(struct ps_runtime *rt, struct task_struct *best)
{
	struct task_struct *all[8];
	size_t i, n = ps_runnable(rt, all, ARRAY_SIZE(all));

	for (i = 0; i < n; i++)
		if (!best || all[i]->id > best->id)
			best = all[i];
	return best;
}

static void youngest_first(struct ps_listener *l, enum ps_point_kind kind, const void *obj)
{
	ps_yield_to(youngest(ps_current->rt, ps_current));
}

static struct task_struct *youngest_next(struct ps_listener *l, struct ps_runtime *rt)
{
	return youngest(rt, NULL);
}

static void two_points(void *arg)
{
	ps_point(PS_POINT_OTHER, NULL);
	say("1");
	ps_point(PS_POINT_OTHER, NULL);
	say("2");
}

static void a_listener_decides_who_goes_next(void **state)
{
	struct ps_listener at_points = { .step = youngest_first };
	struct ps_listener everywhere = { .step = youngest_first, .pick = youngest_next };

	ps_runtime_listen(scene.rt, &at_points);
	ps_task_leave();
	scene_task("a", two_points, NULL);
	scene_task("b", two_points, NULL);
	scene_task("c", two_points, NULL);
	scene_run();
	/* At its first point a stops for c; when c has ended the clock decides, and a goes on. */
	assert_diary("c@0 1 c@0 2 a@0 1 b@0 1 b@0 2 a@0 2 ");
	ps_runtime_listen(scene.rt, &everywhere);
	scene_task("d", two_points, NULL);
	scene_task("e", two_points, NULL);
	scene_task("f", two_points, NULL);
	scene_run();
	assert_diary("f@0 1 f@0 2 e@0 1 e@0 2 d@0 1 d@0 2 ");
	ps_runtime_listen(scene.rt, NULL);
	ps_task_enter(script);
}

static void sleeps(void *arg)
{
	ps_sleep_until(1000);
}

static void nothing(void *arg)
{
}

/* In the order of their clocks, without those who only wait for a time and without the caller. */
static void the_runnable_tasks_are_listed_by_their_clocks(void **state)
{
	struct task_struct *all[2], *t[3];

	ps_runtime_listen(scene.rt, NULL);
	scene_task("sleeper", sleeps, NULL);
	ps_task_leave();
	ps_runtime_run(scene.rt, 0);
	ps_task_enter(script);
	ps_charge(30, PS_TIME_SYSCALL);
	t[0] = scene_task("late", nothing, NULL);
	ps_current->now -= 20; /* only a test may */
	t[1] = scene_task("early", nothing, NULL);
	t[2] = scene_task("early too", nothing, NULL);
	assert_int_equal(ps_runnable(scene.rt, all, 2), 3);
	assert_ptr_equal(all[0], t[1]);
	assert_ptr_equal(all[1], t[2]);
	ps_current->now += 20;
	assert_int_equal(ps_runnable(scene.rt, NULL, 0), 3);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(locks_say_what_they_take_and_release),
		T(a_bit_lock_is_released_in_two_steps),
		T(waiting_and_waking_are_made_of_single_steps),
		T(rcu_is_heard),
		T(nobody_hears_when_nobody_listens),
		T(every_kind_has_a_name),
		T(a_listener_decides_who_goes_next),
		T(the_runnable_tasks_are_listed_by_their_clocks),
#undef T
	};

	return cmocka_run_group_tests_name("sched_point", tests, NULL, NULL);
}
