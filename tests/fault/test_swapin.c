/* SPDX-License-Identifier: MIT */
/*
 * What is in swap and what happens to it: it comes back by a fault, by advice, when swap is switched off; it is shared by
 * fork, moved by mremap, forgotten by munmap. Who owns a page afterwards, and which slots are free, is the point.
 */
#include "fixtures/scene_fault.h"
#include "fixtures/swap_verbs.h"

#include <pagesim/compound.h>

static int with_swap(void **state)
{
	(void)state;
	if (scene_fault_setup("two-node"))
		return -1;
	swap_on(2047);
	return 0;
}

static int with_little_memory(void **state)
{
	(void)state;
	if (scene_fault_setup("tiny"))
		return -1;
	swap_on(63);
	return 0;
}

static void swap_out_range(u64 addr, u64 n)
{
	for (u64 i = 0; i < n; i++)
		swap_out(addr + pages(i));
}

/* One user, a synchronous device: the page is read past the cache, and the slot is free at once. */
static void a_page_of_ours_alone_comes_back_past_the_cache(void **state)
{
	struct task_struct *a = start("A", 0);
	u64 r = map_filled(4, 1);
	struct page *page;

	(void)state;
	swap_out_range(r, 4);
	assert_int_equal(swapents(), 4);
	assert_int_equal(get_mm_counter(a->mm, MM_ANONPAGES), 0);
	assert_int_equal(swap_used(), 4);
	expect_sound();
	as(a);
	assert_int_equal(load(r), word_of(1, 0));
	page = page_at(r);
	assert_true(exclusive_at(r) && !PageSwapCache(page) && !PageDirty(page) && PageSwapBacked(page));
	assert_false(pte_write(pte_at(r)));
	assert_int_equal(swap_used(), 3);
	/* For a write it is writable at once; no second fault. */
	store(r + pages(1), word_of(1, 1));
	assert_true(pte_write(pte_at(r + pages(1))) && pte_dirty(pte_at(r + pages(1))));
	assert_int_equal(faults_of(PS_FAULT_SWAP), 2);
	assert_int_equal(faults_of(PS_FAULT_COW) + faults_of(PS_FAULT_REUSE), 0);
	expect_filled(r, 4, 1);
	assert_int_equal(swap_used(), 0);
	assert_int_equal(swapents(), 0);
}

/* A clean page that was only read since has no copy anywhere: out once more, it must be written again. */
static void what_came_back_and_was_only_read_can_go_again(void **state)
{
	u64 r;

	(void)state;
	start("A", 0);
	r = map_filled(1, 1);
	for (int i = 0; i < 3; i++) {
		swap_out(r);
		expect_filled(r, 1, 1);
	}
}

/*
 *      A ──┐                      A: load          B: load
 *          ├──▶ slot (2 users)  ──────────▶ page ◀──────── the same page, in the cache until the last entry is gone
 *      B ──┘
 */
static void a_shared_page_comes_back_once_through_the_cache(void **state)
{
	struct task_struct *a = start("A", 0), *b;
	u64 r = map_filled(1, 1);
	struct page *page;
	swp_entry_t entry;

	(void)state;
	b = fork_task("B");
	swap_out(r);
	entry = swap_entry_at(r);
	assert_int_equal(swp_swapcount(entry), 2);
	assert_false(pte_swp_exclusive(pte_at(r)));
	assert_int_equal(load(r), word_of(1, 0));
	page = page_at(r);
	lru_add_drain_all();
	assert_true(PageSwapCache(page) && !exclusive_at(r));
	assert_int_equal(page_count(page), 2);
	assert_int_equal(swp_swapcount(entry), 1);
	expect_sound();
	as(b);
	assert_int_equal(load(r), word_of(1, 0));
	assert_ptr_equal(page_at(r), page);
	assert_int_equal(page_mapcount(page), 2);
	assert_int_equal(swp_swapcount(entry), 0);
	assert_true(PageSwapCache(page));
	/* Who writes gets a copy; the other is alone then, and takes the page over with its slot. */
	store(r, 5);
	assert_ptr_not_equal(page_at(r), page);
	as(a);
	assert_int_equal(load(r), word_of(1, 0));
	store(r, 6);
	assert_ptr_equal(page_at(r), page);
	assert_true(exclusive_at(r) && !PageSwapCache(page) && PageDirty(page));
	assert_int_equal(swap_used(), 0);
	as(b);
	assert_int_equal(load(r), 5);
}

