/* SPDX-License-Identifier: MIT */
/*
 * The page lock between fibers: exclusion, waiting in virtual time, PG_waiters, waiting without a reference, and what the
 * lock checker says.
 */
#include "page/scene.h"

#include <pagesim/page_lock.h>

static int setup(void **state)
{
	return scene_setup_with(state, &(struct scene_spec){ .cpus = { 4 }, .nr_nodes = 1, .pages = { 8192 } });
}

static int setup_shuffled(void **state)
{
	return scene_setup_with(
		state, &(struct scene_spec){ .cpus = { 4 }, .nr_nodes = 1, .pages = { 8192 }, .shuffle = 20000 });
}

/** One fiber of a test. Results are looked at by the main thread. */
struct fiber {
	struct page *page;
	struct page *second;
	ps_ns_t hold, start, got_at;
	int rounds;
	/** Shared between the fibers of a test. */
	int *inside, *most_inside, *done;
	char *order;
	char name;
	int cpu;
};

static struct task_struct *spawn(struct scene *s, ps_task_fn fn, struct fiber *f)
{
	struct task_struct *t = ps_task_new(s->rt, "fiber", fn, f);

	assert_non_null(t);
	t->machine = s->machine;
	t->stats = s->stats;
	t->cpu = f->cpu;
	return t;
}

/** Leave the hosted task, let the fibers run to their end, and come back. */
static void run_all(struct scene *s)
{
	ps_task_leave();
	ps_runtime_run(s->rt, UINT64_MAX);
	ps_task_enter(s->task);
}

static void hold_once(void *arg)
{
	struct fiber *f = arg;

	ps_charge(f->start, PS_TIME_ACCESS);
	cond_resched();
	lock_page(f->page);
	f->got_at = ps_now();
	ps_charge(f->hold, PS_TIME_COPY);
	ps_sleep_until(ps_now() + 1);
	unlock_page(f->page);
}

/*
 *   A: comes at 0, holds 5000 ns       B: comes at 1000
 * Expect: B gets the lock when A lets go, its wait is in its own time and in the statistics of PAGE_LOCK.
 */
static void a_waiter_loses_virtual_time(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_page(GFP_KERNEL);
	struct fiber a = { .page = page, .hold = 5000 }, b = { .page = page, .start = 1000, .hold = 10 };
	struct ps_lock_class_stats before, after;
	struct task_struct *ta, *tb;
	ps_ns_t t0 = ps_now();

	ps_lock_class_stats(s->rt, PAGE_LOCK, &before);
	ta = spawn(s, hold_once, &a);
	tb = spawn(s, hold_once, &b);
	run_all(s);
	assert_int_equal(a.got_at - t0, 0);
	assert_in_range(b.got_at - t0, 5000, 5200);
	ps_lock_class_stats(s->rt, PAGE_LOCK, &after);
	assert_int_equal(after.waits - before.waits, 1);
	assert_in_range(after.total_ns - before.total_ns, 4000, 4200);
	assert_true(tb->time[PS_TIME_WAIT] >= 4000);
	assert_false(PageLocked(page));
	assert_false(PageWaiters(page));
	ps_task_free(ta);
	ps_task_free(tb);
	put_page(page);
}

static void count_inside(void *arg)
{
	struct fiber *f = arg;
	int i;

	for (i = 0; i < f->rounds; i++) {
		get_page(f->page);
		lock_page(f->page);
		if (++*f->inside > *f->most_inside)
			*f->most_inside = *f->inside;
		ps_charge(50 + 13 * f->cpu, PS_TIME_MIGRATE);
		cond_resched();
		ps_sleep_until(ps_now() + 5);
		--*f->inside;
		unlock_page(f->page);
		put_page(f->page);
		ps_charge(30, PS_TIME_ACCESS);
		cond_resched();
	}
	++*f->done;
}

/* Four fibers take turns on a page and on a tail of a compound page, also when the scheduler interrupts everywhere. */
static void the_lock_excludes(void **state)
{
	struct scene *s = *state;
	struct page *pages[2] = { alloc_page(GFP_KERNEL), new_thp(0) };
	struct fiber f[4];
	struct task_struct *t[4];
	int i, p;

	for (p = 0; p < 2; p++) {
		int inside = 0, most = 0, done = 0;

		for (i = 0; i < 4; i++) {
			f[i] = (struct fiber){ .page = pages[p] + (p ? i * 7 : 0),
					       .rounds = 500,
					       .inside = &inside,
					       .most_inside = &most,
					       .done = &done,
					       .cpu = i };
			t[i] = spawn(s, count_inside, &f[i]);
		}
		run_all(s);
		assert_int_equal(done, 4);
		assert_int_equal(most, 1);
		assert_false(PageLocked(pages[p]));
		assert_int_equal(page_count(pages[p]), 1);
		for (i = 0; i < 4; i++)
			ps_task_free(t[i]);
	}
	put_page(pages[0]);
	put_page(pages[1]);
}

