/* SPDX-License-Identifier: MIT */
/*
 * The checker of lock rules: every breach is reported with both places, the exempt cases are not, and a locked world at
 * rest leaves nothing held. LINE(x) stands in front of a statement and remembers where it is.
 */
#include "runtime/scene.h"

#include <pagesim/bug.h>
#include <pagesim/completion.h>
#include <pagesim/mutex.h>
#include <pagesim/rcu.h>
#include <pagesim/rwsem.h>
#include <pagesim/spinlock.h>
#include <pagesim/wait_bit.h>

#define LINE(x) x = __LINE__;

static spinlock_t lru, zone, pte, pte2;
static struct mutex mmap, mmap2;
static struct rw_semaphore anon;
static unsigned long page, page2;
static int first, second;

static int setup(void **state)
{
	struct task_struct *t;

	scene_begin(NULL);
	spin_lock_init(&lru, LRU_LOCK);
	spin_lock_init(&zone, ZONE_LOCK);
	spin_lock_init(&pte, PTE_LOCK);
	spin_lock_init(&pte2, PTE_LOCK);
	mutex_init(&mmap, MMAP_LOCK);
	mutex_init(&mmap2, MMAP_LOCK);
	init_rwsem(&anon, ANON_VMA_RWSEM);
	page = page2 = 0;
	first = second = 0;
	t = scene_task("t", NULL, NULL);
	ps_task_enter(t);
	*state = t;
	return 0;
}

static int teardown(void **state)
{
	assert_int_equal(ps_locks_held(ps_current), 0);
	ps_task_leave();
	scene_end();
	return 0;
}

/* The one report there was: of this kind, here at line `second`, because of what was taken at line `first`. */
static void assert_reported(enum ps_lock_report_kind kind, enum lock_class lc, enum lock_class held)
{
	struct ps_lock_report r = scene_take_report();

	assert_int_equal(r.kind, kind);
	assert_int_equal(r.lc, lc);
	assert_int_equal(r.held, held);
	assert_non_null(r.task);
	assert_int_equal(r.at ? r.at->line : 0, second);
	assert_int_equal(r.held_at ? r.held_at->line : 0, first);
	if (r.at)
		assert_non_null(strstr(r.at->file, "test_lock_check.c"));
}

static void a_lock_out_of_rank_is_reported_with_both_places(void **state)
{
	char text[256], expected[256];
	struct ps_lock_report r;

	LINE(first) spin_lock(&zone);
	LINE(second) spin_lock(&lru);
	r = scene.reports[0];
	assert_reported(PS_LOCK_OUT_OF_RANK, LRU_LOCK, ZONE_LOCK);
	snprintf(expected, sizeof(expected),
		 "lock taken out of rank: task 1 (t); wants LRU_LOCK at %s:%d; holds ZONE_LOCK at %s:%d", __FILE__,
		 second, __FILE__, first);
	assert_string_equal(ps_lock_report_text(&r, text, sizeof(text)), expected);
	assert_int_equal(ps_locks_held(ps_current), 2);
	spin_unlock(&lru);
	spin_unlock(&zone);
}

/* The rank of a semaphore and of a page lock counts like that of any lock. */
static void every_kind_of_lock_has_a_rank(void **state)
{
	LINE(first) down_read(&anon);
	LINE(second) wait_on_bit_lock(&page, 0, PAGE_LOCK);
	assert_reported(PS_LOCK_OUT_OF_RANK, PAGE_LOCK, ANON_VMA_RWSEM);
	bit_unlock(&page, 0, PAGE_LOCK);
	LINE(second) mutex_lock(&mmap);
	assert_reported(PS_LOCK_OUT_OF_RANK, MMAP_LOCK, ANON_VMA_RWSEM);
	mutex_unlock(&mmap);
	up_read(&anon);
	LINE(first) wait_on_bit_lock(&page, 0, PAGE_LOCK);
	LINE(second) mutex_lock(&mmap);
	assert_reported(PS_LOCK_OUT_OF_RANK, MMAP_LOCK, PAGE_LOCK);
	mutex_unlock(&mmap);
	down_write(&anon);
	spin_lock(&pte);
	assert_int_equal(scene.nr_reports, 0);
	spin_unlock(&pte);
	up_write(&anon);
	bit_unlock(&page, 0, PAGE_LOCK);
}

