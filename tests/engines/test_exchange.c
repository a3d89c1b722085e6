/* SPDX-License-Identifier: MIT */
/*
 * The exchange engine: any two pages of one size change places, whatever kinds they are, and each frame is afterwards in
 * every respect what the other was; a pair that does not leaves both exactly as they were.
 */
#include "engines/subjects.h"
#include "fixtures/swap_verbs.h"

#include <pagesim/exchange.h>
#include <pagesim/shmem.h>
#include <pagesim/xarray.h>

static void open_world(void)
{
	const struct scene_settings settings = { .machine = "two-node" };

	assert_int_equal(scene_world_open(&settings), 0);
	start("A", 0);
}

static int setup(void **state)
{
	(void)state;
	open_world();
	return 0;
}

/* ---- every kind with every kind */

/* Mapped, and with slots of swap: one for each small page. */
static void put_in_swap_cache(struct subject *s)
{
	if (!total_swap_pages())
		swap_on(4 * huge_pages());
	lock_page(s->page);
	assert_true(add_to_swap(s->page));
	unlock_page(s->page);
}

static void build_in_swap_cache(struct subject *s)
{
	build_anon(s);
	put_in_swap_cache(s);
}

static void build_huge_in_swap_cache(struct subject *s)
{
	build_huge(s);
	put_in_swap_cache(s);
}

static void undo_in_swap_cache(struct subject *s)
{
	struct page *page = compound_head(page_at(s->addr));

	lock_page(page);
	assert_true(try_to_free_swap(page));
	unlock_page(page);
}

enum outcome { GOES, STAYS, WAITS /* for somebody else: not tried here */ };

static const struct state {
	const char *name;
	void (*build)(struct subject *s);
	void (*undo)(struct subject *s);
	enum outcome async, light, sync;
	int status; /* if it stays */
} states[] = {
	{ "anonymous", build_anon, undo_nothing, GOES, GOES, GOES, 0 },
	{ "shared by fork", build_shared, undo_nothing, GOES, GOES, GOES, 0 },
	{ "read-only", build_read_only, undo_nothing, GOES, GOES, GOES, 0 },
	{ "PROT_NONE", build_prot_none, undo_nothing, GOES, GOES, GOES, 0 },
	{ "mlocked", build_mlocked, undo_nothing, GOES, GOES, GOES, 0 },
	{ "huge", build_huge, undo_nothing, GOES, GOES, GOES, 0 },
	{ "huge, shared by fork", build_huge_shared, undo_nothing, GOES, GOES, GOES, 0 },
	{ "huge, mapped in pieces", build_huge_in_pieces, undo_nothing, GOES, GOES, GOES, 0 },
	{ "tmpfs", build_tmpfs, undo_nothing, GOES, GOES, GOES, 0 },
	{ "huge tmpfs", build_huge_tmpfs, undo_nothing, GOES, GOES, GOES, 0 },
	{ "disk, dirty", build_disk, undo_nothing, GOES, GOES, GOES, 0 },
	{ "disk, clean", build_disk_clean, undo_nothing, GOES, GOES, GOES, 0 },
	{ "cached, not mapped", build_unmapped_cache, undo_nothing, GOES, GOES, GOES, 0 },
	{ "in the swap cache", build_in_swap_cache, undo_in_swap_cache, GOES, GOES, GOES, 0 },
	{ "huge, in the swap cache", build_huge_in_swap_cache, undo_in_swap_cache, GOES, GOES, GOES, 0 },
	{ "held", build_held, undo_held, STAYS, STAYS, STAYS, -EAGAIN },
	{ "pinned", build_pinned, undo_held, STAYS, STAYS, STAYS, -EAGAIN },
	{ "huge, held", build_huge_held, undo_held, STAYS, STAYS, STAYS, -EAGAIN },
	{ "huge, pinned", build_huge_pinned, undo_held, STAYS, STAYS, STAYS, -EAGAIN },
	{ "tmpfs, held", build_tmpfs_held, undo_held, STAYS, STAYS, STAYS, -EAGAIN },
	{ "disk, held", build_disk_held, undo_held, STAYS, STAYS, STAYS, -EAGAIN },
	{ "locked by another", build_locked, undo_locked, STAYS, WAITS, WAITS, -EAGAIN },
	{ "under writeback", build_writeback, undo_writeback, STAYS, STAYS, WAITS, -EBUSY },
	{ "a buffer locked", build_buffer_locked, undo_buffer_locked, STAYS, WAITS, WAITS, -EAGAIN },
	{ "a buffer held", build_buffer_held, undo_buffer_held, GOES, GOES, GOES, 0 },
	{ "block device", build_block_device, undo_nothing, GOES, GOES, GOES, 0 },
	{ "block device, a buffer held", build_block_device_used, undo_block_device_used, STAYS, STAYS, STAYS,
	  -EAGAIN },
	{ "fallback, clean", build_fallback_clean, undo_nothing, GOES, GOES, GOES, 0 },
	{ "fallback, dirty", build_fallback_dirty, undo_nothing, STAYS, STAYS, GOES, -EBUSY },
	{ "fallback, dirty, cannot be written", build_fallback_unwritable, undo_nothing, STAYS, STAYS, STAYS, -EBUSY },
};

