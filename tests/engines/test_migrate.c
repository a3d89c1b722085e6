/* SPDX-License-Identifier: MIT */
/*
 * The migrate engine: which pages move in which mode, and that a page that does not is left exactly as it was; what a moved
 * page takes along; statistics; what distinguishes the generations.
 */
#include "engines/subjects.h"

#include <pagesim/buffer_head.h>
#include <pagesim/compound.h>
#include <pagesim/gfp.h>
#include <pagesim/shmem.h>
#include <pagesim/tracepoint.h>
#include <pagesim/writeback.h>

static u64 H;

static int open_generation(const char *machine, const char *generation)
{
	const struct scene_settings settings = { .machine = machine, .generation = generation };

	if (scene_world_open(&settings))
		return -1;
	start("A", 0);
	H = huge_pages();
	return 0;
}

static int setup(void **state)
{
	(void)state;
	return open_generation("two-node", "6.1");
}

static int setup_batch(void **state)
{
	(void)state;
	return open_generation("two-node", "6.3-batch");
}

/* ---- one call */

struct call {
	nid_t to;
	unsigned int allocations; /* get_new_page was asked */
	unsigned int given_back;  /* put_new_page was */
	bool full;                /* it has nothing to give */
};

static struct page *give_target(struct page *page, void *arg)
{
	struct call *call = (struct call *)arg;
	struct migration_target_control mtc = { .nid = call->to, .gfp_mask = GFP_HIGHUSER_MOVABLE | __GFP_THISNODE };

	call->allocations++;
	return call->full ? NULL : alloc_migration_target(page, &mtc);
}

static void take_target_back(struct page *page, void *arg)
{
	((struct call *)arg)->given_back++;
	put_page(page);
}

/* Isolates the page (of which the caller needs no reference) and migrates it to node 1. Return: as migrate_pages(). */
static int migrate_one(struct page *page, enum migrate_mode mode, struct call *call)
{
	struct call local = { 0 };
	LIST_HEAD(list);
	int left;

	if (!call)
		call = &local;
	call->to = 1;
	assert_int_equal(isolate_page_for_migration(compound_head(page), &list), 0);
	left = migrate_pages(&list, give_target, take_target_back, call, mode, MR_SYSCALL, NULL);
	assert_int_equal(list_empty(&list), left == 0);
	putback_movable_pages(&list);
	lru_add_drain_all();
	return left;
}

/* What a mode does with a page. */
enum outcome { MOVES, STAYS, WAITS /* for ever: not tried here, but in test_migrate_race.c */ };

static const struct state {
	const char *name;
	void (*build)(struct subject *s);
	void (*undo)(struct subject *s);
	enum outcome async, light, sync;
	enum ps_migrate_failure why;
	bool differs_in_batches; /* in mode SYNC; has a test of its own */
} states[] = {
	{ "anonymous", build_anon, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "shared by fork", build_shared, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "read-only", build_read_only, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "PROT_NONE", build_prot_none, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "mlocked", build_mlocked, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "huge", build_huge, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "huge, shared by fork", build_huge_shared, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "huge, mapped in pieces", build_huge_in_pieces, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "tmpfs", build_tmpfs, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "huge tmpfs", build_huge_tmpfs, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "disk, dirty", build_disk, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "disk, clean", build_disk_clean, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "cached, not mapped", build_unmapped_cache, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "held", build_held, undo_held, STAYS, STAYS, STAYS, PS_FAIL_REFERENCES },
	{ "pinned", build_pinned, undo_held, STAYS, STAYS, STAYS, PS_FAIL_MAPPED },
	{ "huge, held", build_huge_held, undo_held, STAYS, STAYS, STAYS, PS_FAIL_REFERENCES },
	{ "huge, pinned", build_huge_pinned, undo_held, STAYS, STAYS, STAYS, PS_FAIL_MAPPED },
	{ "tmpfs, held", build_tmpfs_held, undo_held, STAYS, STAYS, STAYS, PS_FAIL_REFERENCES },
	{ "disk, held", build_disk_held, undo_held, STAYS, STAYS, STAYS, PS_FAIL_REFERENCES },
	{ "locked by another", build_locked, undo_locked, STAYS, WAITS, WAITS, PS_FAIL_LOCKED },
	{ "under writeback", build_writeback, undo_writeback, STAYS, STAYS, WAITS, PS_FAIL_WRITEBACK },
	{ "a buffer locked", build_buffer_locked, undo_buffer_locked, STAYS, WAITS, WAITS, PS_FAIL_BUFFERS },
	{ "a buffer held", build_buffer_held, undo_buffer_held, MOVES, MOVES, MOVES, 0 },
	{ "block device", build_block_device, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "block device, a buffer held", build_block_device_used, undo_block_device_used, STAYS, STAYS, STAYS,
	  PS_FAIL_BUFFERS },
	{ "fallback, clean", build_fallback_clean, undo_nothing, MOVES, MOVES, MOVES, 0 },
	{ "fallback, dirty", build_fallback_dirty, undo_nothing, STAYS, STAYS, MOVES, PS_FAIL_OTHER, true },
	{ "fallback, dirty, cannot be written", build_fallback_unwritable, undo_nothing, STAYS, STAYS, STAYS,
	  PS_FAIL_OTHER },
};

static void try_state(const struct state *state, enum migrate_mode mode, enum outcome outcome)
{
	const struct ps_engines *engines = scene->machine->engines;
	struct subject s = { 0 };
	struct portrait before;
	struct call call = { 0 };
	s64 succeeded, failed;
	u64 word;
	int left, k;

	state->build(&s);
	lru_add_drain_all();
	before = take_portrait(&s);
	succeeded = vmstat("pgmigrate_success");
	failed = vmstat("pgmigrate_fail");
	word = s.addr && !pte_protnone(pte_at(s.addr)) ? load(s.addr) : 0;
	left = migrate_one(s.page, mode, &call);
	if (left != (outcome == STAYS))
		fail_msg("%s: %d left in mode %d", state->name, left, mode);
	if (outcome == STAYS) {
		expect_portrait(state->name, &before, &s);
		assert_int_equal(vmstat("pgmigrate_success"), succeeded);
		assert_int_equal(vmstat("pgmigrate_fail"), failed + (s64)s.pages);
		for (k = 0; k < PS_NR_MIGRATE_FAILURES; k++)
			if (engines->failed[k] != (k == (int)state->why ? s.pages : 0))
				fail_msg("%s: %lu failed '%s'", state->name, (unsigned long)engines->failed[k],
					 ps_migrate_failure_name((enum ps_migrate_failure)k));
		assert_int_equal(call.given_back, call.allocations);
	} else {
		assert_int_equal(vmstat("pgmigrate_success"), succeeded + (s64)s.pages);
		assert_int_equal(vmstat("pgmigrate_fail"), failed);
		if (s.addr) {
			assert_ptr_not_equal(page_at(s.addr), s.page);
			assert_int_equal(node_at(s.addr), 1);
			/* The same entry, but for where it points to; read-only and clean if the page was written out. */
			if (state->build == build_fallback_dirty)
				before.entry &= ~(u64)(_PAGE_RW | _PAGE_DIRTY);
			assert_int_equal((entry_of(s.addr) ^ before.entry) & ~_PAGE_PFN_MASK, 0);
		}
		assert_int_equal(call.given_back, call.allocations - 1);
	}
	expect_sound_busy();
	state->undo(&s);
	expect_sound();
	if (s.addr && !pte_protnone(pte_at(s.addr)))
		assert_int_equal(load(s.addr), word);
}