static void lock_and_say(void *arg)
{
	struct fiber *f = arg;
	size_t n;

	ps_charge(f->start, PS_TIME_ACCESS);
	cond_resched();
	lock_page(f->page);
	n = strlen(f->order);
	f->order[n] = f->name;
	unlock_page(f->page);
}

static void wait_and_say(void *arg)
{
	struct fiber *f = arg;
	size_t n;

	ps_charge(f->start, PS_TIME_ACCESS);
	cond_resched();
	wait_on_page_locked(f->page);
	n = strlen(f->order);
	f->order[n] = f->name;
}

/*
 *   held by the test; in this order come: A lock, B wait, C lock, D wait
 * Expect: unlocking gives the lock to A; what A does lets B and C go (B only waits); D comes last. PG_waiters is set
 * while anybody sleeps and clear in the end.
 */
static void waiters_are_served_in_order(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_page(GFP_KERNEL);
	char order[8] = "";
	struct fiber f[4];
	struct task_struct *t[4];
	int i;

	lock_page(page);
	assert_false(PageWaiters(page));
	for (i = 0; i < 4; i++) {
		f[i] = (struct fiber){
			.page = page, .start = 1000 * (ps_ns_t)(i + 1), .order = order, .name = (char)('A' + i)
		};
		t[i] = spawn(s, i % 2 ? wait_and_say : lock_and_say, &f[i]);
	}
	ps_sleep_until(ps_now() + 100000);
	assert_string_equal(order, "");
	assert_true(PageWaiters(page));
	unlock_page(page);
	run_all(s);
	assert_string_equal(order, "ABCD");
	assert_false(PageWaiters(page));
	for (i = 0; i < 4; i++)
		ps_task_free(t[i]);
	put_page(page);
}

/* Expect: trylock on a locked page fails without waiting, through a tail too, and unlocking an unlocked page is a bug. */
static void trylock_never_waits(void **state)
{
	struct page *thp = new_thp(0);
	ps_ns_t t0 = ps_now();

	assert_true(trylock_page(thp + 3));
	assert_true(PageLocked(thp));
	assert_false(trylock_page(thp));
	assert_int_equal(ps_now(), t0);
	unlock_page(thp + 1);
	expect_bug(unlock_page(thp));
	put_page(thp);
}

static void end_io(void *arg)
{
	struct fiber *f = arg;

	ps_charge(20000, PS_TIME_COPY);
	ps_sleep_until(ps_now() + 1);
	TestClearPageWriteback(f->page);
	page_wake_bit(f->page, PG_writeback);
}

/* Expect: waiting for writeback ends when the bit is cleared and woken, and does not take notice of the page lock. */
static void writeback_is_waited_for_apart_from_the_lock(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_page(GFP_KERNEL);
	struct fiber f = { .page = page };
	struct task_struct *t;
	ps_ns_t t0 = ps_now();

	TestSetPageWriteback(page);
	lock_page(page);
	t = spawn(s, end_io, &f);
	wait_on_page_bit(page, PG_writeback);
	assert_true(ps_now() - t0 >= 20000);
	assert_false(PageWriteback(page));
	assert_true(PageLocked(page));
	unlock_page(page);
	run_all(s);
	ps_task_free(t);
	put_page(page);
}

static void sync_and_say(void *arg)
{
	struct fiber *f = arg;

	ps_charge(f->start, PS_TIME_ACCESS);
	cond_resched();
	wait_on_page_bit(f->page, PG_writeback);
	f->order[strlen(f->order)] = f->name;
}

/*
 *   page locked and under writeback;   A waits for writeback, B for the lock
 * Expect: unlocking serves B only and leaves PG_waiters for A; the end of writeback serves A.
 */
