/* SPDX-License-Identifier: MIT */
/*
 * Nothing ever hangs: whatever can never go on is reported, with who waits for what, where, who has it, and since where.
 */
#include "runtime/scene.h"

#include <pagesim/completion.h>
#include <pagesim/mutex.h>
#include <pagesim/rwsem.h>
#include <pagesim/spinlock.h>
#include <pagesim/wait_bit.h>

#define LINE(x) x = __LINE__;

static const struct ps_runtime_settings exact = { .quantum_ns = 1 };
/* A cycle of locks is a breach of their ranks too; these scenes are about what happens when it is not seen. */
static const struct ps_runtime_settings unchecked = { .quantum_ns = 1, .no_lockcheck = true };

static struct mutex a, b;
static struct rw_semaphore sem;
static spinlock_t spin;
static unsigned long page_a, page_b;
static struct completion never;
static int a_held, a_wanted, b_held, b_wanted;

static void begin(const struct ps_runtime_settings *set)
{
	scene_begin(set);
	mutex_init(&a, MMAP_LOCK);
	mutex_init(&b, I_MMAP_RWSEM);
	init_rwsem(&sem, ANON_VMA_RWSEM);
	spin_lock_init(&spin, LRU_LOCK);
	init_completion(&never);
	page_a = page_b = 0;
}

/* Runs until the deadlock that must come. */
#define RUN_INTO_DEADLOCK(statement)                          \
	do {                                                  \
		if (!setjmp(scene.after_deadlock)) {          \
			statement;                            \
			fail_msg("no deadlock was reported"); \
		}                                             \
		assert_null(ps_current);                      \
		scene.nr_reports = 0;                         \
	} while (0)

static const struct ps_deadlock_edge *edge_of(const struct task_struct *t)
{
	size_t i;

	for (i = 0; i < scene.nr_edges; i++)
		if (scene.edges[i].task == t)
			return &scene.edges[i];
	fail_msg("the report does not name %s", t->comm);
	return NULL;
}

static void a_then_b(void *arg)
{
	LINE(a_held) mutex_lock(&a);
	ps_charge(100, PS_TIME_FAULT);
	cond_resched();
	LINE(b_wanted) mutex_lock(&b);
	mutex_unlock(&b);
	mutex_unlock(&a);
}

static void b_then_a(void *arg)
{
	LINE(b_held) mutex_lock(&b);
	ps_charge(100, PS_TIME_FAULT);
	cond_resched();
	LINE(a_wanted) mutex_lock(&a);
	mutex_unlock(&a);
	mutex_unlock(&b);
}

static void assert_ab_ba(const struct task_struct *ab, const struct task_struct *ba)
{
	const struct ps_deadlock_edge *e;

	assert_int_equal(scene.nr_edges, 2);
	e = edge_of(ab);
	assert_ptr_equal(e->object, &b);
	assert_int_equal(e->lc, I_MMAP_RWSEM);
	assert_ptr_equal(e->holder, ba);
	assert_int_equal(e->waits_at->line, b_wanted);
	assert_int_equal(e->held_at->line, b_held);
	e = edge_of(ba);
	assert_ptr_equal(e->object, &a);
	assert_int_equal(e->lc, MMAP_LOCK);
	assert_ptr_equal(e->holder, ab);
	assert_int_equal(e->waits_at->line, a_wanted);
	assert_int_equal(e->held_at->line, a_held);
}

static void two_tasks_and_two_locks(void **state)
{
	struct task_struct *ab, *ba;
	char expected[512];

	begin(&unchecked);
	ab = scene_task("ab", a_then_b, NULL);
	ba = scene_task("ba", b_then_a, NULL);
	RUN_INTO_DEADLOCK(scene_run());
	assert_ab_ba(ab, ba);
	snprintf(expected, sizeof(expected),
		 "deadlock: 2 waiting\n"
		 "  task 1 (ab) waits for I_MMAP_RWSEM at %s:%d, held by task 2 (ba) at %s:%d\n"
		 "  task 2 (ba) waits for MMAP_LOCK at %s:%d, held by task 1 (ab) at %s:%d",
		 __FILE__, b_wanted, __FILE__, b_held, __FILE__, a_wanted, __FILE__, a_held);
	assert_string_equal(scene.deadlock, expected);
	scene_end();
}

static void ticks(void *arg)
{
	for (;;)
		ps_sleep_until(ps_now() + 1000);
}

