/* SPDX-License-Identifier: MIT */
/* Wait queues, completions, joins and daemons on real threads: everything that is signalled arrives. */
#include "runtime/scene.h"

#include <pagesim/atomic.h>
#include <pagesim/completion.h>
#include <pagesim/spinlock.h>
#include <pagesim/wait.h>

#define CONSUMERS 3
#define ITEMS     6000

static wait_queue_head_t queue;
static spinlock_t store_lock;
static u64 store[64], stored, sum_in, sum_out[CONSUMERS]; /* store and stored under store_lock */
static bool closed;                                       /* under store_lock */
static wait_queue_head_t room;

static bool put(u64 item)
{
	bool ok;

	spin_lock(&store_lock);
	ok = stored < ARRAY_SIZE(store);
	if (ok)
		store[stored++] = item;
	spin_unlock(&store_lock);
	return ok;
}

/* Return: an item, 0 if there is none yet, UINT64_MAX if there will be none. */
static u64 get(void)
{
	u64 item = 0;

	spin_lock(&store_lock);
	if (stored)
		item = store[--stored];
	else if (closed)
		item = UINT64_MAX;
	spin_unlock(&store_lock);
	return item;
}

static void produces(void *arg)
{
	u64 i;

	for (i = 1; i <= ITEMS; i++) {
		wait_event(&room, put(i));
		sum_in += i;
		wake_up(&queue);
	}
	spin_lock(&store_lock);
	closed = true;
	spin_unlock(&store_lock);
	wake_up_all(&queue);
}

static void consumes(void *arg)
{
	u64 *sum = arg, item;

	for (;;) {
		DEFINE_WAIT(wait);

		for (;;) {
			prepare_to_wait_exclusive(&queue, &wait, TASK_UNINTERRUPTIBLE);
			item = get();
			if (item)
				break;
			schedule();
		}
		finish_wait(&queue, &wait);
		if (item == UINT64_MAX)
			return;
		*sum += item;
		wake_up(&room);
	}
}

static void every_item_arrives_once(void **state)
{
	u64 sum = 0;
	int i;

	scene_begin(NULL);
	init_waitqueue_head(&queue);
	init_waitqueue_head(&room);
	spin_lock_init(&store_lock, ZONE_LOCK);
	stored = sum_in = 0;
	closed = false;
	memset(sum_out, 0, sizeof(sum_out));
	scene_task("producer", produces, NULL);
	for (i = 0; i < CONSUMERS; i++)
		scene_task("consumer", consumes, &sum_out[i]);
	scene_run();
	for (i = 0; i < CONSUMERS; i++)
		sum += sum_out[i];
	assert_int_equal(sum, sum_in);
	assert_int_equal(sum_in, (u64)ITEMS * (ITEMS + 1) / 2);
	scene_end();
}

/* Two threads throw a completion to and fro; it lives on the stack of who waits, and is gone as soon as it came. */
struct message {
	struct completion arrived;
	u64 payload;
};

static struct message *mailbox;
static wait_queue_head_t mail;

static void answers(void *arg)
{
	int i;

	for (i = 0; i < 3000; i++) {
		struct message *m;

		wait_event(&mail, (m = xchg(&mailbox, NULL)) != NULL);
		m->payload *= 2;
		complete(&m->arrived);
	}
}

static void asks(void *arg)
{
	u64 *wrong = arg;
	u64 i;

	for (i = 0; i < 3000; i++) {
		struct message m = { .payload = i };

		init_completion(&m.arrived);
		smp_store_release(&mailbox, &m);
		wake_up(&mail);
		wait_for_completion(&m.arrived);
		*wrong += m.payload != 2 * i;
	}
}

static void a_completion_may_die_as_soon_as_it_came(void **state)
{
	u64 wrong = 0;

	scene_begin(NULL);
	init_waitqueue_head(&mail);
	mailbox = NULL;
	scene_task("asks", asks, &wrong);
	scene_task("answers", answers, NULL);
	scene_run();
	assert_int_equal(wrong, 0);
	scene_end();
}

static atomic_t daemon_rounds;

static void daemon_works(void *arg)
{
	while (!kthread_should_stop()) {
		ps_sleep_until(ps_now() + 1000);
		atomic_inc(&daemon_rounds);
	}
}

static void does_nothing(void *arg)
{
}

static void joins_and_stops(void *arg)
{
	struct task_struct *child = ps_task_new(ps_current->rt, "child", does_nothing, NULL);

	while (!atomic_read(&daemon_rounds))
		cpu_relax();
	ps_task_join(child);
	ps_task_free(child);
	kthread_stop(arg);
}

static void daemons_run_until_they_are_stopped(void **state)
{
	struct task_struct *d;

	scene_begin(NULL);
	daemon_rounds.counter = 0;
	d = scene_task("kdaemon", daemon_works, NULL);
	ps_task_set_daemon(d, true);
	scene_task("boss", joins_and_stops, d);
	scene_run();
	assert_true(ps_task_ended(d));
	assert_true(daemon_rounds.counter > 0);
	/* One that nobody stops goes with the runtime. */
	ps_task_set_daemon(scene_task("kforgotten", daemon_works, NULL), true);
	scene_run();
	scene_end();
}

static void a_task_that_never_ran_can_be_freed(void **state)
{
	scene_begin(NULL);
	ps_task_free(scene_task("never", consumes, NULL));
	ps_task_free(scene_task("hosted", NULL, NULL));
	scene_end();
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_item_arrives_once),
		cmocka_unit_test(a_completion_may_die_as_soon_as_it_came),
		cmocka_unit_test(daemons_run_until_they_are_stopped),
		cmocka_unit_test(a_task_that_never_ran_can_be_freed),
	};

	return cmocka_run_group_tests_name("native wait", tests, NULL, NULL);
}