static void try_all_states(const char *generation)
{
	const bool batch = ps_generation_find(generation)->batch;
	unsigned int i;
	int mode;

	for (i = 0; i < ARRAY_SIZE(states); i++) {
		const enum outcome outcomes[] = { states[i].async, states[i].light, states[i].sync };

		for (mode = MIGRATE_ASYNC; mode <= MIGRATE_SYNC; mode++) {
			if (outcomes[mode] == WAITS || (mode == MIGRATE_SYNC && batch && states[i].differs_in_batches))
				continue;
			open_generation("two-node", generation);
			try_state(&states[i], (enum migrate_mode)mode, outcomes[mode]);
			scene_close();
		}
	}
}

static void every_state_has_its_outcome_in_every_mode(void **state)
{
	(void)state;
	try_all_states("6.1");
}

static void every_state_has_its_outcome_in_batches_too(void **state)
{
	(void)state;
	try_all_states("6.3-batch");
}

/*
 *   1. the page is unmapped; its file cannot migrate it, so it is written out, for which its entries come back
 *   2. 6.3 tries to move the page again, six times, without unmapping it again
 * Expect: its mappings' references let every try fail. It stays, written and without buffers, and the next call moves it.
 */
static void a_page_written_out_moves_with_the_next_batch_only(void **state)
{
	struct subject s = { 0 };

	(void)state;
	build_fallback_dirty(&s);
	lru_add_drain_all();
	assert_int_equal(migrate_one(s.page, MIGRATE_SYNC, NULL), 1);
	assert_ptr_equal(page_at(s.addr), s.page);
	assert_false(PageDirty(s.page) || page_has_buffers(s.page));
	assert_false(pte_write(pte_at(s.addr)) || pte_dirty(pte_at(s.addr)));
	assert_int_equal(scene->machine->engines->failed[PS_FAIL_REFERENCES], 1);
	assert_int_equal(vmstat("pgmigrate_fail"), 1);
	expect_sound();
	assert_int_equal(migrate_one(s.page, MIGRATE_SYNC, NULL), 0);
	assert_int_equal(node_at(s.addr), 1);
	assert_int_equal(load(s.addr), word_of(1, 0));
}

/* ---- what moves along */

/* Flags of anonymous and of file pages; the old page's file bits are gone with it. */
static void flags_move_along(void **state)
{
	static const struct {
		const char *name;
		unsigned int flag;
		bool anon, file;
	} table[] = {
		{ "referenced", PG_referenced, true, true },
		{ "workingset", PG_workingset, true, true },
		{ "error", PG_error, true, true },
		{ "checked", PG_checked, false, true },
		{ "mapped to disk", PG_mappedtodisk, false, true },
		{ "readahead", PG_readahead, true, true },
	};
	struct inode *inode;
	unsigned int i, file;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		for (file = 0; file < 2; file++) {
			u64 r = file ? map_file("/d/f", 0, 1, RW, SHARED) : map(1);
			struct page *page;

			if (!(file ? table[i].file : table[i].anon))
				continue;
			store(r, 5);
			lru_add_drain_all();
			page = page_at(r);
			if (file) {
				/* Dirtying takes the mark for readahead away: nothing dirty here. */
				inode = open_file("/d/f");
				assert_int_equal(file_fsync(inode), 0);
				iput(inode);
			}
			set_bit(table[i].flag, &page->flags);
			assert_int_equal(migrate_one(page, MIGRATE_SYNC, NULL), 0);
			if (!test_bit(table[i].flag, &page_at(r)->flags))
				fail_msg("%s is lost", table[i].name);
			clear_bit(table[i].flag, &page_at(r)->flags);
			assert_int_equal(load(r), 5);
		}
	}
}

static void activity_moves_along(void **state)
{
	u64 r = map_filled(1, 1);
	struct page *page = page_at(r);

	(void)state;
	lru_add_drain_all();
	activate_page(page);
	lru_add_drain_all();
	assert_true(PageActive(page));
	assert_int_equal(migrate_one(page, MIGRATE_SYNC, NULL), 0);
	assert_true(PageActive(page_at(r)));
	assert_int_equal(vmstat("nr_active_anon"), 1);
	assert_int_equal(vmstat("nr_isolated_anon"), 0);
}

static void a_lock_on_memory_moves_along(void **state)
{
	u64 r = map_filled(2, 1);

	(void)state;
	assert_int_equal(do_mlock(current->mm, r, pages(2)), 0);
	lru_add_drain_all();
	assert_int_equal(migrate_one(page_at(r), MIGRATE_SYNC, NULL), 0);
	assert_true(PageMlocked(page_at(r)) && PageUnevictable(page_at(r)));
	assert_int_equal(vmstat("nr_mlock"), 2);
	assert_int_equal(vmstat("nr_unevictable"), 2);
	assert_int_equal(do_munlock(current->mm, r, pages(2)), 0);
	lru_add_drain_all();
	assert_int_equal(vmstat("nr_mlock"), 0);
}

/*
 *   1. a dirty huge page of tmpfs that nobody maps could not be dropped from the cache: it is PG_reclaim (= PG_readahead)
 *   2. it is migrated
 * Expect: it moves, flag and all. (Setting the flag on a huge page once was a BUG.)
 */
