/* SPDX-License-Identifier: MIT */
/*
 * Migration while others are at work, each meeting arranged by hand: who comes to a page under migration waits and goes on;
 * who may wait does.
 *
 * Fibers record; only the host asserts.
 */
#include "fixtures/scene_world.h"

#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/writeback.h>

static u64 H;

/* ---- fibers */

#define MAX_FIBERS 64

static struct task_struct *fibers[MAX_FIBERS];
static unsigned int nr_fibers;
static char complaint[200]; /* the first; "": none */

__attribute__((format(printf, 1, 2))) static void complain(const char *format, ...)
{
	va_list args;

	if (complaint[0])
		return;
	va_start(args, format);
	vsnprintf(complaint, sizeof(complaint), format, args);
	va_end(args);
}

/* A fiber in an address space (NULL: none), which it gives up at its end by leave(). */
static struct task_struct *spawn(const char *name, int cpu, struct mm_struct *mm, void (*fn)(void *arg), void *arg)
{
	struct task_struct *task = ps_task_new(scene->rt, name, fn, arg);

	if (!task || nr_fibers == MAX_FIBERS) {
		complain("no more fibers");
		return NULL;
	}
	task->machine = scene->machine;
	task->stats = scene->stats;
	task->cpu = cpu;
	task->mm = mm;
	task->mempolicy = NULL;
	if (mm)
		mmget(mm);
	fibers[nr_fibers++] = task;
	return task;
}

static void leave(void)
{
	struct mm_struct *mm = current->mm;

	current->mm = NULL;
	if (mm)
		mmput(mm);
}

/* Runs all fibers to their end, as the host; then goes on as `task`. */
static void run_fibers(struct task_struct *task)
{
	unsigned int i;

	if (ps_current)
		ps_task_leave();
	ps_runtime_run(scene->rt, U64_MAX);
	for (i = 0; i < nr_fibers; i++) {
		if (!ps_task_ended(fibers[i]))
			complain("%s has not ended", fibers[i]->comm);
		ps_task_free(fibers[i]);
	}
	nr_fibers = 0;
	if (task)
		as(task);
}

/* The first word of a page, stored or loaded in the same step as the translation, as hardware does. */
static int store_now(u64 addr, u64 word)
{
	struct ps_access access;
	int error = ps_mmu_access(addr, true, &access);

	if (!error)
		pfn_to_page(access.pfn)->contents = word;
	return error;
}

/* ---- arranged meetings */

static int open_race(const char *generation, u64 seed, u32 shuffle, unsigned int pt_bits)
{
	const struct scene_settings settings = { .machine = "two-node",
						 .pt_bits = pt_bits,
						 .node_bytes = pt_bits < 9 ? 4 << 20 : 0,
						 .min_free_kbytes = pt_bits < 9 ? 64 : 0,
						 .generation = generation,
						 .runtime = { .seed = seed, .shuffle = shuffle } };

	complaint[0] = '\0';
	nr_fibers = 0;
	if (scene_world_open(&settings))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return open_race("6.1", 1, 0, 0);
}

static int setup_batch(void **state)
{
	(void)state;
	return open_race("6.3-batch", 1, 0, 0);
}

struct meeting {
	u64 addr, word;
	struct page *page;
	struct inode *inode;
	enum migrate_mode mode;
	int left;
	ps_ns_t done_at, let_go_at, woke_at;
	bool seen_entry;
};

static struct page *give_target(struct page *page, void *arg)
{
	struct migration_target_control mtc = { .nid = 1, .gfp_mask = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE };

	(void)arg;
	return alloc_migration_target(page, &mtc);
}

static void migrate_it(void *arg)
{
	struct meeting *m = (struct meeting *)arg;
	LIST_HEAD(list);

	if (isolate_page_for_migration(m->page, &list)) {
		complain("not on a list");
		return;
	}
	m->left = migrate_pages(&list, give_target, NULL, NULL, m->mode, MR_SYSCALL, NULL);
	putback_movable_pages(&list);
	m->done_at = ps_now();
}

#define SOON 50000 /* ns */

static void lock_for_a_while(void *arg)
{
	struct meeting *m = (struct meeting *)arg;

	lock_page(m->page);
	ps_sleep_until(ps_now() + SOON);
	m->let_go_at = ps_now();
	unlock_page(m->page);
}

/* In a mode that waits: the page lock's holder is waited for, and the page moves. */
static void a_locked_page_is_waited_for(void **state)
{
	struct meeting m = { .mode = MIGRATE_SYNC_LIGHT };
	u64 r = map_filled(1, 1);

	(void)state;
	lru_add_drain_all();
	m.page = page_at(r);
	spawn("locker", 1, NULL, lock_for_a_while, &m);
	spawn("migrator", 2, NULL, migrate_it, &m);
	run_fibers(scene->task[0]);
	assert_string_equal(complaint, "");
	assert_int_equal(m.left, 0);
	assert_true(m.done_at > m.let_go_at);
	assert_int_equal(node_at(r), 1);
	expect_filled(r, 1, 1);
}