static enum outcome outcome_of(const struct state *state, int mode)
{
	return mode == MIGRATE_ASYNC ? state->async : mode == MIGRATE_SYNC_LIGHT ? state->light : state->sync;
}

/* Isolates both and exchanges them. Return: the pair's status. */
static int exchange_two(struct page *from, struct page *to, enum migrate_mode mode)
{
	struct exchange_pair pair = { .from = from, .to = to, .status = 1 };
	LIST_HEAD(isolated);
	LIST_HEAD(pairs);
	unsigned int failed;

	assert_int_equal(isolate_page_for_migration(from, &isolated), 0);
	assert_int_equal(isolate_page_for_migration(to, &isolated), 0);
	list_del(&from->lru);
	list_del(&to->lru);
	list_add(&pair.list, &pairs);
	failed = exchange_pages(&pairs, mode);
	assert_int_equal(failed, pair.status && pair.status != -ENOENT);
	lru_add_drain_all();
	return pair.status;
}

/* The frame `now` is what `before` tells of, but for the number of the frame. */
static void expect_taken_over(const char *name, const struct portrait *before, const struct subject *s,
			      struct page *now)
{
	struct subject there = *s;
	const unsigned long flags = (1UL << NR_PAGEFLAGS) - 1;
	struct portrait after;
	u64 entry = before->entry;

	there.page = now;
	after = take_portrait(&there);
	/* Written out: clean, write-protected, without buffers. */
	if (s->page->mapping && !PageAnon(now) && now->mapping->a_ops->migrate_kind == MIGRATE_KIND_FALLBACK) {
		entry &= ~(u64)(_PAGE_RW | _PAGE_DIRTY);
		after.entry &= ~(u64)(_PAGE_RW | _PAGE_DIRTY);
	} else {
		if ((after.page.flags ^ before->page.flags) & flags & ~(1UL << PG_dirty))
			fail_msg("%s: flags %#lx became %#lx", name, before->page.flags & flags,
				 after.page.flags & flags);
		if (PageDirty(&after.page) < PageDirty(&before->page))
			fail_msg("%s: no longer dirty", name);
		assert_int_equal(after.page.private_data, before->page.private_data);
		assert_int_equal(page_ref_count(&after.page), page_ref_count(&before->page));
	}
	assert_ptr_equal(after.page.mapping, before->page.mapping);
	assert_int_equal(after.page.index, before->page.index);
	assert_int_equal(atomic_read(&after.page._mapcount), atomic_read(&before->page._mapcount));
	if (memcmp(after.words, before->words, sizeof(after.words)))
		fail_msg("%s: has other contents", name);
	if ((after.entry ^ entry) & ~_PAGE_PFN_MASK)
		fail_msg("%s: entry %#lx became %#lx", name, (unsigned long)entry, (unsigned long)after.entry);
	if (s->addr)
		assert_ptr_equal(compound_head(page_at(s->addr)), now);
}