static void a_huge_file_page_marked_for_reclaim_moves(void **state)
{
	struct inode *inode = open_file("/t/f");
	struct subject s = { 0 };
	struct page *found;

	(void)state;
	build_huge_tmpfs(&s);
	assert_int_equal(do_munmap(current->mm, s.addr, pages(H)), 0);
	lru_add_drain_all();
	assert_true(PageDirty(s.page));
	ps_files_drop_pagecache(scene->machine->files);
	lru_add_drain_all();
	assert_true(test_bit(PG_reclaim, &s.page->flags));
	assert_int_equal(migrate_one(s.page, MIGRATE_SYNC, NULL), 0);
	found = find_get_page(inode->i_mapping, 0);
	assert_int_equal(page_to_nid(found), 1);
	assert_true(test_bit(PG_reclaim, &found->flags));
	assert_int_equal(page_word_read(found + 5), word_of(1, 5));
	put_page(found);
	iput(inode);
}

/* Who used the page last moves along; in tiering mode not between tiers, where the field of a slow page is a time. */
static void the_last_user_moves_along_but_not_between_tiers(void **state)
{
	static const struct {
		const char *machine;
		unsigned int numa_balancing;
		bool moves;
	} table[] = {
		{ "two-node", 0, true },
		{ "two-node", NUMA_BALANCING_MEMORY_TIERING, true },
		{ "dram-cxl", 0, true },
		{ "dram-cxl", NUMA_BALANCING_NORMAL, true },
		{ "dram-cxl", NUMA_BALANCING_MEMORY_TIERING, false },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		u64 r;

		open_generation(table[i].machine, "6.1");
		scene->machine->faults->numa_balancing = table[i].numa_balancing;
		r = map_filled(1, 1);
		lru_add_drain_all();
		page_cpupid_xchg_last(page_at(r), cpu_pid_to_cpupid(2, 77));
		assert_int_equal(migrate_one(page_at(r), MIGRATE_SYNC, NULL), 0);
		if (table[i].moves)
			assert_int_equal(cpupid_to_pid(page_cpupid_last(page_at(r))), 77);
		else
			assert_true(cpupid_pid_unset(page_cpupid_last(page_at(r))));
		scene_close();
	}
}

/* The file's slots, tags and counters follow; the buffers hang on the new page. */
static void a_file_page_takes_its_place_in_the_file_along(void **state)
{
	u64 f = map_file("/d/f", 0, 3, RW, SHARED), t = map_file("/t/f", 0, 1, RW, SHARED);
	struct inode *inode = open_file("/d/f");
	struct page *page, *found;

	(void)state;
	fill(f, 3, 1);
	store(t, 9);
	lru_add_drain_all();
	page = page_at(f + pages(1));
	assert_int_equal(migrate_one(page, MIGRATE_SYNC, NULL), 0);
	assert_int_equal(migrate_one(page_at(t), MIGRATE_SYNC, NULL), 0);
	found = find_get_page(inode->i_mapping, 1);
	assert_ptr_equal(found, page_at(f + pages(1)));
	put_page(found);
	assert_true(page_has_buffers(found) && PageDirty(found));
	assert_ptr_equal(page_buffers(found)->b_page, found);
	assert_int_equal(node_page_state(1, NR_FILE_PAGES), 2);
	assert_int_equal(node_page_state(1, NR_FILE_DIRTY), 1);
	assert_int_equal(node_page_state(1, NR_SHMEM), 1);
	assert_int_equal(node_page_state(0, NR_FILE_DIRTY), 2);
	assert_int_equal(file_fsync(inode), 0);
	assert_int_equal(vmstat("nr_dirty"), 0);
	expect_filled(f, 3, 1);
	iput(inode);
}

/* Every kind of contents; a huge page's every byte. */
static void contents_move_whatever_they_are(void **state)
{
	static const enum ps_contents modes[] = { PS_CONTENTS_NONE, PS_CONTENTS_TAG, PS_CONTENTS_BYTES };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(modes); i++) {
		const struct scene_settings settings = { .machine = "two-node",
							 .contents = modes[i],
							 .no_contents = modes[i] == PS_CONTENTS_NONE };
		u64 r, h, k;

		scene_world_open(&settings);
		start("A", 0);
		H = huge_pages();
		r = map(1);
		store(r, 5);
		h = map_huge(1);
		for (k = 0; k < H; k++)
			store(h + pages(k), word_of(7, k));
		if (modes[i] == PS_CONTENTS_BYTES)
			memset((char *)page_address(page_at(h + pages(9))) + 8, 0x5a, PAGE_SIZE - 8);
		lru_add_drain_all();
		assert_int_equal(migrate_one(page_at(r), MIGRATE_ASYNC, NULL), 0);
		assert_int_equal(migrate_one(page_at(h), MIGRATE_ASYNC, NULL), 0);
		if (modes[i] != PS_CONTENTS_NONE) {
			assert_int_equal(load(r), 5);
			expect_filled(h, H, 7);
		}
		if (modes[i] == PS_CONTENTS_BYTES) {
			const char *bytes = (const char *)page_address(page_at(h + pages(9)));

			for (k = 8; k < PAGE_SIZE; k++)
				assert_int_equal(bytes[k], 0x5a);
		}
		assert_int_equal(scene->machine->engines->moved_bytes, pages(1 + H));
		scene_close();
	}
}

/* ---- lists */

/* Isolation counts, once per page, by kind; putting back uncounts. What is isolated cannot be isolated again. */
static void isolated_pages_are_counted(void **state)
{
	u64 r = map_filled(1, 1), h, f;
	struct page *page = page_at(r);
	LIST_HEAD(list);

	(void)state;
	assert_int_equal(isolate_page_for_migration(page, &list), -EBUSY); /* still in a batch */
	h = map_huge_filled(1, 1);
	f = map_file("/d/f", 0, 1, RW, SHARED);
	store(f, 1);
	lru_add_drain_all();
	assert_int_equal(isolate_page_for_migration(page, &list), 0);
	assert_int_equal(isolate_page_for_migration(page, &list), -EBUSY);
	assert_int_equal(isolate_page_for_migration(page_at(h), &list), 0);
	assert_int_equal(isolate_page_for_migration(page_at(f), &list), 0);
	assert_int_equal(vmstat("nr_isolated_anon"), 1 + (s64)H);
	assert_int_equal(vmstat("nr_isolated_file"), 1);
	assert_int_equal(page_ref_count(page), 2);
	assert_false(PageLRU(page));
	putback_movable_pages(&list);
	lru_add_drain_all();
	assert_true(list_empty(&list) && PageLRU(page));
	assert_int_equal(vmstat("nr_isolated_anon") + vmstat("nr_isolated_file"), 0);
	assert_int_equal(page_ref_count(page), 1);
}