static void end_writeback_in_a_while(void *arg)
{
	struct meeting *m = (struct meeting *)arg;

	ps_sleep_until(ps_now() + SOON);
	m->let_go_at = ps_now();
	ps_file_writeback_end(m->inode);
}

static void writeback_is_waited_for_by_sync_alone(void **state)
{
	struct meeting m = { .mode = MIGRATE_SYNC };
	u64 f = map_file("/d/f", 0, 1, RW, SHARED);

	(void)state;
	store(f, 7);
	lru_add_drain_all();
	m.page = page_at(f);
	m.inode = open_file("/d/f");
	assert_int_equal(ps_file_writeback_begin(m.inode), 0);
	assert_true(PageWriteback(m.page));
	spawn("disk", 1, NULL, end_writeback_in_a_while, &m);
	spawn("migrator", 2, NULL, migrate_it, &m);
	run_fibers(scene->task[0]);
	assert_string_equal(complaint, "");
	assert_int_equal(m.left, 0);
	assert_true(m.done_at > m.let_go_at);
	assert_int_equal(load(f), 7);
	iput(m.inode);
}

static void lock_buffer_for_a_while(void *arg)
{
	struct meeting *m = (struct meeting *)arg;
	struct buffer_head *bh = page_buffers(m->page);

	lock_buffer(bh);
	ps_sleep_until(ps_now() + SOON);
	m->let_go_at = ps_now();
	unlock_buffer(bh);
}

static void a_locked_buffer_is_waited_for(void **state)
{
	struct meeting m = { .mode = MIGRATE_SYNC };
	u64 f = map_file("/d/f", 0, 1, RW, SHARED);

	(void)state;
	store(f, 7);
	lru_add_drain_all();
	m.page = page_at(f);
	spawn("locker", 1, NULL, lock_buffer_for_a_while, &m);
	spawn("migrator", 2, NULL, migrate_it, &m);
	run_fibers(scene->task[0]);
	assert_string_equal(complaint, "");
	assert_int_equal(m.left, 0);
	assert_true(m.done_at > m.let_go_at);
	assert_int_equal(load(f), 7);
}

/* Holds the page unmapped for a while, as a migrator that copies slowly does, then puts its entries back. */
static void keep_unmapped_for_a_while(void *arg)
{
	struct meeting *m = (struct meeting *)arg;

	get_page(m->page);
	lock_page(m->page);
	try_to_migrate(m->page, 0, NULL);
	if (page_mapped(m->page))
		complain("still mapped");
	ps_sleep_until(ps_now() + SOON);
	remove_migration_ptes(m->page, m->page, false);
	m->let_go_at = ps_now();
	unlock_page(m->page);
	put_page(m->page);
}

static void touch_it(void *arg)
{
	struct meeting *m = (struct meeting *)arg;

	ps_sleep_until(ps_now() + SOON / 2);
	m->seen_entry = is_pte_migration_entry(pte_at(m->addr)) || is_pmd_migration_entry(pmd_at(m->addr));
	if (store_now(m->addr, m->word))
		complain("the store failed");
	m->woke_at = ps_now();
	leave();
}

static void meet_the_entry(u64 addr)
{
	struct meeting m = { .addr = addr, .word = 4711 };
	struct task_struct *a = current;

	lru_add_drain_all();
	m.page = compound_head(page_at(addr));
	spawn("migrator", 2, NULL, keep_unmapped_for_a_while, &m);
	spawn("thread", 1, a->mm, touch_it, &m);
	run_fibers(a);
	assert_string_equal(complaint, "");
	assert_true(m.seen_entry);
	assert_true(m.woke_at >= m.let_go_at);
	assert_int_equal(faults_of(PS_FAULT_MIGRATION), 1);
	assert_int_equal(load(addr), 4711);
}

/* A fault on a migration entry sleeps until the entry is gone, takes no reference, and the store then reaches the page. */
static void a_fault_waits_for_the_migration_to_end(void **state)
{
	(void)state;
	meet_the_entry(map_filled(1, 1));
}

static void a_fault_on_a_huge_page_waits_too(void **state)
{
	(void)state;
	meet_the_entry(map_huge_filled(1, 1) + pages(3));
}

/* Two migrators of one page. Expect: it moves once or twice, never half. */
static void move_to(void *arg)
{
	const nid_t *nid = (const nid_t *)arg;
	u64 addr = 4ULL << (PAGE_SHIFT + scene->machine->pt_bits); /* the first mapping of the scene */
	struct ps_move moves[8];
	unsigned int i;

	for (i = 0; i < 8; i++)
		moves[i] = (struct ps_move){ .addr = addr + pages(i), .node = *nid, .status = PS_STATUS_UNSET };
	ps_move_pages(current->mm, moves, 8, false, true);
	leave();
}