/* Was it written out, or lost its buffers, to be ready for an exchange that the other page refused? */
static bool made_ready(const struct state *state, enum migrate_mode mode)
{
	return state->build == build_fallback_clean || (mode == MIGRATE_SYNC && state->build == build_fallback_dirty);
}

static void try_pair(const struct state *ka, const struct state *kb, enum migrate_mode mode, bool same_node)
{
	struct subject a = { .seed = 11, .tmpfs = "/t/a", .disk = "/d/a" };
	struct subject b = { .seed = 22, .tmpfs = "/t/b", .disk = "/d/b" };
	struct portrait before_a, before_b;
	char name[128];
	int status, expected = 0;

	snprintf(name, sizeof(name), "%s with %s, mode %d", ka->name, kb->name, mode);
	set_policy(MPOL_BIND, 0, NUMA_NO_NODE);
	ka->build(&a);
	set_policy(MPOL_BIND, same_node ? 0 : 1, NUMA_NO_NODE);
	kb->build(&b);
	lru_add_drain_all();
	assert_int_equal(page_to_nid(a.page), 0);
	assert_int_equal(page_to_nid(b.page), same_node ? 0 : 1);
	before_a = take_portrait(&a);
	before_b = take_portrait(&b);
	if (a.pages != b.pages)
		expected = -EINVAL;
	else if (outcome_of(ka, mode) == STAYS)
		expected = ka->status;
	else if (outcome_of(kb, mode) == STAYS)
		expected = kb->status;

	status = exchange_two(a.page, b.page, mode);
	/* Of two reasons either may be told. */
	if (expected && expected != -EINVAL && outcome_of(kb, mode) == STAYS && status == kb->status)
		expected = status;
	if (status != expected)
		fail_msg("%s: status %d, expected %d", name, status, expected);
	if (status) {
		if (!made_ready(ka, mode))
			expect_portrait(name, &before_a, &a);
		if (!made_ready(kb, mode))
			expect_portrait(name, &before_b, &b);
	} else {
		expect_taken_over(name, &before_a, &a, b.page);
		expect_taken_over(name, &before_b, &b, a.page);
	}
	expect_sound_busy();
	ka->undo(&a);
	kb->undo(&b);
	expect_sound();
	if (a.addr && ka->build != build_prot_none)
		expect_filled(a.addr, ps_min(a.pages, (u64)1), 11);
	if (b.addr && kb->build != build_prot_none)
		expect_filled(b.addr, b.pages, 22);
}

static void try_all_pairs(enum migrate_mode mode, bool same_node)
{
	unsigned int i, j;

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		for (j = 0; j < ARRAY_SIZE(states); j++) {
			if (outcome_of(&states[i], mode) == WAITS || outcome_of(&states[j], mode) == WAITS)
				continue;
			open_world();
			try_pair(&states[i], &states[j], mode, same_node);
			scene_close();
		}
	}
}

static void every_pair_has_its_outcome_async(void **state)
{
	(void)state;
	try_all_pairs(MIGRATE_ASYNC, false);
}

static void every_pair_has_its_outcome_sync_light(void **state)
{
	(void)state;
	try_all_pairs(MIGRATE_SYNC_LIGHT, false);
}

static void every_pair_has_its_outcome_sync(void **state)
{
	(void)state;
	try_all_pairs(MIGRATE_SYNC, false);
}

static void pairs_of_one_node_exchange_too(void **state)
{
	(void)state;
	try_all_pairs(MIGRATE_SYNC, true);
}

/* ---- what the table does not have */

/*
 *   /d/f:  | 0 | 1 | 2 | 3 |      frames of 1 and 2 change places
 * Expect both slots of one file to be right, and the file to be written to disk as it was.
 */