/* The owner unmapped it while it was isolated: freed without a target being asked for, and that is a success. */
static void a_page_freed_meanwhile_needs_no_target(void **state)
{
	u64 r = map_filled(1, 1);
	struct call call = { .to = 1 };
	LIST_HEAD(list);
	unsigned int moved;

	(void)state;
	lru_add_drain_all();
	assert_int_equal(isolate_page_for_migration(page_at(r), &list), 0);
	assert_int_equal(do_munmap(current->mm, r, pages(1)), 0);
	assert_int_equal(migrate_pages(&list, give_target, take_target_back, &call, MIGRATE_ASYNC, MR_SYSCALL, &moved),
			 0);
	assert_true(list_empty(&list));
	assert_int_equal(call.allocations, 0);
	assert_int_equal(moved, 1);
	assert_int_equal(scene->machine->engines->moved_bytes, 0);
}

/*
 * Some of a list move, some do not. Expect: the list returned has exactly those that did not, in a condition to be put back;
 * both counts are right.
 */
static void what_stays_is_on_the_list(void **state)
{
	u64 r = map_filled(8, 1), i;
	struct call call = { .to = 1 };
	struct page *held[2], *page;
	unsigned int moved, n = 0;
	LIST_HEAD(list);

	(void)state;
	lru_add_drain_all();
	held[0] = grab(r + pages(2), FOLL_GET);
	held[1] = grab(r + pages(5), FOLL_PIN | FOLL_WRITE);
	for (i = 0; i < 8; i++)
		assert_int_equal(isolate_page_for_migration(page_at(r + pages(i)), &list), 0);
	assert_int_equal(migrate_pages(&list, give_target, NULL, &call, MIGRATE_SYNC, MR_SYSCALL, &moved), 2);
	assert_int_equal(moved, 6);
	list_for_each_entry(page, &list, lru) {
		assert_true(page == held[0] || page == held[1]);
		n++;
	}
	assert_int_equal(n, 2);
	assert_int_equal(vmstat("nr_isolated_anon"), 2);
	putback_movable_pages(&list);
	for (i = 0; i < 8; i++)
		assert_int_equal(node_at(r + pages(i)), i != 2 && i != 5);
	expect_filled(r, 8, 1);
	drop(held[0], FOLL_GET);
	drop(held[1], FOLL_PIN);
}

static void an_empty_list_is_nothing_to_do(void **state)
{
	struct call call = { .to = 1 };
	LIST_HEAD(list);

	(void)state;
	assert_int_equal(migrate_pages(&list, give_target, NULL, &call, MIGRATE_SYNC, MR_SYSCALL, NULL), 0);
	assert_int_equal(call.allocations, 0);
}

/* ---- passes */

/*
 * A held page is tried again and again. 6.1: ten passes, each with a target of its own. 6.3 unmaps it once and tries to move
 * it ten times to one target; in a mode that waits three times so, then seven times alone to another one.
 */
static void a_page_is_tried_as_often_as_its_generation_says(void **state)
{
	static const struct {
		const char *generation;
		enum migrate_mode mode;
		unsigned int allocations;
	} table[] = {
		{ "6.1", MIGRATE_ASYNC, 10 },
		{ "6.1", MIGRATE_SYNC, 10 },
		{ "6.3-batch", MIGRATE_ASYNC, 1 },
		{ "6.3-batch", MIGRATE_SYNC, 1 + 1 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct subject s = { 0 };
		struct call call = { 0 };

		open_generation("two-node", table[i].generation);
		build_held(&s);
		lru_add_drain_all();
		assert_int_equal(migrate_one(s.page, table[i].mode, &call), 1);
		if (call.allocations != table[i].allocations)
			fail_msg("%s mode %d: %u", table[i].generation, table[i].mode, call.allocations);
		assert_int_equal(call.given_back, call.allocations);
		undo_held(&s);
		scene_close();
	}
}

/* ---- shootdowns */

/*
 * 512 pages that another CPU has in its TLB. Expect: 6.1 interrupts it for every page, 6.3 once for all.
 */
static void batches_flush_once(void **state)
{
	static const struct {
		const char *generation;
		s64 shootdowns;
	} table[] = { { "6.1", 512 }, { "6.3-batch", 1 } };
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct task_struct *a, *t;
		struct call call = { .to = 1 };
		LIST_HEAD(list);
		s64 before;
		u64 r, k;

		open_generation("two-node", table[i].generation);
		a = current;
		t = thread("T", 3);
		r = map_filled(512, 1);
		as(t);
		expect_filled(r, 512, 1);
		as(a);
		lru_add_drain_all();
		for (k = 0; k < 512; k++)
			assert_int_equal(isolate_page_for_migration(page_at(r + pages(k)), &list), 0);
		before = vmstat("nr_tlb_remote_flush");
		assert_int_equal(migrate_pages(&list, give_target, NULL, &call, MIGRATE_SYNC, MR_SYSCALL, NULL), 0);
		assert_int_equal(vmstat("nr_tlb_remote_flush") - before, table[i].shootdowns);
		assert_int_equal(call.allocations, 512);
		as(t);
		expect_filled(r, 512, 1);
		as(a);
		scene_close();
	}
}

/* More than a batch: 600 pages are two. */
static void a_long_list_is_cut_into_batches(void **state)
{
	struct task_struct *a = current, *t = thread("T", 3);
	u64 r = map_filled(600, 1), k;
	struct call call = { .to = 1 };
	LIST_HEAD(list);
	s64 before;

	(void)state;
	as(t);
	expect_filled(r, 600, 1);
	as(a);
	lru_add_drain_all();
	for (k = 0; k < 600; k++)
		assert_int_equal(isolate_page_for_migration(page_at(r + pages(k)), &list), 0);
	before = vmstat("nr_tlb_remote_flush");
	assert_int_equal(migrate_pages(&list, give_target, NULL, &call, MIGRATE_ASYNC, MR_SYSCALL, NULL), 0);
	assert_int_equal(vmstat("nr_tlb_remote_flush") - before, 2);
	expect_filled(r, 600, 1);
}