static void a_second_lock_of_the_class_needs_nesting(void **state)
{
	LINE(first) spin_lock(&pte);
	LINE(second) spin_lock(&pte2);
	assert_reported(PS_LOCK_OUT_OF_RANK, PTE_LOCK, PTE_LOCK);
	spin_unlock(&pte2);
	spin_lock_nested(&pte2, 1);
	assert_int_equal(scene.nr_reports, 0);
	spin_unlock(&pte2);
	spin_unlock(&pte);
	LINE(first) wait_on_bit_lock(&page, 0, PAGE_LOCK);
	LINE(second) wait_on_bit_lock(&page2, 0, PAGE_LOCK);
	assert_reported(PS_LOCK_OUT_OF_RANK, PAGE_LOCK, PAGE_LOCK);
	bit_unlock(&page2, 0, PAGE_LOCK);
	wait_on_bit_lock_nested(&page2, 0, PAGE_LOCK);
	bit_unlock(&page2, 0, PAGE_LOCK);
	bit_unlock(&page, 0, PAGE_LOCK);
	mutex_lock(&mmap);
	mutex_lock_nested(&mmap2, 1);
	mutex_unlock(&mmap);
	mutex_unlock(&mmap2);
}

/* Nesting allows the same class, not an earlier one. */
static void nesting_does_not_excuse_another_class(void **state)
{
	LINE(first) spin_lock(&zone);
	LINE(second) spin_lock_nested(&lru, 1);
	assert_reported(PS_LOCK_OUT_OF_RANK, LRU_LOCK, ZONE_LOCK);
	spin_unlock(&lru);
	spin_unlock(&zone);
}

/* Expect no report for the tries; what they took still counts for what is waited for afterwards. */
static void a_trylock_may_come_in_any_order(void **state)
{
	spin_lock(&zone);
	LINE(first) assert_true(spin_trylock(&lru));
	assert_true(bit_trylock(&page, 0, PAGE_LOCK));
	LINE(second) spin_lock(&pte);
	assert_reported(PS_LOCK_OUT_OF_RANK, PTE_LOCK, LRU_LOCK);
	spin_unlock(&pte);
	spin_unlock(&zone);
	spin_unlock(&lru);
	bit_unlock(&page, 0, PAGE_LOCK);
}

/* Released from the middle: the rest keeps its order. */
static void locks_may_be_released_in_any_order(void **state)
{
	mutex_lock(&mmap);
	LINE(first) spin_lock(&pte);
	spin_lock(&zone);
	mutex_unlock(&mmap);
	assert_int_equal(ps_locks_held(ps_current), 2);
	assert_true(ps_lock_is_held(&pte) && ps_lock_is_held(&zone) && !ps_lock_is_held(&mmap));
	spin_unlock(&zone);
	spin_lock(&lru);
	spin_unlock(&lru);
	LINE(second) mutex_lock(&mmap);
	/* Both rules are broken: out of rank, and a mutex may sleep. */
	assert_int_equal(scene.nr_reports, 2);
	assert_int_equal(scene.reports[0].kind, PS_LOCK_SLEEP_IN_SPIN);
	assert_int_equal(scene.reports[1].kind, PS_LOCK_OUT_OF_RANK);
	scene.nr_reports = 0;
	mutex_unlock(&mmap);
	spin_unlock(&pte);
}

static void a_lock_taken_twice_is_reported_before_it_hangs(void **state)
{
	struct ps_lock_report r;

	LINE(first) down_read(&anon);
	LINE(second) down_read(&anon);
	assert_reported(PS_LOCK_RECURSION, ANON_VMA_RWSEM, ANON_VMA_RWSEM);
	up_read(&anon);
	up_read(&anon);
	/* Of an exclusive one the report is followed by the deadlock that it is. */
	LINE(first) spin_lock(&lru);
	if (!setjmp(scene.after_deadlock)) {
		LINE(second) spin_lock(&lru);
		fail_msg("took a spinlock twice");
	}
	r = scene.reports[0];
	assert_int_equal(scene.nr_reports, 1);
	assert_int_equal(r.kind, PS_LOCK_RECURSION);
	assert_int_equal(r.held_at->line, first);
	assert_int_equal(r.at->line, second);
	assert_int_equal(scene.nr_edges, 1);
	assert_ptr_equal(scene.edges[0].holder, scene.edges[0].task);
	assert_int_equal(scene.edges[0].held_at->line, first);
	assert_int_equal(scene.edges[0].waits_at->line, second);
	scene.nr_reports = 0;
	scene_end();
	scene_begin(NULL);
	ps_task_enter(scene_task("t", NULL, NULL));
}