static void two_pages_of_one_file_exchange(void **state)
{
	u64 f = map_file("/d/f", 0, 4, RW, SHARED);
	struct page *one, *two;
	struct inode *inode;

	(void)state;
	fill(f, 4, 5);
	lru_add_drain_all();
	one = page_at(f + pages(1));
	two = page_at(f + pages(2));
	assert_int_equal(exchange_two(one, two, MIGRATE_ASYNC), 0);
	assert_ptr_equal(page_at(f + pages(1)), two);
	assert_ptr_equal(page_at(f + pages(2)), one);
	expect_sound();
	expect_filled(f, 4, 5);
	inode = open_file("/d/f");
	assert_int_equal(file_fsync(inode), 0);
	iput(inode);
	assert_int_equal(do_munmap(current->mm, f, pages(4)), 0);
	ps_files_drop_pagecache(scene->machine->files);
	f = map_file("/d/f", 0, 4, RO, SHARED);
	expect_filled(f, 4, 5);
}

/*
 *   r (THP, pages 100..199 unmapped: on the split queue)  <->  s (THP, whole)
 * Expect the place in the queue to go with the page: splitting what is queued splits r, and s stays whole. Nor does s inherit that
 * the small pages of r that are gone were exclusive: a child shares it.
 */
static void the_place_in_the_split_queue_moves_along(void **state)
{
	u64 r = map_huge_filled(1, 1), s = map_huge_filled(1, 2), huge = huge_pages(), from = huge / 4, to = huge / 2;
	struct page *p = page_at(r), *q = page_at(s);

	(void)state;
	assert_int_equal(do_munmap(current->mm, r + pages(from), pages(to - from)), 0);
	lru_add_drain_all();
	assert_false(list_empty(page_deferred_list(p)));
	assert_int_equal(exchange_two(p, q, MIGRATE_SYNC), 0);
	assert_true(list_empty(page_deferred_list(p)));
	assert_false(list_empty(page_deferred_list(q)));
	assert_int_equal(vmstat("thp_deferred_split_page"), 1);
	expect_sound();
	assert_int_equal(shrink_slab(GFP_KERNEL, 0, 0), 1);
	assert_true(pmd_trans_huge(pmd_at(s)));
	assert_ptr_equal(page_at(s), p);
	expect_filled(r, from, 1);
	fork_task("B");
	expect_sound();
	expect_filled(s, huge, 2);
}

/* Expect a page its users have freed since it was isolated to be let go, the other to go back, and no failure counted. */
static void a_page_freed_meanwhile_is_let_go(void **state)
{
	u64 r = map_filled(1, 1), s = map_filled(1, 2);
	struct page *p, *q;
	struct exchange_pair pair;
	LIST_HEAD(isolated);
	LIST_HEAD(pairs);

	(void)state;
	lru_add_drain_all();
	p = page_at(r);
	q = page_at(s);
	assert_int_equal(isolate_page_for_migration(p, &isolated), 0);
	assert_int_equal(isolate_page_for_migration(q, &isolated), 0);
	list_del(&p->lru);
	list_del(&q->lru);
	pair = (struct exchange_pair){ .from = p, .to = q };
	list_add(&pair.list, &pairs);
	assert_int_equal(do_munmap(current->mm, r, pages(1)), 0);
	assert_int_equal(page_ref_count(p), 1);
	assert_int_equal(exchange_pages(&pairs, MIGRATE_SYNC), 0);
	assert_int_equal(pair.status, -ENOENT);
	lru_add_drain_all();
	drain_all_pages(NULL);
	assert_int_equal(page_ref_count(p), 0);
	assert_ptr_equal(page_at(s), q);
	assert_true(PageLRU(q));
	expect_sound();
	expect_filled(s, 1, 2);
}

/* ---- counters */

