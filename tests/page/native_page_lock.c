/* SPDX-License-Identifier: MIT */
/*
 * The page lock, waiting for bits, and the whole layer under real threads.
 */
#include "page/scene.h"

#include <pagesim/page_lock.h>

#define THREADS 4
#define ROUNDS  5000

struct shared {
	struct page *page;
	/** Guarded by the page lock, plain: ThreadSanitizer sees every hole in the exclusion. */
	long inside, total;
	long overlapped;
};

static struct task_struct *tasks[16];
static int nr_tasks;

static void spawn(struct scene *s, ps_task_fn fn, void *arg, int cpu)
{
	struct task_struct *t = ps_task_new(s->rt, "thread", fn, arg);

	assert_non_null(t);
	t->machine = s->machine;
	t->stats = s->stats;
	t->cpu = cpu;
	tasks[nr_tasks++] = t;
}

static void run_all(struct scene *s)
{
	ps_task_leave();
	ps_runtime_run(s->rt, UINT64_MAX);
	ps_task_enter(s->task);
	while (nr_tasks)
		ps_task_free(tasks[--nr_tasks]);
}

static void locker(void *arg)
{
	struct shared *sh = arg;
	int i;

	for (i = 0; i < ROUNDS; i++) {
		if (i % 8 == 7) {
			if (!trylock_page(sh->page))
				continue;
		} else {
			lock_page(sh->page);
		}
		if (sh->inside++)
			sh->overlapped++;
		sh->total++;
		sh->inside--;
		unlock_page(sh->page);
		if (i % 16 == 0)
			wait_on_page_locked(sh->page);
	}
}

static void the_lock_excludes_threads(void **state)
{
	struct shared sh = { .page = new_thp(0) };
	struct scene *s = *state;
	int i;

	for (i = 0; i < THREADS; i++)
		spawn(s, locker, &sh, i % 2);
	run_all(s);
	assert_int_equal(sh.overlapped, 0);
	assert_in_range(sh.total, THREADS * (ROUNDS - ROUNDS / 8), THREADS * ROUNDS);
	assert_false(PageLocked(sh.page));
	/* A bit set for nobody is cleared by the next unlock. */
	lock_page(sh.page);
	unlock_page(sh.page);
	assert_false(PageWaiters(sh.page));
	put_page(sh.page);
}

/* Writeback: one thread starts and ends it, the others wait for its end; none may miss it and sleep for ever. */

static struct page *device_page;
static long written, seen;

static void device(void *arg)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		lock_page(device_page);
		TestSetPageWriteback(device_page);
		unlock_page(device_page);
		written++;
		get_page(device_page);
		TestClearPageWriteback(device_page);
		page_wake_bit(device_page, PG_writeback);
		put_page(device_page);
	}
}

static void syncer(void *arg)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		wait_on_page_bit(device_page, PG_writeback);
		__atomic_fetch_add(&seen, 1, __ATOMIC_RELAXED);
	}
}

static void nobody_misses_the_end_of_writeback(void **state)
{
	struct scene *s = *state;

	device_page = alloc_page(GFP_KERNEL);
	spawn(s, device, NULL, 0);
	spawn(s, syncer, NULL, 1);
	spawn(s, syncer, NULL, 1);
	run_all(s);
	assert_int_equal(written, ROUNDS);
	assert_int_equal(seen, 2 * ROUNDS);
	assert_false(PageWriteback(device_page));
	put_page(device_page);
}

/*
 * A migrator keeps a page locked while a table names it, then takes it out, unlocks and frees it. Faults wait for it
 * without a reference. Nobody may hang, and no page may be lost.
 */
static struct {
	spinlock_t lock;
	struct page *entry;
	bool over;
} table;

static void drop_table(void *arg)
{
	spin_unlock(&table.lock);
}