/* A write fault on a shared slot copies on the way, unless the page turns out to be ours alone. */
static void a_write_fault_copies_what_others_still_have(void **state)
{
	struct task_struct *a = start("A", 0), *b;
	u64 r = map_filled(2, 1);
	swp_entry_t entry;

	(void)state;
	b = fork_task("B");
	swap_out_range(r, 2);
	entry = swap_entry_at(r);
	store(r, 9);
	assert_true(exclusive_at(r) && !PageSwapCache(page_at(r)));
	assert_int_equal(faults_of(PS_FAULT_COW), 1);
	assert_int_equal(swp_swapcount(entry), 1);
	as(b);
	assert_int_equal(load(r), word_of(1, 0));
	/* The second page: A forgets it, so B is alone. */
	as(a);
	assert_int_equal(do_munmap(a->mm, r + pages(1), PAGE_SIZE), 0);
	as(b);
	store(r + pages(1), 8);
	assert_int_equal(faults_of(PS_FAULT_COW), 1);
	assert_true(exclusive_at(r + pages(1)));
}

/* The entry remembers that the page was ours alone; fork makes it forget, on both sides. */
static void an_entry_is_exclusive_until_fork(void **state)
{
	struct task_struct *a = start("A", 0), *b;
	u64 r = map_filled(2, 1);
	struct page *page = page_at(r);

	(void)state;
	/* Out, but still in the cache: somebody holds it. */
	page = swap_out_cached(r);
	unlock_page(page);
	hold(page, 1);
	assert_true(pte_swp_exclusive(pte_at(r)));
	assert_int_equal(load(r), word_of(1, 0));
	assert_ptr_equal(page_at(r), page);
	assert_true(exclusive_at(r) && PageSwapCache(page));
	unhold(page, 1);
	putback_lru_page(page);
	swap_out_range(r, 2);
	b = fork_task("B");
	assert_false(pte_swp_exclusive(pte_at(r)));
	assert_int_equal(swp_swapcount(swap_entry_at(r)), 2);
	assert_int_equal(swapents(), 2);
	as(b);
	assert_false(pte_swp_exclusive(pte_at(r)));
	assert_int_equal(swapents(), 2);
	expect_filled(r, 2, 1);
	as(a);
	expect_filled(r, 2, 1);
}

/* While the device reads the page it must not change: exclusive or not, who writes gets a copy. */
static void a_page_under_writeback_is_not_written_to(void **state)
{
	u64 r;
	struct page *page;

	(void)state;
	start("A", 0);
	r = map_filled(1, 1);
	scene->machine->swap->deferred = true;
	page = swap_out_cached(r);
	unlock_page(page);
	hold(page, 1);
	assert_true(PageWriteback(page) && pte_swp_exclusive(pte_at(r)));
	store(r, 3);
	assert_ptr_not_equal(page_at(r), page);
	assert_int_equal(ps_swap_complete(scene->machine->swap, 0), 1);
	assert_int_equal(load(r), 3);
	unhold(page, 1);
	putback_lru_page(page);
	lru_add_drain_all();
	/* The copy's maker could not free the slot of a page under writeback; reclaim does. */
	expect_sound();
	page = lookup_swap_cache(swp_entry(0, swap_next_used(scene->machine->swap, 0)));
	assert_non_null(page);
	free_page_and_swap_cache(page);
	assert_int_equal(swap_used(), 0);
}