/* Expect what is counted by node to be counted where the pages are now; check_machine() recounts most of it at teardown. */
static void counters_follow_the_pages(void **state)
{
	static const struct {
		const char *counter;
		void (*build)(struct subject *s);
	} cases[] = {
		{ "nr_file_pages", build_disk }, { "nr_dirty", build_disk },       { "nr_mapped", build_disk },
		{ "nr_shmem", build_tmpfs },     { "nr_file_pages", build_tmpfs },
	};
	unsigned int i;

	(void)state;
	scene_close();
	for (i = 0; i < ARRAY_SIZE(cases); i++) {
		struct subject a = { .seed = 1 }, b = { .seed = 2 };
		int item;
		s64 at_0, at_1;

		open_world();
		item = ps_vmstat_find(cases[i].counter);
		assert_true(item >= 0);
		set_policy(MPOL_BIND, 0, NUMA_NO_NODE);
		cases[i].build(&a);
		set_policy(MPOL_BIND, 1, NUMA_NO_NODE);
		build_anon(&b);
		lru_add_drain_all();
		at_0 = ps_vmstat_read(scene->stats, 0, item);
		at_1 = ps_vmstat_read(scene->stats, 1, item);
		assert_int_equal(exchange_two(a.page, b.page, MIGRATE_SYNC), 0);
		if (ps_vmstat_read(scene->stats, 0, item) != at_0 - 1 ||
		    ps_vmstat_read(scene->stats, 1, item) != at_1 + 1)
			fail_msg("%s did not follow", cases[i].counter);
		assert_int_equal(vmstat("nr_isolated_anon"), 0);
		assert_int_equal(vmstat("nr_isolated_file"), 0);
		scene_close();
	}
	open_world();
}

/* ---- the system call */

/*
 *   A: r on node 0, 8 pages     B (another process): s on node 1, 8 pages
 * Expect each pair's status to be the node where the page of r is now, and every word to be where it was.
 */
static void the_call_exchanges_between_processes(void **state)
{
	struct task_struct *a = current, *b;
	struct ps_exchange x[8];
	u64 r, s, i;

	(void)state;
	set_policy(MPOL_BIND, 0, NUMA_NO_NODE);
	r = map_filled(8, 1);
	b = start("B", 1);
	set_policy(MPOL_BIND, 1, NUMA_NO_NODE);
	s = map_filled(8, 2);
	for (i = 0; i < 8; i++)
		x[i] = (struct ps_exchange){ .from = r + pages(i), .to = s + pages(i), .status = 77 };
	as(a);
	assert_int_equal(ps_exchange_pages(a->mm, b->mm, x, 8, MIGRATE_SYNC, false), 0);
	for (i = 0; i < 8; i++) {
		assert_int_equal(x[i].status, 1);
		assert_int_equal(node_at(r + pages(i)), 1);
	}
	expect_filled(r, 8, 1);
	as(b);
	assert_int_equal(node_at(s), 0);
	expect_filled(s, 8, 2);
}

/* Expect every pair that cannot be named to have its status, the others to be exchanged, and the count to be of the former. */
static void the_call_tells_of_each_pair(void **state)
{
	u64 r = map_filled(8, 1), s = map_filled(8, 2), untouched = map(1), huge = map_huge_filled(1, 3);
	struct ps_exchange x[] = {
		{ r, s, 0 },                         /* good */
		{ r, s + pages(1), 0 },              /* named before */
		{ r + pages(1), 64 * PAGE_SIZE, 0 }, /* no mapping */
		{ r + pages(2), untouched, 0 },      /* nothing there */
		{ r + pages(3), r + pages(3), 0 },   /* with itself */
		{ huge, r + pages(4), 0 },           /* sizes */
		{ r + pages(5), s + pages(5), 0 },   /* good */
	};
	const int expected[] = { 0, -EBUSY, -EFAULT, -EFAULT, -EBUSY, -EINVAL, 0 };
	unsigned int i;

	(void)state;
	assert_int_equal(ps_exchange_pages(current->mm, current->mm, x, ARRAY_SIZE(x), MIGRATE_SYNC, false), 5);
	for (i = 0; i < ARRAY_SIZE(x); i++)
		if (x[i].status != expected[i])
			fail_msg("pair %u: status %d, expected %d", i, x[i].status, expected[i]);
	expect_filled(r, 8, 1);
	expect_filled(s, 8, 2);

	fork_task("B");
	assert_int_equal(ps_exchange_pages(current->mm, current->mm, x, 1, MIGRATE_SYNC, false), 1);
	assert_int_equal(x[0].status, -EACCES);
	assert_int_equal(ps_exchange_pages(current->mm, current->mm, x, 1, MIGRATE_SYNC, true), 0);
	current->unprivileged = true;
	assert_int_equal(ps_exchange_pages(current->mm, current->mm, x, 1, MIGRATE_SYNC, true), -EPERM);
	current->unprivileged = false;
}