/* The host is one of the two, and a daemon ticks on for ever. Expect the report at once, not after two minutes. */
static void a_hosted_task_in_a_cycle_is_told_so(void **state)
{
	struct task_struct *host, *ba;

	begin(&unchecked);
	ps_task_set_daemon(scene_task("kticker", ticks, NULL), true);
	ba = scene_task("ba", b_then_a, NULL);
	host = scene_task("host", NULL, NULL);
	ps_task_enter(host);
	RUN_INTO_DEADLOCK(a_then_b(NULL));
	assert_ab_ba(host, ba);
	assert_true(ps_runtime_now(scene.rt) < 10000);
	scene_end();
}

static void waits_for_a_spinlock(void *arg)
{
	spin_lock(&spin);
	spin_unlock(&spin);
}

/* The holder is a hosted task that has left: somebody could enter it again. Expect patience, then the lock. */
static void a_lock_of_a_hosted_task_that_left_is_no_deadlock(void **state)
{
	struct task_struct *host, *t;

	begin(&unchecked);
	host = scene_task("host", NULL, NULL);
	ps_task_enter(host);
	mutex_lock(&a);
	spin_lock(&spin);
	ps_task_leave();
	t = scene_task("waiter", waits_for_a_spinlock, NULL);
	scene_run();
	assert_false(ps_task_ended(t));
	ps_task_enter(host);
	spin_unlock(&spin);
	mutex_unlock(&a);
	ps_task_leave();
	scene_run();
	assert_true(ps_task_ended(t));
	scene_end();
}

static void two_pages(void *arg)
{
	bool forward = arg != NULL;

	wait_on_bit_lock_nested(forward ? &page_a : &page_b, 0, PAGE_LOCK);
	ps_charge(100, PS_TIME_MIGRATE);
	cond_resched();
	wait_on_bit_lock_nested(forward ? &page_b : &page_a, 0, PAGE_LOCK);
}

/* Exchange of A and B against exchange of B and A. Page locks have no owner, but the checker knows who took them. */
static void two_exchanges_of_the_same_pages(void **state)
{
	struct task_struct *ab, *ba;
	const struct ps_deadlock_edge *e;

	begin(&exact);
	ab = scene_task("ab", two_pages, &page_a);
	ba = scene_task("ba", two_pages, NULL);
	RUN_INTO_DEADLOCK(scene_run());
	assert_int_equal(scene.nr_edges, 2);
	e = edge_of(ab);
	assert_ptr_equal(e->object, &page_b);
	assert_int_equal(e->lc, PAGE_LOCK);
	assert_ptr_equal(e->holder, ba);
	assert_non_null(e->held_at);
	assert_ptr_equal(edge_of(ba)->holder, ab);
	scene_end();
}

static void reads_then_a(void *arg)
{
	down_read(&sem);
	ps_charge(100, PS_TIME_FAULT);
	cond_resched();
	mutex_lock(&a);
}

static void a_then_writes(void *arg)
{
	mutex_lock(&a);
	ps_charge(100, PS_TIME_FAULT);
	cond_resched();
	down_write(&sem);
}

/* A reader of a semaphore is no single owner. Expect it to be found all the same. */
static void a_reader_in_the_cycle_is_named(void **state)
{
	struct task_struct *r, *w;

	begin(&exact);
	r = scene_task("reader", reads_then_a, NULL);
	w = scene_task("writer", a_then_writes, NULL);
	RUN_INTO_DEADLOCK(scene_run());
	assert_ptr_equal(edge_of(r)->holder, w);
	assert_ptr_equal(edge_of(w)->holder, r);
	assert_ptr_equal(edge_of(w)->object, &sem);
	scene_end();
}

static void waits_for_never(void *arg)
{
	wait_for_completion(&never);
}

static void sleeps_for_ever(void *arg)
{
	set_current_state(TASK_UNINTERRUPTIBLE);
	schedule();
}

static void a_lost_wake_up_is_a_deadlock(void **state)
{
	struct task_struct *t, *d;

	begin(&exact);
	t = scene_task("waiter", waits_for_never, NULL);
	scene_task("sleeper", sleeps_for_ever, NULL);
	d = scene_task("kidle", waits_for_never, NULL);
	ps_task_set_daemon(d, true);
	RUN_INTO_DEADLOCK(scene_run());
	/* The daemon may wait for ever, and is not in the report. */
	assert_int_equal(scene.nr_edges, 2);
	assert_ptr_equal(edge_of(t)->object, &never);
	assert_null(edge_of(t)->holder);
	assert_int_equal(edge_of(t)->lc, NR_LOCK_CLASSES);
	assert_non_null(strstr(scene.deadlock, "(waiter) waits for an event at "));
	assert_non_null(strstr(scene.deadlock, "(sleeper) waits to be woken at "));
	scene_end();
}