enum { MUNMAP, DONTNEED, LAZYFREE, EXIT, REMAP_OVER };

/* Whatever forgets memory forgets its slots. */
static void slots_go_with_the_memory(void **state)
{
	int how;

	(void)state;
	for (how = MUNMAP; how <= REMAP_OVER; how++) {
		struct task_struct *a = start("A", 0);
		u64 r = map_filled(4, 1), other = map(4);

		swap_out_range(r, 4);
		assert_int_equal(swap_used(), 4);
		switch (how) {
		case MUNMAP:
			assert_int_equal(do_munmap(a->mm, r, pages(4)), 0);
			break;
		case DONTNEED:
			assert_int_equal(do_madvise(a->mm, r, pages(4), PS_MADV_DONTNEED), 0);
			break;
		case LAZYFREE:
			assert_int_equal(do_madvise(a->mm, r, pages(4), PS_MADV_FREE), 0);
			break;
		case REMAP_OVER:
			assert_int_equal(do_mremap(a->mm, other, pages(4), r), 0);
			break;
		}
		if (how != EXIT) {
			assert_int_equal(swap_used(), 0);
			assert_int_equal(swapents(), 0);
			if (how != MUNMAP)
				expect_zero(r, 4);
		}
		exit_task(a);
		assert_int_equal(swap_used(), 0);
		expect_sound();
	}
}

/* MADV_FREE of a page in the swap cache gives the slot up, so that the page may simply be dropped. */
static void lazyfree_gives_the_slot_of_a_cached_page_up(void **state)
{
	struct task_struct *a = start("A", 0);
	u64 r = map_filled(1, 1);
	struct page *page = page_at(r);

	(void)state;
	lru_add_drain_all();
	lock_page(page);
	assert_true(add_to_swap(page));
	unlock_page(page);
	assert_int_equal(do_madvise(a->mm, r, PAGE_SIZE, PS_MADV_FREE), 0);
	lru_add_drain_all();
	assert_false(PageSwapCache(page) || PageSwapBacked(page) || PageDirty(page));
	assert_int_equal(swap_used(), 0);
	/* Untouched it leaves nothing when it is unmapped; written, it is wanted again. */
	assert_int_equal(isolate_lru_page(page), 0);
	lock_page(page);
	try_to_unmap(page, 0);
	assert_false(page_mapped(page));
	assert_true(pte_none(pte_at(r)));
	unlock_page(page);
	put_page(page);
	store(r, 1);
	lru_add_drain_all();
	page = page_at(r);
	assert_int_equal(do_madvise(a->mm, r, PAGE_SIZE, PS_MADV_FREE), 0);
	lru_add_drain_all();
	store(r, 2);
	assert_int_equal(isolate_lru_page(page), 0);
	lock_page(page);
	try_to_unmap(page, 0);
	assert_true(page_mapped(page) && PageSwapBacked(page));
	unlock_page(page);
	putback_lru_page(page);
	assert_int_equal(load(r), 2);
}

/* Reclaim may not take what is pinned or mlocked: the entry is as it was. */
static void pinned_and_mlocked_pages_stay_mapped(void **state)
{
	struct task_struct *a = start("A", 0);
	u64 r = map_filled(2, 1);
	struct page *pinned = grab(r, FOLL_PIN | FOLL_WRITE), *locked = page_at(r + pages(1));
	pte_t before;

	(void)state;
	lru_add_drain_all();
	before = pte_at(r);
	lock_page(pinned);
	assert_true(add_to_swap(pinned));
	try_to_unmap(pinned, 0);
	assert_true(page_mapped(pinned));
	assert_int_equal(pte_at(r).val, before.val);
	assert_int_equal(swp_swapcount(page_swap_entry(pinned)), 0);
	assert_true(try_to_free_swap(pinned));
	unlock_page(pinned);
	drop(pinned, FOLL_PIN | FOLL_WRITE);

	assert_int_equal(do_mlock(a->mm, r + pages(1), PAGE_SIZE), 0);
	lru_add_drain_all();
	lock_page(locked);
	assert_true(add_to_swap(locked));
	try_to_unmap(locked, 0);
	assert_true(page_mapped(locked));
	assert_true(try_to_free_swap(locked));
	unlock_page(locked);
	lru_add_drain_all();
}