/* Expect two huge pages named page by page to change places once, and every line to have the status of the pair. */
static void huge_pages_named_in_parts_exchange_once(void **state)
{
	u64 r = map_huge_filled(1, 1), s = map_huge_filled(1, 2), huge = huge_pages(), i;
	struct ps_exchange *x = (struct ps_exchange *)calloc(huge, sizeof(*x));
	struct page *p = page_at(r), *q = page_at(s);

	(void)state;
	assert_non_null(x);
	for (i = 0; i < huge; i++)
		x[i] = (struct ps_exchange){ r + pages(i), s + pages(i), 77 };
	assert_int_equal(ps_exchange_pages(current->mm, current->mm, x, huge, MIGRATE_ASYNC, false), 0);
	for (i = 0; i < huge; i++)
		assert_int_equal(x[i].status, page_to_nid(q));
	assert_ptr_equal(page_at(r), q);
	assert_ptr_equal(page_at(s), p);
	expect_filled(r, huge, 1);
	expect_filled(s, huge, 2);
	free(x);
}

/* Expect -ENOMEM and nothing touched where the call's own list cannot be had. */
static void the_call_without_memory_does_nothing(void **state)
{
	u64 r = map_filled(1, 1), s = map_filled(1, 2);
	struct ps_exchange x = { r, s, 77 };
	struct page *p = page_at(r);

	(void)state;
	ps_alloc_fail_nth(1);
	assert_int_equal(ps_exchange_pages(current->mm, current->mm, &x, 1, MIGRATE_SYNC, false), -ENOMEM);
	ps_alloc_fail_nth(0);
	assert_int_equal(x.status, 77);
	assert_ptr_equal(page_at(r), p);
}

/* ---- at the same time */

#define PAGES  12
#define ROUNDS 200

/* One address space with 3 x PAGES pages of three kinds, and what the fibers saw; the host looks at it afterwards. */
static struct {
	u64 anon, tmpfs, disk;
	unsigned int exchanged, refused, moved, looked, lost, foreign;
} busy;

static u64 nth_address(u64 i)
{
	return i < PAGES       ? busy.anon + pages(i)
	       : i < 2 * PAGES ? busy.tmpfs + pages(i - PAGES)
			       : busy.disk + pages(i - 2 * PAGES);
}

static u64 nth_word(u64 i)
{
	return i < PAGES ? word_of(1, i) : i < 2 * PAGES ? word_of(2, i - PAGES) : word_of(3, i - 2 * PAGES);
}

/* arg: 0 exchanges upwards, 1 the same pairs downwards. */
static void keep_exchanging(void *arg)
{
	bool down = arg != NULL;
	struct ps_rng rng;
	unsigned int i;

	ps_rng_init(&rng, 3);
	for (i = 0; i < ROUNDS; i++) {
		u64 a = ps_rng_below(&rng, 3 * PAGES), b = ps_rng_below(&rng, 3 * PAGES);
		struct ps_exchange x = { nth_address(down ? b : a), nth_address(down ? a : b), 0 };

		if (ps_exchange_pages(current->mm, current->mm, &x, 1, MIGRATE_SYNC, true))
			busy.refused++;
		else
			busy.exchanged++;
		cond_resched();
	}
}

static void keep_moving(void *arg)
{
	unsigned int i;

	(void)arg;
	for (i = 0; i < ROUNDS; i++) {
		struct ps_move move = { .addr = nth_address(i * 7 % (3 * PAGES)), .node = (int)(i & 1) };

		if (!ps_move_pages(current->mm, &move, 1, false, true))
			busy.moved++;
		cond_resched();
	}
}

/* The word is looked at in the same step in which the CPU has the translation. */
static void keep_looking(void *arg)
{
	u64 i;

	(void)arg;
	for (i = 0; i < 20 * ROUNDS; i++) {
		u64 n = i * 5 % (3 * PAGES), word;
		struct ps_access access;

		if (ps_mmu_access(nth_address(n), i % 3 == 0, &access)) {
			busy.lost++;
			continue;
		}
		word = pfn_to_page(access.pfn)->contents;
		busy.looked++;
		busy.foreign += word != nth_word(n);
		ps_charge(200, PS_TIME_ACCESS);
		cond_resched();
	}
}