static void a_daemon_alone_may_wait_for_ever(void **state)
{
	begin(&exact);
	ps_task_set_daemon(scene_task("kidle", waits_for_never, NULL), true);
	scene_run();
	assert_string_equal(scene.deadlock, "");
	scene_end();
}

/* Only a ticking daemon is left to run, and the waiter's bit is nobody's. Expect the report after hung_task_ns. */
static void a_ticking_daemon_does_not_hide_a_hang(void **state)
{
	const struct ps_runtime_settings set = { .quantum_ns = 1, .hung_task_ns = 1000000 };
	struct task_struct *host;

	begin(&set);
	ps_task_set_daemon(scene_task("kticker", ticks, NULL), true);
	host = scene_task("host", NULL, NULL);
	page_a = 1;
	ps_task_enter(host);
	RUN_INTO_DEADLOCK(wait_on_bit(&page_a, 0, PAGE_LOCK));
	assert_int_equal(scene.nr_edges, 1);
	assert_null(edge_of(host)->holder);
	assert_in_range(ps_runtime_now(scene.rt), 1000000, 1010000);
	scene_end();
}

static void wakes_late(void *arg)
{
	ps_sleep_until(900000);
	complete(&never);
}

/* The same, but the daemon does come to wake the host, in time. */
static void a_slow_daemon_is_waited_for(void **state)
{
	const struct ps_runtime_settings set = { .quantum_ns = 1, .hung_task_ns = 1000000 };
	struct task_struct *host;

	begin(&set);
	ps_task_set_daemon(scene_task("kticker", ticks, NULL), true);
	ps_task_set_daemon(scene_task("kslow", wakes_late, NULL), true);
	host = scene_task("host", NULL, NULL);
	ps_task_enter(host);
	wait_for_completion(&never);
	assert_int_equal(ps_now(), 900000);
	assert_int_equal(host->time[PS_TIME_WAIT], 900000);
	ps_task_leave();
	scene_end();
}

/* A task that works for longer than hung_task_ns and then waits for a daemon is not hung. */
static void long_work_is_no_hang(void **state)
{
	const struct ps_runtime_settings set = { .quantum_ns = 1, .hung_task_ns = 1000 };
	struct task_struct *host, *d;

	begin(&set);
	d = scene_task("kslow", wakes_late, NULL);
	ps_task_set_daemon(d, true);
	host = scene_task("host", NULL, NULL);
	ps_task_enter(host);
	ps_charge(900000, PS_TIME_SYSCALL);
	wait_for_completion(&never);
	ps_task_leave();
	scene_end();
}

struct caught {
	jmp_buf back;
	char detail[2048];
};

static void catch (void *arg, const struct ps_bug *bug)
{
	struct caught *c = arg;

	snprintf(c->detail, sizeof(c->detail), "%s", bug->detail ? bug->detail : bug->expr);
	longjmp(c->back, 1);
}

static void without_a_handler_a_deadlock_is_a_bug(void **state)
{
	struct ps_runtime *rt = ps_runtime_new(NULL);
	struct caught c = { .detail = "" };

	init_completion(&never);
	assert_non_null(ps_task_new(rt, "waiter", waits_for_never, NULL));
	ps_bug_set_handler((struct ps_bug_handler){ catch, &c });
	if (!setjmp(c.back)) {
		ps_runtime_run(rt, UINT64_MAX);
		fail_msg("a deadlock returned");
	}
	assert_non_null(strstr(c.detail, "deadlock: 1 waiting\n  task 1 (waiter) waits for an event"));
	ps_bug_set_handler((struct ps_bug_handler){ NULL, NULL });
	ps_runtime_free(rt);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(two_tasks_and_two_locks),
		cmocka_unit_test(a_hosted_task_in_a_cycle_is_told_so),
		cmocka_unit_test(a_lock_of_a_hosted_task_that_left_is_no_deadlock),
		cmocka_unit_test(two_exchanges_of_the_same_pages),
		cmocka_unit_test(a_reader_in_the_cycle_is_named),
		cmocka_unit_test(a_lost_wake_up_is_a_deadlock),
		cmocka_unit_test(a_daemon_alone_may_wait_for_ever),
		cmocka_unit_test(a_ticking_daemon_does_not_hide_a_hang),
		cmocka_unit_test(a_slow_daemon_is_waited_for),
		cmocka_unit_test(long_work_is_no_hang),
		cmocka_unit_test(without_a_handler_a_deadlock_is_a_bug),
	};

	return cmocka_run_group_tests_name("deadlock", tests, NULL, NULL);
}