/* A huge page leaves as a whole and comes back in pieces, each under its own entry. */
static void a_huge_page_comes_back_in_small_ones(void **state)
{
	u64 h, n = huge_pages();

	(void)state;
	start("A", 0);
	h = map_huge_filled(1, 4);
	swap_out(h);
	assert_int_equal(swap_used(), n);
	assert_int_equal(swapents(), n);
	assert_true(pte_swp_exclusive(pte_at(h)) && pte_swp_exclusive(pte_at(h + pages(n - 1))));
	expect_sound();
	expect_filled(h, n, 4);
	assert_false(PageCompound(page_at(h)));
	assert_int_equal(swap_used(), 0);
}

/* The huge page is still in the cache when a fault comes: it maps the right small page of it. */
static void a_fault_finds_its_part_of_a_cached_huge_page(void **state)
{
	u64 h;
	struct page *head;

	(void)state;
	start("A", 0);
	h = map_huge_filled(1, 4);
	head = swap_out_cached(h);
	unlock_page(head);
	hold(head, 1);
	assert_int_equal(load(h + pages(3)), word_of(4, 3));
	assert_ptr_equal(page_at(h + pages(3)), head + 3);
	store(h + pages(2), word_of(4, 2));
	assert_ptr_equal(page_at(h + pages(2)), head + 2);
	expect_sound();
	unhold(head, 1);
	putback_lru_page(head);
	lru_add_drain_all();
	expect_filled(h, huge_pages(), 4);
}

/* Soft-dirty rides in the entry, both ways; mremap sets it. */
static void soft_dirty_survives_swap(void **state)
{
	struct task_struct *a = start("A", 0);
	u64 r = map_filled(2, 1), d = place(2);

	(void)state;
	assert_int_equal(clear_soft_dirty(a->mm), 0);
	store(r, word_of(1, 0));
	swap_out_range(r, 2);
	assert_true(pte_swp_soft_dirty(pte_at(r)));
	assert_false(pte_swp_soft_dirty(pte_at(r + pages(1))));
	load(r);
	load(r + pages(1));
	assert_true(pte_soft_dirty(pte_at(r)));
	assert_false(pte_soft_dirty(pte_at(r + pages(1))));
	swap_out_range(r, 2);
	assert_int_equal(clear_soft_dirty(a->mm), 0);
	assert_false(pte_swp_soft_dirty(pte_at(r)));
	assert_true(pte_swp_exclusive(pte_at(r)));
	assert_int_equal(do_mremap(a->mm, r, pages(2), d), 0);
	assert_true(pte_swp_soft_dirty(pte_at(d)));
	expect_filled(d, 2, 1);
}

/* Advice reads into the cache and maps nothing; the fault then finds it there. */
static void willneed_reads_into_the_cache(void **state)
{
	struct task_struct *a = start("A", 0);
	u64 r = map_filled(4, 1);

	(void)state;
	swap_out_range(r, 4);
	assert_int_equal(do_madvise(a->mm, r, pages(2), PS_MADV_WILLNEED), 0);
	assert_int_equal(node_page_state(0, NR_SWAPCACHE), 2);
	assert_true(swapped_at(r) && swapped_at(r + pages(1)));
	expect_sound();
	as(a);
	assert_int_equal(load(r), word_of(1, 0));
	assert_true(PageSwapCache(page_at(r)) && exclusive_at(r));
	expect_filled(r, 4, 1);
}