/* Working through a list takes no host memory, so it cannot fail for want of it. */
static void migration_allocates_nothing_of_the_host(void **state)
{
	u64 r = map_filled(4, 1), k;
	struct call call = { .to = 1 };
	LIST_HEAD(list);

	(void)state;
	lru_add_drain_all();
	for (k = 0; k < 4; k++)
		assert_int_equal(isolate_page_for_migration(page_at(r + pages(k)), &list), 0);
	ps_alloc_fail_nth(1);
	assert_int_equal(migrate_pages(&list, give_target, NULL, &call, MIGRATE_SYNC, MR_SYSCALL, NULL), 0);
	assert_true(ps_alloc_fail_nth(0));
	expect_filled(r, 4, 1);
	assert_int_equal(node_at(r), 1);
}

/* ---- huge pages and full nodes */

struct thp_counts {
	s64 success, fail, split, pages, failed;
};

static struct thp_counts thp_counts(void)
{
	return (struct thp_counts){ vmstat("thp_migration_success"), vmstat("thp_migration_fail"),
				    vmstat("thp_migration_split"), vmstat("pgmigrate_success"),
				    vmstat("pgmigrate_fail") };
}

static void expect_thp(s64 success, s64 fail, s64 split, s64 n, s64 failed)
{
	struct thp_counts c = thp_counts();

	assert_int_equal(c.success, success);
	assert_int_equal(c.fail, fail);
	assert_int_equal(c.split, split);
	assert_int_equal(c.pages, n);
	assert_int_equal(c.failed, failed);
}

static void a_huge_page_moves_whole(void **state)
{
	u64 h = map_huge_filled(1, 1);

	(void)state;
	assert_int_equal(migrate_one(page_at(h), MIGRATE_SYNC, NULL), 0);
	assert_true(pmd_trans_huge(pmd_at(h)));
	expect_thp(1, 0, 0, (s64)H, 0);
	expect_filled(h, H, 1);
}

static struct page *no_huge_target(struct page *page, void *arg)
{
	return PageTransHuge(page) ? NULL : give_target(page, arg);
}

static struct page *some_small_targets(struct page *page, void *arg)
{
	struct call *call = (struct call *)arg;

	return PageTransHuge(page) || call->allocations >= 100 ? NULL : give_target(page, arg);
}

static int migrate_with(new_page_t get, struct page *page, enum migrate_reason reason)
{
	struct call call = { .to = 1 };
	LIST_HEAD(list);
	int left;

	lru_add_drain_all();
	assert_int_equal(isolate_page_for_migration(page, &list), 0);
	left = migrate_pages(&list, get, NULL, &call, MIGRATE_SYNC, reason, NULL);
	putback_movable_pages(&list);
	lru_add_drain_all();
	return left;
}

/* No huge page is free on the target, small ones are. Expect: split, all moved, 0 left; counted as failed and as split. */
static void a_huge_page_without_a_target_moves_in_pieces(void **state)
{
	u64 h = map_huge_filled(1, 1), i;

	(void)state;
	assert_int_equal(migrate_with(no_huge_target, page_at(h), MR_SYSCALL), 0);
	assert_true(pmd_table(pmd_at(h)));
	expect_thp(0, 1, 1, (s64)H, 0);
	assert_int_equal(vmstat("thp_split_page"), 1);
	for (i = 0; i < H; i++)
		assert_int_equal(node_at(h + pages(i)), 1);
	expect_filled(h, H, 1);
}

/*
 * 100 small pages, then nothing. Expect: 100 moved, the others put back on their own node, small by now. That memory ran out
 * is what 6.1 returns; 6.3 does not look at what became of the pieces: one huge page has failed.
 */
static void pieces_that_find_no_room_stay(void **state)
{
	const bool batch = scene->machine->engines->recipe->batch;
	u64 h = map_huge_filled(1, 1), i, moved = 0;

	(void)state;
	assert_int_equal(migrate_with(some_small_targets, page_at(h), MR_SYSCALL), batch ? 1 : -ENOMEM);
	for (i = 0; i < H; i++)
		moved += node_at(h + pages(i)) == 1;
	assert_int_equal(moved, 100);
	expect_filled(h, H, 1);
	assert_int_equal(vmstat("pgmigrate_success"), 100);
	assert_int_equal(vmstat("nr_isolated_anon"), 0);
	expect_sound();
}

/* A hint fault would rather leave the page than break it. */
static void a_misplaced_huge_page_is_not_split(void **state)
{
	u64 h = map_huge_filled(1, 1);

	(void)state;
	assert_int_equal(migrate_with(no_huge_target, page_at(h), MR_NUMA_MISPLACED), -ENOMEM);
	assert_true(pmd_trans_huge(pmd_at(h)));
	expect_thp(0, 1, 0, 0, (s64)H);
	assert_int_equal(node_at(h), 0);
}

/* A huge page somebody holds cannot be split either: -ENOMEM, whole. */
static void a_held_huge_page_without_a_target_stays_whole(void **state)
{
	u64 h = map_huge_filled(1, 1);
	struct page *held = grab(h + pages(3), FOLL_GET);

	(void)state;
	assert_int_equal(migrate_with(no_huge_target, page_at(h), MR_SYSCALL), -ENOMEM);
	assert_true(pmd_trans_huge(pmd_at(h)));
	assert_int_equal(vmstat("thp_split_page_failed"), 1);
	expect_thp(0, 1, 0, 0, (s64)H);
	drop(held, FOLL_GET);
}

/* Nothing free at all: the first page ends the call, the rest are not tried and not counted. */
static void a_full_node_ends_the_call(void **state)
{
	u64 r = map_filled(5, 1), i;
	struct call call = { .to = 1, .full = true };
	LIST_HEAD(list);

	(void)state;
	lru_add_drain_all();
	for (i = 0; i < 5; i++)
		assert_int_equal(isolate_page_for_migration(page_at(r + pages(i)), &list), 0);
	assert_int_equal(migrate_pages(&list, give_target, NULL, &call, MIGRATE_SYNC, MR_SYSCALL, NULL), -ENOMEM);
	assert_int_equal(call.allocations, 1);
	assert_int_equal(vmstat("pgmigrate_fail"), 1);
	assert_int_equal(scene->machine->engines->failed[PS_FAIL_NO_MEMORY], 1);
	putback_movable_pages(&list);
	expect_filled(r, 5, 1);
}

/* In a batch what was unmapped before memory ended still moves. */
static struct page *three_targets(struct page *page, void *arg)
{
	struct call *call = (struct call *)arg;

	return call->allocations >= 3 ? NULL : give_target(page, arg);
}