static void releasing_what_is_not_held_is_reported_and_does_nothing(void **state)
{
	LINE(second) spin_unlock(&lru);
	assert_reported(PS_LOCK_NOT_HELD, LRU_LOCK, NR_LOCK_CLASSES);
	LINE(second) mutex_unlock(&mmap);
	assert_reported(PS_LOCK_NOT_HELD, MMAP_LOCK, NR_LOCK_CLASSES);
	LINE(second) up_read(&anon);
	assert_reported(PS_LOCK_NOT_HELD, ANON_VMA_RWSEM, NR_LOCK_CLASSES);
	LINE(second) up_write(&anon);
	assert_reported(PS_LOCK_NOT_HELD, ANON_VMA_RWSEM, NR_LOCK_CLASSES);
	LINE(second) downgrade_write(&anon);
	assert_reported(PS_LOCK_NOT_HELD, ANON_VMA_RWSEM, NR_LOCK_CLASSES);
	assert_false(rwsem_is_locked(&anon) || mutex_is_locked(&mmap) || spin_is_locked(&lru));
}

static void unlocks_a_page(void *arg)
{
	bit_unlock(&page, 0, PAGE_LOCK);
}

/* The reader locks the page, the completion of the I/O unlocks it: no breach, and the reader's list forgets it. */
static void anybody_may_release_a_bit_lock(void **state)
{
	wait_on_bit_lock(&page, 0, PAGE_LOCK);
	assert_int_equal(ps_locks_held(ps_current), 1);
	ps_task_join(scene_task("io", unlocks_a_page, NULL));
	assert_int_equal(ps_locks_held(ps_current), 0);
	assert_int_equal(page, 0);
}

static struct completion event;

/* Each of these may sleep. With nothing wrong none of them does here. */
static void sleeps_somehow(int how)
{
	static struct task_struct *other;

	switch (how) {
	case 0:
		LINE(second) might_sleep();
		break;
	case 1:
		LINE(second) cond_resched();
		break;
	case 2:
		LINE(second) schedule();
		break;
	case 3:
		LINE(second) ps_sleep_until(1);
		break;
	case 4:
		complete(&event);
		LINE(second) wait_for_completion(&event);
		break;
	case 5:
		LINE(second) synchronize_rcu();
		break;
	case 6:
		LINE(second) rcu_barrier();
		break;
	case 7:
		LINE(second) wait_on_bit(&page, 0, PAGE_LOCK);
		break;
	default:
		other = scene_task("other", unlocks_a_page, NULL);
		page = 1;
		LINE(second) ps_task_join(other);
	}
}

static void sleeping_under_a_spinlock_is_reported_where_it_may_happen(void **state)
{
	int how;

	init_completion(&event);
	for (how = 0; how <= 8; how++) {
		mutex_lock(&mmap);
		LINE(first) spin_lock(&lru);
		sleeps_somehow(how);
		/* schedule() asks itself, whoever calls it; the first report is the caller's. */
		assert_true(scene.nr_reports >= 1);
		scene.nr_reports = 1;
		assert_reported(PS_LOCK_SLEEP_IN_SPIN, NR_LOCK_CLASSES, LRU_LOCK);
		spin_unlock(&lru);
		sleeps_somehow(how);
		assert_int_equal(scene.nr_reports, 0);
		mutex_unlock(&mmap);
	}
}

static void sleeping_in_a_read_section_is_reported(void **state)
{
	int how;

	init_completion(&event);
	first = 0;
	for (how = 0; how <= 8; how++) {
		if (how == 5 || how == 6)
			continue; /* waits for itself: below */
		rcu_read_lock();
		sleeps_somehow(how);
		assert_true(scene.nr_reports >= 1);
		scene.nr_reports = 1;
		assert_reported(PS_LOCK_SLEEP_IN_RCU, NR_LOCK_CLASSES, NR_LOCK_CLASSES);
		rcu_read_unlock();
	}
	rcu_read_lock();
	LINE(second) synchronize_rcu();
	assert_reported(PS_LOCK_SLEEP_IN_RCU, NR_LOCK_CLASSES, NR_LOCK_CLASSES);
	rcu_read_unlock();
}

static void read_sections_must_balance(void **state)
{
	rcu_read_lock();
	rcu_read_lock();
	assert_true(rcu_read_lock_held());
	rcu_read_unlock();
	rcu_read_unlock();
	assert_false(rcu_read_lock_held());
	first = 0;
	LINE(second) rcu_read_unlock();
	assert_reported(PS_LOCK_RCU_UNBALANCED, NR_LOCK_CLASSES, NR_LOCK_CLASSES);
	rcu_read_lock();
	ps_task_leave();
	second = 0;
	assert_reported(PS_LOCK_RCU_UNBALANCED, NR_LOCK_CLASSES, NR_LOCK_CLASSES);
	ps_task_enter(*state);
	rcu_read_unlock();
}

static void ends_holding(void *arg)
{
	LINE(first) mutex_lock(&mmap);
}

static void ends_reading(void *arg)
{
	rcu_read_lock();
}