static void migrator(void *arg)
{
	int i;

	for (i = 0; i < ROUNDS; i++) {
		struct page *page = alloc_page(GFP_HIGHUSER_MOVABLE);

		lock_page(page);
		spin_lock(&table.lock);
		table.entry = page;
		spin_unlock(&table.lock);
		if (i % 4 == 0)
			cpu_relax();
		spin_lock(&table.lock);
		table.entry = NULL;
		spin_unlock(&table.lock);
		unlock_page(page);
		put_page(page);
	}
	spin_lock(&table.lock);
	table.over = true;
	spin_unlock(&table.lock);
}

static void faulter(void *arg)
{
	for (;;) {
		spin_lock(&table.lock);
		if (table.over)
			break;
		if (table.entry) {
			wait_on_page_locked_noref(table.entry, drop_table, NULL);
			__atomic_fetch_add((long *)arg, 1, __ATOMIC_RELAXED);
		} else {
			spin_unlock(&table.lock);
			cpu_relax();
		}
	}
	spin_unlock(&table.lock);
}

static void waiters_without_reference_all_wake_up(void **state)
{
	struct scene *s = *state;
	long waits = 0;

	spin_lock_init(&table.lock, PTE_LOCK);
	spawn(s, migrator, NULL, 0);
	spawn(s, faulter, &waits, 1);
	spawn(s, faulter, &waits, 1);
	run_all(s);
	print_message("%ld waits\n", waits);
}

/* Everybody allocates, lists, isolates, locks and frees; two threads to each CPU's lists. */

struct worker {
	unsigned int seed;
	struct page *common;
	long foreign;
};

static void work(void *arg)
{
	struct worker *w = arg;
	struct page *mine[8] = { NULL };
	int i, k;

	for (i = 0; i < ROUNDS; i++) {
		w->seed = w->seed * 1103515245 + 12345;
		k = (int)(w->seed >> 16 & 7);
		if (!mine[k]) {
			mine[k] = alloc_pages(GFP_HIGHUSER_MOVABLE | __GFP_COMP, w->seed >> 24 & 3 ? 0 : 2);
			if (mine[k]) {
				SetPageSwapBacked(mine[k]);
				page_word_write(mine[k], (u64)(uintptr_t)w);
				lru_cache_add(mine[k]);
			}
		} else if (w->seed >> 19 & 1) {
			w->foreign += page_word_read(mine[k]) != (u64)(uintptr_t)w;
			put_page(mine[k]);
			mine[k] = NULL;
		} else if (w->seed >> 20 & 1) {
			lock_page(mine[k]);
			if (!isolate_lru_page(mine[k]))
				putback_lru_page(mine[k]);
			unlock_page(mine[k]);
		} else {
			mark_page_accessed(mine[k]);
			mlock_page(mine[k]);
			munlock_page(mine[k]);
		}
		if (i % 64 == 0)
			lru_add_drain_all();
		if (i % 256 == 0)
			drain_all_pages(NULL);
		/* A page everybody isolates from under each other. */
		if (!isolate_lru_page(w->common))
			putback_lru_page(w->common);
	}
	for (k = 0; k < 8; k++)
		if (mine[k])
			put_page(mine[k]);
}

static void the_layer_survives_threads(void **state)
{
	struct worker workers[THREADS];
	struct scene *s = *state;
	struct page *common = new_anon_page(0);
	int i;

	lru_cache_add(common);
	for (i = 0; i < THREADS; i++) {
		workers[i] = (struct worker){ .seed = (unsigned int)i + 1, .common = common };
		spawn(s, work, &workers[i], i % 2);
	}
	run_all(s);
	for (i = 0; i < THREADS; i++)
		assert_int_equal(workers[i].foreign, 0);
	lru_add_drain_all();
	assert_int_equal(page_count(common), 1);
	assert_true(PageLRU(common));
	put_page(common);
}

static int setup(void **state)
{
	return scene_setup_with(
		state,
		&(struct scene_spec){ .nr_nodes = 2, .pages = { 4096, 4096 }, .cpus = { 2, 0 }, .shuffle = 2000 });
}

int main(void)
{
#define T(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
	const struct CMUnitTest tests[] = {
		T(the_lock_excludes_threads),
		T(nobody_misses_the_end_of_writeback),
		T(waiters_without_reference_all_wake_up),
		T(the_layer_survives_threads),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