static void a_batch_moves_what_it_has_when_memory_ends(void **state)
{
	u64 r = map_filled(5, 1), i, moved = 0;
	struct call call = { .to = 1 };
	unsigned int count;
	LIST_HEAD(list);

	(void)state;
	lru_add_drain_all();
	for (i = 0; i < 5; i++)
		assert_int_equal(isolate_page_for_migration(page_at(r + pages(i)), &list), 0);
	assert_int_equal(migrate_pages(&list, three_targets, NULL, &call, MIGRATE_SYNC, MR_SYSCALL, &count), -ENOMEM);
	putback_movable_pages(&list);
	for (i = 0; i < 5; i++)
		moved += node_at(r + pages(i)) == 1;
	assert_int_equal(moved, 3);
	assert_int_equal(count, 3);
	expect_filled(r, 5, 1);
}

/* ---- why pages failed */

/*
 * Several pages of one call, each with its own fate. `refuse` is asked for every target: it may change the state of a page in
 * the middle of the call, or give no target.
 */
struct failing {
	struct call call; /* first: give_target looks at it */
	struct page *page, *locked;
	struct task_struct *locker;
	unsigned int held_pieces;
};

static struct page *unlock_and_hold_at_the_fourth_try(struct page *page, void *arg)
{
	struct failing *f = (struct failing *)arg;
	struct task_struct *a = current;

	if (page == f->locked && f->call.allocations == 3) {
		as(f->locker);
		unlock_page(page);
		as(a);
		get_page(page);
		f->locked = NULL;
	}
	return give_target(page, arg);
}

static struct page *unlock_at_the_fourth_try(struct page *page, void *arg)
{
	struct failing *f = (struct failing *)arg;
	struct task_struct *a = current;

	if (page == f->locked && f->call.allocations == 3) {
		as(f->locker);
		unlock_page(page);
		as(a);
		f->locked = NULL;
	}
	return give_target(page, arg);
}

/* No huge target; a reference to three of the pieces. */
static struct page *hold_three_pieces(struct page *page, void *arg)
{
	struct failing *f = (struct failing *)arg;
	u64 i = (u64)(page - f->page);

	if (PageTransHuge(page))
		return NULL;
	if (i == 3 || i == 5 || i == 7) {
		get_page(page);
		f->held_pieces++;
	}
	return give_target(page, arg);
}

/* A target for the page that is held, none for any other. */
static struct page *only_for_the_first(struct page *page, void *arg)
{
	struct failing *f = (struct failing *)arg;

	return page == f->page ? give_target(page, arg) : NULL;
}

enum member { ANON = 1, HELD, PINNED, LOCKED, WRITEBACK, BUFFER_LOCKED, HUGE, HUGE_HELD, HUGE_PINNED };

static void (*const member_build[])(struct subject *) = {
	[ANON] = build_anon,     [HELD] = build_held,           [PINNED] = build_pinned,
	[LOCKED] = build_locked, [WRITEBACK] = build_writeback, [BUFFER_LOCKED] = build_buffer_locked,
	[HUGE] = build_huge,     [HUGE_HELD] = build_huge_held, [HUGE_PINNED] = build_huge_pinned,
};

static void (*const member_undo[])(struct subject *) = {
	[ANON] = undo_nothing,  [HELD] = undo_held,           [PINNED] = undo_held,
	[LOCKED] = undo_locked, [WRITEBACK] = undo_writeback, [BUFFER_LOCKED] = undo_buffer_locked,
	[HUGE] = undo_nothing,  [HUGE_HELD] = undo_held,      [HUGE_PINNED] = undo_held,
};

/* Expected base pages; HP is replaced by the size of a huge page. */
#define HP (-1)

static const struct failing_case {
	const char *name;
	enum member member[6];
	enum migrate_mode mode;
	enum migrate_reason reason;
	new_page_t get;
	int moved;
	int failed[PS_NR_MIGRATE_FAILURES];
	int thp_failed, thp_split;
} failing_cases[] = {
	{ .name = "each for its own reason",
	  .member = { ANON, HELD, PINNED, LOCKED, WRITEBACK },
	  .moved = 1,
	  .failed = { [PS_FAIL_REFERENCES] = 1, [PS_FAIL_MAPPED] = 1, [PS_FAIL_LOCKED] = 1, [PS_FAIL_WRITEBACK] = 1 } },
	{ .name = "buffers at work are no references",
	  .member = { BUFFER_LOCKED, HELD },
	  .failed = { [PS_FAIL_REFERENCES] = 1, [PS_FAIL_BUFFERS] = 1 } },
	{ .name = "a huge page counts all its pages",
	  .member = { LOCKED, HUGE_HELD, ANON },
	  .moved = 1,
	  .failed = { [PS_FAIL_REFERENCES] = HP, [PS_FAIL_LOCKED] = 1 },
	  .thp_failed = 1 },
	{ .name = "a pinned huge page, waited for in vain",
	  .member = { HUGE_PINNED, HELD },
	  .mode = MIGRATE_SYNC,
	  .failed = { [PS_FAIL_MAPPED] = HP, [PS_FAIL_REFERENCES] = 1 },
	  .thp_failed = 1 },
	{ .name = "a huge page without a target that cannot be split",
	  .member = { HUGE_HELD, ANON },
	  .get = no_huge_target,
	  .failed = { [PS_FAIL_NO_MEMORY] = HP },
	  .thp_failed = 1 },
	{ .name = "a huge page without a target that is not split for a hint",
	  .member = { HUGE, ANON },
	  .get = no_huge_target,
	  .reason = MR_NUMA_MISPLACED,
	  .failed = { [PS_FAIL_NO_MEMORY] = HP },
	  .thp_failed = 1 },
	{ .name = "pieces: all move",
	  .member = { HUGE },
	  .get = no_huge_target,
	  .moved = HP,
	  .thp_failed = 1,
	  .thp_split = 1 },
	{ .name = "pieces: memory ends, one has failed and the rest is not tried",
	  .member = { HUGE },
	  .get = some_small_targets,
	  .moved = 100,
	  .failed = { [PS_FAIL_NO_MEMORY] = 1 },
	  .thp_failed = 1,
	  .thp_split = 1 },
	{ .name = "pieces: three are held",
	  .member = { HUGE },
	  .get = hold_three_pieces,
	  .moved = HP - 3,
	  .failed = { [PS_FAIL_REFERENCES] = 3 },
	  .thp_failed = 1,
	  .thp_split = 1 },
	{ .name = "memory ends while others wait for their next pass",
	  .member = { HELD, ANON, ANON },
	  .get = only_for_the_first,
	  .failed = { [PS_FAIL_REFERENCES] = 1, [PS_FAIL_NO_MEMORY] = 1 } },
	{ .name = "the reason of the last try counts",
	  .member = { LOCKED },
	  .get = unlock_and_hold_at_the_fourth_try,
	  .failed = { [PS_FAIL_REFERENCES] = 1 } },
	{ .name = "what succeeds in the end has not failed",
	  .member = { LOCKED, ANON },
	  .mode = MIGRATE_SYNC,
	  .get = unlock_at_the_fourth_try,
	  .moved = 2 },
};