static void two_migrators_do_not_disturb_each_other(void **state)
{
	static nid_t there = 1, here = 0;
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 40; seed++) {
		struct task_struct *a;
		u64 r, i;

		open_race(seed % 2 ? "6.1" : "6.3-batch", seed, 8000, 0);
		a = current;
		r = map_filled(8, 1);
		assert_int_equal(r, 4ULL << (PAGE_SHIFT + 9));
		spawn("one", 1, a->mm, move_to, &there);
		spawn("two", 2, a->mm, move_to, &there);
		spawn("back", 3, a->mm, move_to, &here);
		run_fibers(a);
		assert_string_equal(complaint, "");
		for (i = 0; i < 8; i++)
			assert_true(node_at(r + pages(i)) == 0 || node_at(r + pages(i)) == 1);
		expect_filled(r, 8, 1);
		scene_close();
	}
}

/*
 * A block device's page is moved again and again while others look up its buffers and use them:
 *
 *      looker                             migrator
 *      private_lock; b_count++            locks the buffers; private_lock; every b_count zero?
 *      works on bh->b_page                moves the page, and the buffers' b_page with it
 *
 * Expect: while somebody holds a buffer its page stays what it is; the page moves all the same, in between.
 */
struct device {
	struct inode *inode;
	struct page *page;
	unsigned int moved, found;
};

static void look_up_buffers(void *arg)
{
	struct device *d = (struct device *)arg;
	unsigned int i;

	for (i = 0; i < 60; i++) {
		struct buffer_head *bh = find_get_block(d->inode->i_mapping, 0, 0);
		struct page *page;

		if (!bh) {
			/* Found the page just when it moved. */
			cond_resched();
			continue;
		}
		page = bh->b_page;
		ps_charge(500, PS_TIME_ACCESS);
		cond_resched();
		if (bh->b_page != page)
			complain("a held buffer's page moved");
		put_bh(bh);
		d->found++;
		ps_charge(300, PS_TIME_ACCESS);
		cond_resched();
	}
}

static void move_again_and_again(void *arg)
{
	struct device *d = (struct device *)arg;
	unsigned int i, moved;

	for (i = 0; i < 30; i++) {
		struct page *page = find_get_page(d->inode->i_mapping, 0);
		LIST_HEAD(list);

		lru_add_drain_all();
		if (isolate_page_for_migration(page, &list)) {
			put_page(page);
			continue;
		}
		put_page(page);
		migrate_pages(&list, give_target, NULL, NULL, i % 2 ? MIGRATE_SYNC : MIGRATE_ASYNC, MR_COMPACTION,
			      &moved);
		d->moved += moved;
		putback_movable_pages(&list);
		cond_resched();
	}
}

static void a_held_buffer_stays_where_it_is(void **state)
{
	static struct address_space_operations ops;
	unsigned int moved = 0, found = 0;
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 400; seed++) {
		struct device d = { 0 };
		u64 f;

		open_race(seed % 2 ? "6.1" : "6.3-batch", seed, 1000u << (seed % 6), 0);
		f = map_file("/d/f", 0, 1, RW, SHARED);
		store(f, 7);
		lru_add_drain_all();
		d.inode = open_file("/d/f");
		ops = *d.inode->i_mapping->a_ops;
		ops.migrate_kind = MIGRATE_KIND_BUFFERS_NOREFS;
		d.inode->i_mapping->a_ops = &ops;
		spawn("one", 1, NULL, look_up_buffers, &d);
		spawn("two", 2, NULL, look_up_buffers, &d);
		spawn("migrator", 3, NULL, move_again_and_again, &d);
		run_fibers(scene->task[0]);
		assert_string_equal(complaint, "");
		assert_int_equal(load(f), 7);
		moved += d.moved;
		found += d.found;
		iput(d.inode);
		scene_close();
	}
	assert_true(moved > 4000 && found > 4000);
}

#define test_both(name)                                                      \
	cmocka_unit_test_setup_teardown(name, setup, scene_teardown),        \
	{                                                                    \
#name "_in_batches", name, setup_batch, scene_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		test_both(a_locked_page_is_waited_for),
		test_both(writeback_is_waited_for_by_sync_alone),
		test_both(a_locked_buffer_is_waited_for),
		test_both(a_fault_waits_for_the_migration_to_end),
		test_both(a_fault_on_a_huge_page_waits_too),
		cmocka_unit_test(two_migrators_do_not_disturb_each_other),
		cmocka_unit_test(a_held_buffer_stays_where_it_is),
	};

	return cmocka_run_group_tests_name("migration among others", tests, NULL, NULL);
}