/* Reads as read(2) does: through the page cache, without the page lock. */
static void keep_reading(void *arg)
{
	struct address_space *mapping = (struct address_space *)arg;
	u64 i;

	for (i = 0; i < 5 * ROUNDS; i++) {
		struct page *page = find_get_page(mapping, i % PAGES);
		u64 word;

		if (page && PageUptodate(page)) {
			word = page_word_read(page);
			busy.looked++;
			busy.foreign += word != nth_word(2 * PAGES + i % PAGES);
		}
		if (page)
			put_page(page);
		cond_resched();
	}
}

static void spawn(const char *name, void (*fn)(void *), void *arg, int cpu)
{
	struct task_struct *task = ps_task_new(scene->rt, name, fn, arg);

	assert_non_null(task);
	task->machine = scene->machine;
	task->stats = scene->stats;
	task->cpu = cpu;
	task->mm = current->mm;
}

/*
 *   two exchange the same pairs in opposite directions ║ one migrates ║ one loads and stores ║ one reads the file's cache
 * Expect, wherever they interrupt each other: nobody waits for ever, every look finds the page's own word, nothing is lost.
 */
static void exchanging_under_everybodys_hands(void **state)
{
	unsigned int seed;

	(void)state;
	for (seed = 1; seed <= 12; seed++) {
		const struct scene_settings settings = { .machine = "two-node",
							 .runtime = { .shuffle = 9000, .seed = seed } };
		struct inode *inode;
		struct task_struct *a;

		assert_int_equal(scene_world_open(&settings), 0);
		a = start("A", 0);
		memset(&busy, 0, sizeof(busy));
		busy.anon = map_filled(PAGES, 1);
		busy.tmpfs = map_file("/t/f", 0, PAGES, RW, SHARED);
		fill(busy.tmpfs, PAGES, 2);
		busy.disk = map_file("/d/f", 0, PAGES, RW, SHARED);
		fill(busy.disk, PAGES, 3);
		inode = open_file("/d/f");
		lru_add_drain_all();
		spawn("up", keep_exchanging, NULL, 0);
		spawn("down", keep_exchanging, &busy, 1);
		spawn("mover", keep_moving, NULL, 1);
		spawn("looker", keep_looking, NULL, 0);
		spawn("reader", keep_reading, inode->i_mapping, 1);
		ps_task_leave();
		ps_runtime_run(scene->rt, UINT64_MAX);
		ps_task_enter(a);
		iput(inode);
		if (busy.foreign || busy.lost || !busy.exchanged || !busy.moved || !busy.looked)
			fail_msg("seed %u: %u exchanged, %u refused, %u moved, %u looked, %u lost, %u foreign", seed,
				 busy.exchanged, busy.refused, busy.moved, busy.looked, busy.lost, busy.foreign);
		expect_sound();
		expect_filled(busy.anon, PAGES, 1);
		expect_filled(busy.tmpfs, PAGES, 2);
		expect_filled(busy.disk, PAGES, 3);
		scene_close();
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_pair_has_its_outcome_async),
		cmocka_unit_test(every_pair_has_its_outcome_sync_light),
		cmocka_unit_test(every_pair_has_its_outcome_sync),
		cmocka_unit_test(pairs_of_one_node_exchange_too),
		cmocka_unit_test_setup_teardown(two_pages_of_one_file_exchange, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(the_place_in_the_split_queue_moves_along, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(a_page_freed_meanwhile_is_let_go, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(counters_follow_the_pages, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(the_call_exchanges_between_processes, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(the_call_tells_of_each_pair, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(huge_pages_named_in_parts_exchange_once, setup, scene_teardown),
		cmocka_unit_test_setup_teardown(the_call_without_memory_does_nothing, setup, scene_teardown),
		cmocka_unit_test(exchanging_under_everybodys_hands),
	};

	return cmocka_run_group_tests_name("exchange", tests, NULL, NULL);
}
