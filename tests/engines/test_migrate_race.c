/* SPDX-License-Identifier: MIT */
/*
 * Migration while others are at work. First each meeting on its own, arranged by hand: who comes to a page under migration
 * waits and goes on; who may wait does. Then all at once: threads that store and check their own pages, migrators, forks,
 * exits, splits, pins, writes to disk, under the shuffling runtime, seed by seed; at the end no word is lost, nothing is
 * broken, nothing is left.
 *
 *      test-engines-migrate_race               200 seeds
 *      test-engines-migrate_race --slow        5,000 seeds
 *      test-engines-migrate_race --seed N      one
 *
 * Fibers record; only the host asserts.
 */
#include "fixtures/scene_world.h"

#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/rng.h>
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

static int load_now(u64 addr, u64 *ret_word)
{
	struct ps_access access;
	int error = ps_mmu_access(addr, false, &access);

	if (!error)
		*ret_word = pfn_to_page(access.pfn)->contents;
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

/* ---- everything at once */

/*
 *      r   small pages      h   huge pages      t   tmpfs      d   disk      c   constant, never written again
 *      workers own the pages i with i mod WORKERS == worker
 */
#define WORKERS 3

static struct {
	u64 seed;
	u64 addr[5], n[5]; /* r, h, t, d, c */
	u64 *word[4];
	struct mm_struct *mm;
	unsigned int children;
	u64 next_word;
} field;

enum { R, HUGE, T, D, C };

struct racer {
	struct ps_rng rng;
	unsigned int worker, steps;
};

static struct racer racers[16];

/* A page of one's own, or of anybody's. */
static u64 pick_page(struct racer *me, unsigned int region, bool own)
{
	u64 i = ps_rng_below(&me->rng, field.n[region]);

	if (own) {
		i -= i % WORKERS;
		i += me->worker;
		if (i >= field.n[region])
			i -= WORKERS;
	}
	return i;
}

static void worker(void *arg)
{
	struct racer *me = (struct racer *)arg;
	unsigned int step;

	for (step = 0; step < me->steps && !complaint[0]; step++) {
		unsigned int region = (unsigned int)ps_rng_below(&me->rng, 4);
		u64 i = pick_page(me, region, true), addr = field.addr[region] + pages(i), word = 0;
		u64 *mine = &field.word[region][i];
		struct page *page;
		int error;

		switch (ps_rng_below(&me->rng, 10)) {
		case 0:
		case 1:
		case 2:
		case 3:
			word = ++field.next_word;
			error = store_now(addr, word);
			if (error)
				complain("worker %u: store to %u/%lu: %d", me->worker, region, (unsigned long)i, error);
			*mine = word;
			break;
		case 4:
			if (region <= HUGE && !do_madvise(current->mm, addr, PAGE_SIZE, PS_MADV_DONTNEED))
				*mine = 0;
			break;
		case 5:
			do_mprotect(current->mm, addr, PAGE_SIZE, RO);
			if (store_now(addr, 1) != -EFAULT)
				complain("worker %u: stored to a read-only page", me->worker);
			do_mprotect(current->mm, addr, PAGE_SIZE, RW);
			break;
		case 6:
			/* A device writes into a pinned page, whatever the kernel moves meanwhile. */
			if (get_user_pages(current->mm, addr, 1, FOLL_PIN | FOLL_WRITE, &page) != 1) {
				complain("worker %u: no pin", me->worker);
				break;
			}
			cond_resched();
			page->contents = *mine = ++field.next_word;
			put_user_page(page, FOLL_PIN, true);
			break;
		default:
			error = load_now(addr, &word);
			if (error || word != *mine)
				complain("worker %u: page %u/%lu holds %#lx, not %#lx (%d)", me->worker, region,
					 (unsigned long)i, (unsigned long)word, (unsigned long)*mine, error);
			break;
		}
		ps_charge(300, PS_TIME_ACCESS);
		cond_resched();
	}
	leave();
}

static void mover(void *arg)
{
	struct racer *me = (struct racer *)arg;
	unsigned int step;

	for (step = 0; step < me->steps / 4; step++) {
		unsigned int region = (unsigned int)ps_rng_below(&me->rng, 5), i;
		u64 first = pick_page(me, region, false),
		    n = ps_min(field.n[region] - first, 1 + ps_rng_below(&me->rng, 12));
		nid_t nid = (nid_t)ps_rng_below(&me->rng, 2);
		struct ps_move moves[12];
		nodemask_t from = nodes_of(1 - nid, NUMA_NO_NODE), to = nodes_of(nid, NUMA_NO_NODE);

		switch (ps_rng_below(&me->rng, 8)) {
		case 0:
			ps_migrate_pages(current->mm, &from, &to);
			break;
		case 1:
			ps_mbind(current->mm, field.addr[region] + pages(first), pages(n), MPOL_BIND, &to,
				 MPOL_MF_MOVE_ALL);
			break;
		case 2:
			split_huge_pages_range(
				current->mm, field.addr[HUGE], field.addr[HUGE] + pages(field.n[HUGE]),
				(unsigned int)(ps_rng_below(&me->rng, 3)
						       ? 0
						       : ps_rng_below(&me->rng, scene->machine->pt_bits)));
			break;
		case 3:
			shrink_slab(GFP_KERNEL, nid, 0);
			break;
		default:
			for (i = 0; i < n; i++)
				moves[i] = (struct ps_move){ .addr = field.addr[region] + pages(first + i),
							     .node = nid,
							     .status = PS_STATUS_UNSET };
			ps_move_pages(current->mm, moves, n, false, true);
			break;
		}
		cond_resched();
	}
	leave();
}

/* A child sees what never changes, writes it, and ends. */
static void child(void *arg)
{
	struct racer *me = (struct racer *)arg;
	u64 i, word = 0;

	(void)me;
	for (i = 0; i < field.n[C]; i++) {
		int error = load_now(field.addr[C] + pages(i), &word);

		if (error || word != word_of(9, i))
			complain("a child reads %#lx at %lu (%d)", (unsigned long)word, (unsigned long)i, error);
		if (i % 3 == 0)
			store_now(field.addr[C] + pages(i), 1);
		store_now(field.addr[R] + pages(i % field.n[R]), 2);
	}
	leave();
}

static void forker(void *arg)
{
	struct racer *me = (struct racer *)arg;
	unsigned int step;

	for (step = 0; step < me->steps / 20 && nr_fibers < MAX_FIBERS - 2; step++) {
		struct mm_struct *mm;

		if (dup_mm(current->mm, &mm)) {
			complain("fork failed");
			break;
		}
		spawn("child", (int)ps_rng_below(&me->rng, 4), mm, child, me);
		mmput(mm);
		ps_charge(3000, PS_TIME_SYSCALL);
		cond_resched();
	}
	leave();
}

/* Memory of one's own that is mapped, moved and unmapped all the time. */
static void mapper(void *arg)
{
	struct racer *me = (struct racer *)arg;
	u64 base = field.addr[C] + pages(16 * H), n = 2 * H, i, word = 0;
	unsigned int step;

	for (step = 0; step < me->steps / 10 && !complaint[0]; step++) {
		u64 seed = ++field.next_word, to = base + pages(4 * H + ps_rng_below(&me->rng, H));
		bool huge = ps_rng_below(&me->rng, 2);

		do_mmap(current->mm, base, pages(n), RW, 0, NULL, 0);
		if (huge)
			do_madvise(current->mm, base, pages(n), PS_MADV_HUGEPAGE);
		for (i = 0; i < n; i++)
			if (store_now(base + pages(i), word_of(seed, i)))
				complain("mapper: no store");
		if (do_mremap(current->mm, base, pages(n), to))
			complain("mapper: no mremap");
		for (i = 0; i < n; i++)
			if (load_now(to + pages(i), &word) || word != word_of(seed, i))
				complain("mapper: page %lu holds %#lx", (unsigned long)i, (unsigned long)word);
		do_munmap(current->mm, to, pages(n));
		cond_resched();
	}
	leave();
}

static void flusher(void *arg)
{
	struct racer *me = (struct racer *)arg;
	struct inode *d, *t;
	unsigned int step;

	if (ps_file_open(scene->machine->files, "/d/f", true, &d) ||
	    ps_file_open(scene->machine->files, "/t/f", true, &t)) {
		complain("no file");
		return;
	}
	for (step = 0; step < me->steps / 10; step++) {
		switch (ps_rng_below(&me->rng, 4)) {
		case 0:
			file_fsync(d);
			break;
		case 1:
			ps_files_drop_pagecache(scene->machine->files);
			break;
		case 2:
			file_fadvise_dontneed(d, 0, 100);
			break;
		default:
			lru_add_drain_all();
			break;
		}
		ps_charge(2000, PS_TIME_SYSCALL);
		cond_resched();
	}
	iput(d);
	iput(t);
}

static void race_deadlock(void *arg, const struct ps_deadlock *deadlock)
{
	char text[2000];

	(void)arg;
	print_error("seed %lu: deadlock\n%s\n", (unsigned long)field.seed,
		    ps_deadlock_text(deadlock, text, sizeof(text)));
	abort();
}

static void race_bug(void *arg, const struct ps_bug *bug)
{
	(void)arg;
	print_error("seed %lu: %s %s at %s:%d%s%s\n    again: test-engines-migrate_race --seed %lu\n",
		    (unsigned long)field.seed, bug->kind == PS_BUG ? "BUG" : "warning", bug->expr, bug->file, bug->line,
		    bug->detail ? ": " : "", bug->detail ? bug->detail : "", (unsigned long)field.seed);
}

static bool race(u64 seed)
{
	static void (*const fns[])(void *) = { worker, worker, worker, mover, mover, forker, mapper, flusher };
	static const char *const names[] = { "w0", "w1", "w2", "m0", "m1", "forker", "mapper", "flusher" };
	struct ps_bug_handler old = ps_bug_set_handler((struct ps_bug_handler){ race_bug, NULL });
	const struct scene_settings settings = {
		.machine = "two-node",
		.pt_bits = 2 + (unsigned int)(seed / 2 % 3),
		.node_bytes = 4 << 20,
		.min_free_kbytes = 64,
		.generation = seed % 2 ? "6.1" : "6.3-batch",
		.runtime = { .seed = seed,
			     .shuffle = seed % 5 == 0 ? 0 : 1000u << (seed % 5),
			     .on_deadlock = race_deadlock },
	};
	struct task_struct *a;
	unsigned int i, k;
	bool ok;

	complaint[0] = '\0';
	nr_fibers = 0;
	memset(&field, 0, sizeof(field));
	field.seed = seed;
	assert_int_equal(scene_world_open(&settings), 0);
	a = start("A", 0);
	H = huge_pages();
	if (seed % 3 == 0)
		scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	field.mm = a->mm;
	field.n[R] = 12;
	field.n[HUGE] = 2 * H;
	field.n[T] = H;
	field.n[D] = 8;
	field.n[C] = 8;
	field.addr[R] = map(field.n[R]);
	field.addr[HUGE] = map_huge(2);
	field.addr[T] = map_file("/t/f", 0, field.n[T], RW, SHARED);
	field.addr[D] = map_file("/d/f", 0, field.n[D], RW, SHARED);
	field.addr[C] = map_filled(field.n[C], 9);
	fill(field.addr[HUGE], field.n[HUGE], 3);
	for (i = 0; i < 4; i++) {
		field.word[i] = (u64 *)calloc(field.n[i], sizeof(u64));
		assert_non_null(field.word[i]);
		for (k = 0; i == HUGE && k < field.n[i]; k++)
			field.word[i][k] = word_of(3, k);
	}
	for (i = 0; i < ARRAY_SIZE(fns); i++) {
		racers[i].worker = i % WORKERS;
		racers[i].steps = 80;
		ps_rng_init(&racers[i].rng, seed * 100 + i);
		spawn(names[i], (int)i % 4, fns[i] == flusher ? NULL : a->mm, fns[i], &racers[i]);
	}
	run_fibers(NULL);
	as(a);
	/* What every worker has left is there. */
	for (i = 0; i < 4; i++) {
		for (k = 0; k < field.n[i] && !complaint[0]; k++) {
			u64 word = 0;

			if (load_now(field.addr[i] + pages(k), &word) || word != field.word[i][k])
				complain("at the end page %u/%u holds %#lx, not %#lx", i, k, (unsigned long)word,
					 (unsigned long)field.word[i][k]);
		}
		free(field.word[i]);
	}
	as(scene->boot);
	lru_add_drain_all();
	if (scene_check_machine(scene, false))
		complain("invariants are broken");
	ok = !complaint[0];
	if (!ok)
		print_error("seed %lu: %s\n    again: test-engines-migrate_race --seed %lu\n", (unsigned long)seed,
			    complaint, (unsigned long)seed);
	if (ok)
		scene_close();
	else
		scene_free(scene);
	ps_bug_set_handler(old);
	return ok;
}

static u64 nr_seeds = 200;

static void nothing_is_lost_whoever_races(void **state)
{
	u64 seed, bad = 0;

	(void)state;
	for (seed = 1; seed <= nr_seeds && bad < 5; seed++)
		bad += !race(seed);
	assert_int_equal(bad, 0);
}

#define test_both(name)                                                      \
	cmocka_unit_test_setup_teardown(name, setup, scene_teardown),        \
	{                                                                    \
#name "_in_batches", name, setup_batch, scene_teardown, NULL \
	}

int main(int argc, char **argv)
{
	const struct CMUnitTest tests[] = {
		test_both(a_locked_page_is_waited_for),
		test_both(writeback_is_waited_for_by_sync_alone),
		test_both(a_locked_buffer_is_waited_for),
		test_both(a_fault_waits_for_the_migration_to_end),
		test_both(a_fault_on_a_huge_page_waits_too),
		cmocka_unit_test(two_migrators_do_not_disturb_each_other),
		cmocka_unit_test(a_held_buffer_stays_where_it_is),
		cmocka_unit_test(nothing_is_lost_whoever_races),
	};

	if (argc == 3 && !strcmp(argv[1], "--seed"))
		return !race(strtoull(argv[2], NULL, 0));
	if (argc == 2 && !strcmp(argv[1], "--slow"))
		nr_seeds = 5000;
	return cmocka_run_group_tests_name("migration among others", tests, NULL, NULL);
}