/* Everything comes back: what was exclusive is so again, what was shared is one page, files have theirs. */
static void swapoff_brings_everything_back(void **state)
{
	struct task_struct *a = start("A", 0), *b;
	u64 shared = map_filled(4, 1), own, h, s;

	(void)state;
	b = fork_task("B");
	own = map_filled(4, 2);
	h = map_huge_filled(1, 3);
	s = map_file("/t/s", 0, 4, RW, SHARED);
	fill(s, 4, 4);
	swap_out_range(shared, 4);
	swap_out_range(own, 4);
	swap_out(h);
	swap_out_shmem("/t/s", 1);
	load(shared);
	as(scene->boot);
	assert_int_equal(ps_swapoff(scene->machine), 0);
	assert_int_equal(ps_swapoff(scene->machine), -EINVAL);
	assert_int_equal(total_swap_pages(), 0);
	as(a);
	assert_int_equal(swapents(), 0);
	assert_true(exclusive_at(own) && exclusive_at(h) && !exclusive_at(shared));
	assert_false(pte_young(pte_at(own)));
	expect_filled(shared, 4, 1);
	expect_filled(own, 4, 2);
	expect_filled(h, huge_pages(), 3);
	expect_filled(s, 4, 4);
	as(b);
	expect_filled(shared, 4, 1);
	assert_int_equal(page_mapcount(page_at(shared)), 2);
	expect_sound();
	/* And a new area is empty. */
	swap_on(15);
	assert_int_equal(swap_used(), 0);
}

/* Not enough memory to bring it all back: swap stays on, and nothing is lost. */
static void swapoff_fails_when_memory_does_not_suffice(void **state)
{
	struct task_struct *a = start("A", 0), *greedy[2];
	u64 r = map_filled(16, 1), i, p;

	(void)state;
	swap_out_range(r, 16);
	for (p = 0; p < 2; p++) {
		u64 all;

		greedy[p] = start("greedy", 0);
		scene->next_addr = r + pages(32);
		all = map(100);
		for (i = 0; i < 100 && !try_store(all + pages(i), i);)
			i++;
	}
	assert_true(i < 100);
	as(scene->boot);
	assert_int_equal(ps_swapoff(scene->machine), -ENOMEM);
	assert_true(total_swap_pages() > 0);
	expect_sound();
	exit_task(greedy[0]);
	exit_task(greedy[1]);
	as(a);
	expect_filled(r, 16, 1);
	as(scene->boot);
	assert_int_equal(ps_swapoff(scene->machine), 0);
}

/* Every allocation of host memory fails once while memory comes back, is forked and advised. */
static void host_memory_may_run_out_on_the_way_back(void **state)
{
	bool done = false;

	(void)state;
	for (u64 n = 1; !done; n++) {
		struct task_struct *a = start("A", 0), *b;
		u64 r = map_filled(4, 1), word;
		int error;

		swap_out_range(r, 4);
		ps_alloc_fail_nth(n);
		b = try_fork_task("B");
		error = try_load(r, &word);
		if (!error)
			error = do_madvise(a->mm, r, pages(2), PS_MADV_WILLNEED);
		if (!error)
			error = try_store(r + pages(3), word_of(1, 3));
		done = ps_alloc_fail_nth(0);
		assert_true(!done || (b && !error));
		assert_true(!error || error == -ENOMEM);
		expect_sound();
		as(a);
		expect_filled(r, 4, 1);
		if (b) {
			as(b);
			expect_filled(r, 4, 1);
			exit_task(b);
		}
		exit_task(a);
		assert_int_equal(swap_used(), 0);
	}
}

/* ---- interleavings */

struct toucher {
	u64 addr, n;
	bool write;
	unsigned long wrong;
};