static void who_waits_for_another_bit_is_left_alone(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_page(GFP_KERNEL);
	char order[8] = "";
	struct fiber a = { .page = page, .start = 10, .order = order, .name = 'A' };
	struct fiber b = { .page = page, .start = 20, .order = order, .name = 'B' };
	struct task_struct *ta, *tb;

	lock_page(page);
	TestSetPageWriteback(page);
	ta = spawn(s, sync_and_say, &a);
	tb = spawn(s, lock_and_say, &b);
	ps_sleep_until(ps_now() + 1000);
	unlock_page(page);
	ps_sleep_until(ps_now() + 1000);
	assert_string_equal(order, "B");
	assert_true(PageWaiters(page));
	TestClearPageWriteback(page);
	page_wake_bit(page, PG_writeback);
	run_all(s);
	assert_string_equal(order, "BA");
	assert_false(PageWaiters(page));
	ps_task_free(ta);
	ps_task_free(tb);
	put_page(page);
}

struct table {
	spinlock_t lock;
	struct page *entry;
};

static void drop_table(void *arg)
{
	struct table *table = arg;

	spin_unlock(&table->lock);
}

static struct table table;

static void fault_on_entry(void *arg)
{
	struct fiber *f = arg;

	ps_charge(f->start, PS_TIME_FAULT);
	cond_resched();
	spin_lock(&table.lock);
	if (table.entry) {
		wait_on_page_locked_noref(table.entry, drop_table, &table);
		f->got_at = ps_now();
	} else {
		spin_unlock(&table.lock);
	}
	++*f->done;
}

/*
 *   migrator (the test)                         two faults
 *   1 page locked, its entry in the table
 *                                               2 table lock; entry seen; queued; table lock dropped; asleep
 *   3 entry removed, page unlocked and freed, and allocated again, locked, by somebody else
 *                                               4 both go on, although the page is locked again
 * Expect: nobody waits for the page's second life, its count is never touched by the waiters.
 */
static void a_waiter_without_reference_does_not_look_again(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_page(GFP_KERNEL), *again;
	int done = 0;
	struct fiber f[2] = { { .start = 100, .done = &done }, { .start = 200, .done = &done } };
	struct task_struct *t[2];

	spin_lock_init(&table.lock, PTE_LOCK);
	lock_page(page);
	table.entry = page;
	t[0] = spawn(s, fault_on_entry, &f[0]);
	t[1] = spawn(s, fault_on_entry, &f[1]);
	ps_sleep_until(ps_now() + 5000);
	assert_int_equal(done, 0);
	assert_int_equal(page_count(page), 1);
	assert_true(PageWaiters(page));
	spin_lock(&table.lock);
	table.entry = NULL;
	spin_unlock(&table.lock);
	unlock_page(page);
	put_page(page);
	again = alloc_page(GFP_KERNEL);
	assert_ptr_equal(again, page);
	assert_true(trylock_page(again));
	ps_sleep_until(ps_now() + 5000);
	assert_int_equal(done, 2);
	unlock_page(again);
	run_all(s);
	ps_task_free(t[0]);
	ps_task_free(t[1]);
	put_page(again);
}

/* Expect: an entry whose page is not locked any more ends the wait at once, with the lock dropped. */
static void an_unlocked_page_is_not_waited_for(void **state)
{
	struct page *page = alloc_page(GFP_KERNEL);

	spin_lock_init(&table.lock, PTE_LOCK);
	spin_lock(&table.lock);
	wait_on_page_locked_noref(page, drop_table, &table);
	assert_false(spin_is_locked(&table.lock));
	put_page(page);
}

static struct ps_lock_report reported;
static int reports;

static void lock_report(void *arg, const struct ps_lock_report *report)
{
	reported = *report;
	reports++;
}