static s64 base_pages(int n)
{
	return n < 0 ? (s64)H + n + 1 : n;
}

static void try_failing_case(const struct failing_case *c)
{
	const struct ps_engines *engines = scene->machine->engines;
	struct failing f = { .call = { .to = 1 } };
	struct subject s[ARRAY_SIZE(c->member)] = { 0 };
	unsigned int moved;
	LIST_HEAD(list);
	s64 sum = 0;
	int k, i;

	for (k = 0; k < (int)ARRAY_SIZE(s) && c->member[k]; k++) {
		member_build[c->member[k]](&s[k]);
		if (c->member[k] == LOCKED) {
			f.locked = s[k].page;
			f.locker = s[k].other;
		}
	}
	f.page = s[0].page;
	lru_add_drain_all();
	for (i = 0; i < k; i++)
		assert_int_equal(isolate_page_for_migration(s[i].page, &list), 0);
	migrate_pages(&list, c->get ? c->get : give_target, NULL, &f, c->mode, c->reason, &moved);
	putback_movable_pages(&list);
	lru_add_drain_all();

	if (moved != base_pages(c->moved))
		fail_msg("%s: %u moved", c->name, moved);
	assert_int_equal(vmstat("pgmigrate_success"), moved);
	for (i = 0; i < PS_NR_MIGRATE_FAILURES; i++) {
		if ((s64)engines->failed[i] != base_pages(c->failed[i]))
			fail_msg("%s: %ld failed '%s'", c->name, (long)engines->failed[i],
				 ps_migrate_failure_name((enum ps_migrate_failure)i));
		sum += (s64)engines->failed[i];
	}
	assert_int_equal(vmstat("pgmigrate_fail"), sum);
	assert_int_equal(vmstat("thp_migration_fail"), c->thp_failed);
	assert_int_equal(vmstat("thp_migration_split"), c->thp_split);

	while (f.held_pieces)
		put_page(f.page + 1 + 2 * f.held_pieces--);
	for (i = 0; i < k; i++) {
		if (s[i].page == f.page && c->get == unlock_and_hold_at_the_fourth_try)
			put_page(f.page);
		else if (c->member[i] != LOCKED || f.locked)
			member_undo[c->member[i]](&s[i]);
	}
	expect_sound();
}

/* Expect: every page counted in pgmigrate_fail has exactly one reason, whatever became of it on the way. */
static void every_failure_has_one_reason(void **state)
{
	const char *const generation[] = { "6.1", "6.3-batch" };
	unsigned int i, g;

	(void)state;
	for (g = 0; g < ARRAY_SIZE(generation); g++) {
		for (i = 0; i < ARRAY_SIZE(failing_cases); i++) {
			open_generation("two-node", generation[g]);
			try_failing_case(&failing_cases[i]);
			scene_close();
		}
	}
}

/* ---- told to listeners */

struct heard {
	unsigned int starts, ends, order;
	struct ps_event_mm_migrate_pages_start start;
	struct ps_event_mm_migrate_pages end;
};

static void hear(void *arg, enum ps_tracepoint tracepoint, const void *event)
{
	struct heard *h = (struct heard *)arg;

	if (tracepoint == PS_TP_mm_migrate_pages_start) {
		h->starts++;
		h->start = *(const struct ps_event_mm_migrate_pages_start *)event;
		assert_int_equal(h->ends, h->starts - 1);
	} else {
		h->ends++;
		h->end = *(const struct ps_event_mm_migrate_pages *)event;
	}
}

static void listeners_hear_of_begin_and_outcome(void **state)
{
	struct heard heard = { 0 };
	struct ps_probe probes[] = {
		{ .tracepoint = PS_TP_mm_migrate_pages_start, .fn = hear, .arg = &heard },
		{ .tracepoint = PS_TP_mm_migrate_pages, .fn = hear, .arg = &heard },
	};
	u64 r = map_filled(3, 1), h = map_huge_filled(2, 2), i;
	struct page *held;
	struct call call = { .to = 1 };
	LIST_HEAD(list);
	char text[256];

	(void)state;
	for (i = 0; i < 2; i++)
		assert_int_equal(ps_probe_register(scene->stats, &probes[i]), 0);
	lru_add_drain_all();
	held = grab(r + pages(1), FOLL_GET);
	for (i = 0; i < 3; i++)
		assert_int_equal(isolate_page_for_migration(page_at(r + pages(i)), &list), 0);
	assert_int_equal(isolate_page_for_migration(page_at(h), &list), 0);
	assert_int_equal(isolate_page_for_migration(page_at(h + pages(H)), &list), 0);
	assert_int_equal(migrate_pages(&list, no_huge_target, NULL, &call, MIGRATE_SYNC, MR_CONTIG_RANGE, NULL), 3);
	putback_movable_pages(&list);
	assert_int_equal(heard.starts, 1);
	assert_int_equal(heard.ends, 1);
	assert_int_equal(heard.start.mode, MIGRATE_SYNC);
	assert_int_equal(heard.start.reason, MR_CONTIG_RANGE);
	assert_int_equal(heard.end.succeeded, 2 + 2 * H);
	assert_int_equal(heard.end.failed, 1);
	assert_int_equal(heard.end.thp_succeeded, 0);
	assert_int_equal(heard.end.thp_failed, 2);
	assert_int_equal(heard.end.thp_split, 2);
	assert_int_equal(heard.end.mode, MIGRATE_SYNC);
	assert_int_equal(heard.end.reason, MR_CONTIG_RANGE);
	ps_tracepoint_format(text, sizeof(text), PS_TP_mm_migrate_pages, &heard.end);
	assert_string_equal(text, "nr_succeeded=1026 nr_failed=1 nr_thp_succeeded=0 nr_thp_failed=2 nr_thp_split=2 "
				  "mode=MIGRATE_SYNC reason=contig_range");
	for (i = 0; i < 2; i++)
		assert_int_equal(ps_probe_unregister(scene->stats, &probes[i]), 0);
	drop(held, FOLL_GET);
}

/* ---- a hint fault's page */