static void touches(void *arg)
{
	struct toucher *t = (struct toucher *)arg;

	for (u64 i = 0; i < t->n; i++) {
		u64 word = 0;

		if (t->write ? try_store(t->addr + pages(i), word_of(1, i)) : try_load(t->addr + pages(i), &word))
			t->wrong++;
		else if (!t->write)
			t->wrong += word != word_of(1, i);
	}
}

static void forgets(void *arg)
{
	struct toucher *t = (struct toucher *)arg;

	for (u64 i = 0; i < t->n; i++)
		t->wrong += do_madvise(current->mm, t->addr + pages(i), PAGE_SIZE, PS_MADV_WILLNEED) != 0;
}

/*
 * Three threads of one address space and one of its child, all after the same slots, interrupted at random between any two
 * steps: a reader, a writer, advice, and the child's reader. Expect everybody to see the words, each page to come back
 * once per owner, and every slot to be free in the end.
 */
static void faults_may_race_for_the_same_slots(void **state)
{
	(void)state;
	for (u64 seed = 1; seed <= 60; seed++) {
		const struct scene_settings settings = { .machine = "two-node",
							 .runtime = { .seed = seed, .shuffle = 9000 } };
		void (*const fns[])(void *) = { touches, touches, forgets, touches };
		struct task_struct *a, *b, *tasks[ARRAY_SIZE(fns)];
		struct toucher t[ARRAY_SIZE(fns)];
		const u64 n = 6;
		u64 r;

		assert_int_equal(scene_fault_open(&settings), 0);
		swap_on(63);
		a = start("A", 0);
		r = map_filled(n, 1);
		swap_out_range(r, n / 2);
		b = fork_task("B");
		swap_out_range(r + pages(n / 2), n - n / 2);
		for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
			t[i] = (struct toucher){ .addr = r, .n = n, .write = i == 1 };
			tasks[i] = ps_task_new(scene->rt, "racer", fns[i], &t[i]);
			assert_non_null(tasks[i]);
			tasks[i]->machine = scene->machine;
			tasks[i]->stats = scene->stats;
			tasks[i]->mm = i == 3 ? b->mm : a->mm;
			tasks[i]->cpu = (int)(i % scene->machine->nr_cpus);
			tasks[i]->mempolicy = NULL;
		}
		ps_task_leave();
		ps_runtime_run(scene->rt, UINT64_MAX);
		ps_task_enter(a);
		for (size_t i = 0; i < ARRAY_SIZE(fns); i++) {
			if (t[i].wrong)
				fail_msg("seed %lu: racer %zu failed", (unsigned long)seed, i);
			ps_task_free(tasks[i]);
		}
		assert_int_equal(swapents(), 0);
		expect_filled(r, n, 1);
		as(b);
		assert_int_equal(swapents(), 0);
		expect_filled(r, n, 1);
		scene_close();
	}
}

#define T(name) cmocka_unit_test_setup_teardown(name, with_swap, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		T(a_page_of_ours_alone_comes_back_past_the_cache),
		T(what_came_back_and_was_only_read_can_go_again),
		T(a_shared_page_comes_back_once_through_the_cache),
		T(a_write_fault_copies_what_others_still_have),
		T(an_entry_is_exclusive_until_fork),
		T(a_page_under_writeback_is_not_written_to),
		T(slots_go_with_the_memory),
		T(lazyfree_gives_the_slot_of_a_cached_page_up),
		T(pinned_and_mlocked_pages_stay_mapped),
		T(a_huge_page_comes_back_in_small_ones),
		T(a_fault_finds_its_part_of_a_cached_huge_page),
		T(soft_dirty_survives_swap),
		T(willneed_reads_into_the_cache),
		T(swapoff_brings_everything_back),
		cmocka_unit_test_setup_teardown(swapoff_fails_when_memory_does_not_suffice, with_little_memory,
						scene_teardown),
		T(host_memory_may_run_out_on_the_way_back),
		cmocka_unit_test(faults_may_race_for_the_same_slots),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