static void a_task_may_not_end_with_a_lock(void **state)
{
	ps_task_join(scene_task("careless", ends_holding, NULL));
	assert_reported(PS_LOCK_HELD_AT_EXIT, NR_LOCK_CLASSES, MMAP_LOCK);
	first = 0;
	ps_task_join(scene_task("reader", ends_reading, NULL));
	assert_reported(PS_LOCK_RCU_UNBALANCED, NR_LOCK_CLASSES, NR_LOCK_CLASSES);
	/* And what it left open keeps nobody waiting. */
	synchronize_rcu();
}

/* A script may hold a page lock from one statement to the next, a spinlock not. */
static void a_hosted_task_may_leave_with_sleeping_locks_only(void **state)
{
	mutex_lock(&mmap);
	wait_on_bit_lock(&page, 0, PAGE_LOCK);
	ps_task_leave();
	assert_int_equal(scene.nr_reports, 0);
	ps_task_enter(*state);
	LINE(first) spin_lock(&lru);
	ps_task_leave();
	assert_reported(PS_LOCK_HELD_AT_EXIT, NR_LOCK_CLASSES, LRU_LOCK);
	ps_task_enter(*state);
	spin_unlock(&lru);
	bit_unlock(&page, 0, PAGE_LOCK);
	mutex_unlock(&mmap);
}

/* More than fits into the task itself, released from the far end. */
static void hundreds_of_locks_can_be_held(void **state)
{
	static unsigned long pages[600];
	int i;

	for (i = 0; i < 600; i++)
		wait_on_bit_lock_nested(&pages[i], 0, PAGE_LOCK);
	assert_int_equal(ps_locks_held(ps_current), 600);
	for (i = 0; i < 600; i++)
		bit_unlock(&pages[i], 0, PAGE_LOCK);
	assert_int_equal(ps_locks_held(ps_current), 0);
}

static void without_the_checker_nothing_is_reported(void **state)
{
	const struct ps_runtime_settings set = { .no_lockcheck = true };

	ps_task_leave();
	scene_end();
	scene_begin(&set);
	ps_task_enter(scene_task("t", NULL, NULL));
	spin_lock(&zone);
	spin_lock(&lru);
	might_sleep();
	cond_resched();
	assert_int_equal(ps_locks_held(ps_current), 0);
	assert_true(ps_lock_is_held(&pte)); /* an assertion that cannot know says yes */
	spin_unlock(&zone);
	spin_unlock(&lru);
}

struct caught {
	jmp_buf back;
	char detail[256];
};

static void catch (void *arg, const struct ps_bug *bug)
{
	struct caught *c = arg;

	snprintf(c->detail, sizeof(c->detail), "%s", bug->detail ? bug->detail : bug->expr);
	longjmp(c->back, 1);
}

static void without_a_handler_a_breach_is_a_bug(void **state)
{
	struct ps_runtime *rt = ps_runtime_new(NULL);
	struct caught c = { .detail = "" };

	ps_task_leave();
	ps_bug_set_handler((struct ps_bug_handler){ catch, &c });
	ps_task_enter(ps_task_new(rt, "t", NULL, NULL));
	spin_lock(&zone);
	if (!setjmp(c.back)) {
		spin_lock(&lru);
		fail_msg("a breach of lock rules returned");
	}
	assert_non_null(strstr(c.detail, "lock taken out of rank: task 1 (t); wants LRU_LOCK"));
	ps_runtime_free(rt); /* although t is still entered: its host left it by longjmp */
	assert_null(ps_current);
	ps_bug_set_handler((struct ps_bug_handler){ NULL, NULL });
	ps_task_enter(*state);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
#define T(name) cmocka_unit_test_setup_teardown(name, setup, teardown)
		T(a_lock_out_of_rank_is_reported_with_both_places),
		T(every_kind_of_lock_has_a_rank),
		T(a_second_lock_of_the_class_needs_nesting),
		T(nesting_does_not_excuse_another_class),
		T(a_trylock_may_come_in_any_order),
		T(locks_may_be_released_in_any_order),
		T(a_lock_taken_twice_is_reported_before_it_hangs),
		T(releasing_what_is_not_held_is_reported_and_does_nothing),
		T(anybody_may_release_a_bit_lock),
		T(sleeping_under_a_spinlock_is_reported_where_it_may_happen),
		T(sleeping_in_a_read_section_is_reported),
		T(read_sections_must_balance),
		T(a_task_may_not_end_with_a_lock),
		T(a_hosted_task_may_leave_with_sleeping_locks_only),
		T(hundreds_of_locks_can_be_held),
		T(without_the_checker_nothing_is_reported),
		T(without_a_handler_a_breach_is_a_bug),
#undef T
	};

	return cmocka_run_group_tests_name("lock check", tests, NULL, NULL);
}