static void a_misplaced_page_moves_to_the_node_that_uses_it(void **state)
{
	u64 r = map_filled(2, 1), h = map_huge_filled(1, 2);

	(void)state;
	lru_add_drain_all();
	get_page(page_at(r));
	assert_true(migrate_misplaced_page(page_at(r), vma_at(r), 1));
	get_page(page_at(h));
	assert_true(migrate_misplaced_page(page_at(h), vma_at(h), 1));
	assert_int_equal(node_at(r), 1);
	assert_int_equal(node_at(h), 1);
	assert_int_equal(vmstat("numa_pages_migrated"), 1 + (s64)H);
	assert_int_equal(vmstat("pgpromote_success"), 0);
	expect_filled(r, 2, 1);
	expect_filled(h, H, 2);
}

/* From the slow tier to the fast one: that is a promotion. The other way is none. */
static void a_page_that_climbs_a_tier_is_promoted(void **state)
{
	u64 r;

	(void)state;
	scene_close();
	open_generation("dram-cxl", "6.1");
	set_policy(MPOL_BIND, 1, NUMA_NO_NODE);
	r = map_filled(1, 1);
	lru_add_drain_all();
	get_page(page_at(r));
	assert_true(migrate_misplaced_page(page_at(r), vma_at(r), 0));
	assert_int_equal(node_at(r), 0);
	assert_int_equal(vmstat("pgpromote_success"), 1);
	lru_add_drain_all();
	get_page(page_at(r));
	assert_true(migrate_misplaced_page(page_at(r), vma_at(r), 1));
	assert_int_equal(vmstat("pgpromote_success"), 1);
	assert_int_equal(vmstat("numa_pages_migrated"), 2);
	expect_filled(r, 1, 1);
}

/* What a hint should not move: program text of several mappings, dirty file pages, pages in use. The reference is consumed. */
static void some_pages_are_not_moved_for_a_hint(void **state)
{
	u64 f = map_file("/d/f", 0, 2, RW, SHARED), r = map_filled(1, 1);
	struct inode *inode = open_file("/d/f");
	struct page *page, *held;
	u64 g;

	(void)state;
	fill(f, 2, 1);
	lru_add_drain_all();
	page = page_at(f);
	get_page(page);
	assert_false(migrate_misplaced_page(page, vma_at(f), 1)); /* dirty */
	file_fsync(inode);
	g = map_file("/d/f", 0, 2, RO | MM_PROT_EXEC, SHARED);
	load(g);
	get_page(page);
	assert_false(migrate_misplaced_page(page, vma_at(g), 1)); /* text, mapped twice */
	get_page(page);
	assert_true(migrate_misplaced_page(page, vma_at(f), 1)); /* mapped twice, but no text where the hint was */
	page = page_at(f + pages(1));
	get_page(page);
	assert_true(migrate_misplaced_page(page, vma_at(f), 1));
	held = grab(r, FOLL_GET);
	get_page(held);
	assert_false(migrate_misplaced_page(held, vma_at(r), 1));
	drop(held, FOLL_GET);
	assert_int_equal(node_at(r), 0);
	iput(inode);
}

/* ---- generations */

static void generations_are_found_by_name(void **state)
{
	(void)state;
	assert_string_equal(ps_generation_find(NULL)->name, "6.1");
	assert_string_equal(ps_generation_find("6.1")->name, "6.1");
	assert_true(ps_generation_find("6.3-batch")->batch);
	assert_null(ps_generation_find("7.0"));
	assert_null(ps_generation_find(""));
	assert_ptr_equal(ps_generation_at(0), ps_generation_find("6.1"));
	assert_ptr_equal(ps_generation_at(1), ps_generation_find("6.3-batch"));
	assert_null(ps_generation_at(2));
}

static void failures_have_names(void **state)
{
	int i;

	(void)state;
	for (i = 0; i < PS_NR_MIGRATE_FAILURES; i++)
		assert_string_not_equal(ps_migrate_failure_name((enum ps_migrate_failure)i), "?");
	assert_string_equal(ps_migrate_failure_name(PS_NR_MIGRATE_FAILURES), "?");
}

#define test(name)       cmocka_unit_test_setup_teardown(name, setup, scene_teardown)
#define test_batch(name) cmocka_unit_test_setup_teardown(name, setup_batch, scene_teardown)
/* Under both generations. */
#define test_both(name)                                                      \
	cmocka_unit_test_setup_teardown(name, setup, scene_teardown),        \
	{                                                                    \
#name "_in_batches", name, setup_batch, scene_teardown, NULL \
	}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(every_state_has_its_outcome_in_every_mode),
		cmocka_unit_test(every_state_has_its_outcome_in_batches_too),
		test_batch(a_page_written_out_moves_with_the_next_batch_only),
		test_both(flags_move_along),
		test_both(activity_moves_along),
		test_both(a_lock_on_memory_moves_along),
		test_both(a_huge_file_page_marked_for_reclaim_moves),
		cmocka_unit_test(the_last_user_moves_along_but_not_between_tiers),
		test_both(a_file_page_takes_its_place_in_the_file_along),
		cmocka_unit_test(contents_move_whatever_they_are),
		test(isolated_pages_are_counted),
		test_both(a_page_freed_meanwhile_needs_no_target),
		test_both(what_stays_is_on_the_list),
		test_both(an_empty_list_is_nothing_to_do),
		cmocka_unit_test(a_page_is_tried_as_often_as_its_generation_says),
		cmocka_unit_test(batches_flush_once),
		test_batch(a_long_list_is_cut_into_batches),
		test_both(migration_allocates_nothing_of_the_host),
		test_both(a_huge_page_moves_whole),
		test_both(a_huge_page_without_a_target_moves_in_pieces),
		test_both(pieces_that_find_no_room_stay),
		test_both(a_misplaced_huge_page_is_not_split),
		test_both(a_held_huge_page_without_a_target_stays_whole),
		test_both(a_full_node_ends_the_call),
		test_batch(a_batch_moves_what_it_has_when_memory_ends),
		cmocka_unit_test(every_failure_has_one_reason),
		test(listeners_hear_of_begin_and_outcome),
		test_both(a_misplaced_page_moves_to_the_node_that_uses_it),
		test(a_page_that_climbs_a_tier_is_promoted),
		test_both(some_pages_are_not_moved_for_a_hint),
		cmocka_unit_test(generations_are_found_by_name),
		cmocka_unit_test(failures_have_names),
	};

	return cmocka_run_group_tests_name("migrate", tests, NULL, NULL);
}