/* Expect: locking a page under a spinlock, or a second page without saying so, is reported with both places. */
static void rank_and_sleep_violations_are_reported(void **state)
{
	struct ps_runtime_settings settings = { .on_lock_report = lock_report };
	struct ps_runtime *rt = ps_runtime_new(&settings);
	struct task_struct *t;
	struct scene *s = *state;
	struct page *a = alloc_page(GFP_KERNEL), *b = alloc_page(GFP_KERNEL);
	spinlock_t lock;

	assert_non_null(rt);
	spin_lock_init(&lock, LRU_LOCK);
	ps_task_leave();
	t = ps_task_new(rt, "checked", NULL, NULL);
	t->machine = s->machine;
	t->stats = s->stats;
	ps_task_enter(t);

	reports = 0;
	spin_lock(&lock);
	lock_page(a);
	spin_unlock(&lock);
	assert_true(reports > 0);
	assert_int_equal(reported.lc, PAGE_LOCK);
	assert_int_equal(reported.held, LRU_LOCK);

	reports = 0;
	lock_page_nested(b);
	assert_int_equal(reports, 0);
	unlock_page(b);
	lock_page(b);
	assert_int_equal(reports, 1);
	assert_int_equal(reported.kind, PS_LOCK_OUT_OF_RANK);
	assert_non_null(strstr(reported.at->file, "test_page_lock.c"));
	unlock_page(b);
	unlock_page(a);

	/* The layer's own order is clean: everything below the page lock. */
	reports = 0;
	lock_page(a);
	lru_cache_add(a);
	lru_add_drain();
	drain_all_pages(NULL);
	unlock_page(a);
	assert_int_equal(reports, 0);

	ps_task_leave();
	ps_task_free(t);
	ps_runtime_free(rt);
	ps_task_enter(s->task);
	put_page(a);
	put_page(b);
}

/* Random allocation, LRU work and page locks by four fibers that interrupt each other at every schedule point. */
static void worker(void *arg)
{
	struct fiber *f = arg;
	struct page *mine[8] = { NULL };
	unsigned int seed = (unsigned int)f->cpu * 7919 + 1, i;

	for (i = 0; i < (unsigned int)f->rounds; i++) {
		unsigned int k;

		seed = seed * 1103515245 + 12345;
		k = seed >> 16 & 7;
		if (!mine[k]) {
			unsigned int order = seed >> 24 & 1 ? 0 : 2;

			mine[k] = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_COMP, order);
			if (mine[k]) {
				SetPageSwapBacked(mine[k]);
				lru_cache_add(mine[k]);
				page_word_write(mine[k], (u64)(uintptr_t)f);
			}
		} else if (seed >> 19 & 1) {
			if (page_word_read(mine[k]) != (u64)(uintptr_t)f)
				f->got_at++;
			put_page(mine[k]);
			mine[k] = NULL;
		} else if (seed >> 20 & 1) {
			lock_page(mine[k]);
			if (!isolate_lru_page(mine[k]))
				putback_lru_page(mine[k]);
			unlock_page(mine[k]);
		} else {
			mark_page_accessed(mine[k]);
		}
		/* Everybody meets at the shared page. */
		if (get_page_unless_zero(f->page)) {
			lock_page(f->page);
			++*f->inside;
			unlock_page(f->page);
			put_page(f->page);
		}
		if (i % 100 == 0)
			lru_add_drain_all();
		ps_charge(10, PS_TIME_ACCESS);
		cond_resched();
	}
	for (i = 0; i < 8; i++)
		if (mine[i])
			put_page(mine[i]);
	++*f->done;
}

static void the_layer_survives_interruption_at_every_step(void **state)
{
	struct scene *s = *state;
	struct page *page = alloc_page(GFP_KERNEL);
	struct fiber f[4];
	struct task_struct *t[4];
	int inside = 0, done = 0, i;

	for (i = 0; i < 4; i++) {
		f[i] = (struct fiber){ .page = page, .rounds = 3000, .inside = &inside, .done = &done, .cpu = i };
		t[i] = spawn(s, worker, &f[i]);
	}
	run_all(s);
	assert_int_equal(done, 4);
	assert_int_equal(inside, 4 * 3000);
	for (i = 0; i < 4; i++) {
		assert_int_equal(f[i].got_at, 0);
		ps_task_free(t[i]);
	}
	assert_int_equal(page_count(page), 1);
	put_page(page);
}

int main(void)
{
#define T(name)          cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
#define T_SHUFFLED(name) cmocka_unit_test_setup_teardown(name, setup_shuffled, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(a_waiter_loses_virtual_time),
		T(the_lock_excludes),
		T_SHUFFLED(the_lock_excludes),
		T(waiters_are_served_in_order),
		T(trylock_never_waits),
		T(writeback_is_waited_for_apart_from_the_lock),
		T(who_waits_for_another_bit_is_left_alone),
		T(a_waiter_without_reference_does_not_look_again),
		T(an_unlocked_page_is_not_waited_for),
		T(rank_and_sleep_violations_are_reported),
		T(the_layer_survives_interruption_at_every_step),
		T_SHUFFLED(the_layer_survives_interruption_at_every_step),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
