/* SPDX-License-Identifier: MIT */
/*
 * Reclaim by swapping: MADV_PAGEOUT takes what nobody else uses, at once; kswapd and direct reclaim swap when a node runs
 * short. The relations of a full node are those seen on a real Linux 6.1 (reference/linux-6.1/relations.md, "whole node
 * full, swap on" and "off"), on smaller nodes.
 */
#include "engines/tiers.h"
#include "fixtures/scene_check.h"

#include <pagesim/gup.h>
#include <pagesim/migrate.h>
#include <pagesim/page_lock.h>
#include <pagesim/split.h>
#include <pagesim/swap_cache.h>

static const struct tier_node small_two[] = { { 32, 2, PS_MEMORY_DRAM }, { 32, 0, PS_MEMORY_DRAM } };

/* What fill(BASE, ...) has stored there. */
static u64 word(u64 addr)
{
	return (addr - BASE) / PAGE_SIZE + 1;
}

static struct tiers *open_with_swap(u64 mib)
{
	struct tiers *t = tiers_open(small_two, 2);

	if (mib)
		assert_int_equal(ps_swapon(t->world->machine, mib * MIB), 0);
	return t;
}

static void expect_sound_world(struct tiers *t)
{
	struct ps_check_report report;

	lru_add_drain_all();
	settle(t);
	lru_add_drain_all();
	if (check_machine(t->world->machine, NULL, &report))
		fail_msg("I%d: %s", report.violation[0].invariant, report.violation[0].text);
}

static void close_sound(struct tiers *t)
{
	expect_sound_world(t);
	tiers_close(t);
}

static pte_t entry_of(u64 addr)
{
	pmd_t *pmd = pmd_find(&current->mm->pt, addr);

	return pmd && pmd_table(*pmd) ? *pte_offset_map(&current->mm->pt, *pmd, addr) : __pte(0);
}

static bool swapped(u64 addr)
{
	pte_t pte = entry_of(addr);

	return is_swap_pte(pte) && !is_pte_migration_entry(pte);
}

static struct page *mapped_page(u64 addr)
{
	pte_t pte = entry_of(addr);

	return pte_present(pte) ? pfn_to_page(pte_pfn(pte)) : NULL;
}

static unsigned long nr_swapped(u64 addr, unsigned long pages)
{
	unsigned long i, n = 0;

	for (i = 0; i < pages; i++)
		n += swapped(addr + i * PAGE_SIZE);
	return n;
}

static int pageout(u64 addr, u64 pages)
{
	lru_add_drain_all();
	return do_madvise(current->mm, addr, pages * PAGE_SIZE, PS_MADV_PAGEOUT);
}

/* Expect pages nobody else uses to be gone, those of two mappings to stay, and the words to come back. */
static void pageout_takes_what_is_ours_alone(void **state)
{
	struct tiers *t = open_with_swap(16);
	struct mm_struct *child;

	(void)state;
	map_anon(BASE, 16);
	assert_int_equal(fill(BASE, 8), 8);
	assert_int_equal(dup_mm(current->mm, &child), 0);
	assert_int_equal(fill(BASE + 8 * PAGE_SIZE, 8), 8);
	mark(t);
	assert_int_equal(pageout(BASE, 16), 0);
	assert_int_equal(nr_swapped(BASE, 8), 0);
	assert_int_equal(nr_swapped(BASE + 8 * PAGE_SIZE, 8), 8);
	assert_int_equal(delta(t, "pswpout"), 8);
	assert_int_equal(delta(t, "pgsteal_anon"), 0); /* 6.1 does not count what was asked for */
	expect_sound_world(t);
	mmput(child);
	assert_int_equal(pageout(BASE, 16), 0);
	assert_int_equal(nr_swapped(BASE, 16), 16);
	assert_int_equal(load(BASE + 9 * PAGE_SIZE), 2);
	assert_int_equal(delta(t, "pswpin"), 1);
	close_sound(t);
}

/*
 *   get: unmapped and written, but not freed; stays in the swap cache      pin: not even tried
 */
static void a_reference_keeps_the_page_a_pin_the_mapping(void **state)
{
	struct tiers *t = open_with_swap(16);
	struct page *got, *pinned;

	(void)state;
	map_anon(BASE, 2);
	assert_int_equal(fill(BASE, 2), 2);
	assert_int_equal(get_user_pages(current->mm, BASE, 1, FOLL_GET, &got), 1);
	assert_int_equal(get_user_pages(current->mm, BASE + PAGE_SIZE, 1, FOLL_PIN | FOLL_WRITE, &pinned), 1);
	assert_int_equal(pageout(BASE, 2), 0);
	assert_true(swapped(BASE));
	assert_true(PageSwapCache(got) && PageDirty(got) && !PageWriteback(got));
	assert_int_equal(delta(t, "pswpout"), 0);
	assert_ptr_equal(mapped_page(BASE + PAGE_SIZE), pinned);
	assert_false(PageSwapCache(pinned));
	/* It is found where it is, and is ours alone again. */
	assert_int_equal(load(BASE), word(BASE));
	assert_ptr_equal(mapped_page(BASE), got);
	assert_true(PageAnonExclusive(got));
	put_user_page(got, FOLL_GET, false);
	put_user_page(pinned, FOLL_PIN, false);
	assert_int_equal(pageout(BASE, 2), 0);
	assert_int_equal(nr_swapped(BASE, 2), 2);
	close_sound(t);
}

/* A huge page goes whole if there is a free cluster, in pieces if there is not, and if there is no swap it is split all the
 * same: 6.1 notices late. */
static void a_huge_page_goes_whole_or_in_pieces(void **state)
{
	static const struct {
		u64 mib;
		s64 pswpout, thp_swpout, thp_swpout_fallback, thp_split_page, thp_split_pmd;
	} cases[] = {
		{ 16, 512, 1, 0, 0, 1 },
		{ 2, 511, 0, 1, 1, 1 }, /* the header's cluster is never free */
		{ 0, 0, 0, 1, 1, 1 },
	};
	unsigned int c;

	(void)state;
	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		struct tiers *t = open_with_swap(cases[c].mib);
		unsigned long i;

		map_anon(BASE, 512);
		assert_int_equal(do_madvise(current->mm, BASE, 2 * MIB, PS_MADV_HUGEPAGE), 0);
		assert_int_equal(fill(BASE, 512), 512);
		mark(t);
		assert_int_equal(pageout(BASE, 512), 0);
		assert_int_equal(delta(t, "pswpout"), cases[c].pswpout);
		assert_int_equal(delta(t, "thp_swpout"), cases[c].thp_swpout);
		assert_int_equal(delta(t, "thp_swpout_fallback"), cases[c].thp_swpout_fallback);
		assert_int_equal(delta(t, "thp_split_page"), cases[c].thp_split_page);
		assert_int_equal(delta(t, "thp_split_pmd"), cases[c].thp_split_pmd);
		assert_int_equal(nr_swapped(BASE, 512), cases[c].pswpout);
		expect_sound_world(t);
		for (i = 0; i < 512; i++)
			assert_int_equal(load(BASE + i * PAGE_SIZE), word(BASE + i * PAGE_SIZE));
		assert_int_equal(get_nr_swap_pages(), total_swap_pages());
		close_sound(t);
	}
}

/* A page in the swap cache migrates with its slot. */
static void a_page_in_the_swap_cache_moves_with_its_slot(void **state)
{
	struct tiers *t = open_with_swap(16);
	struct ps_move move = { .addr = BASE, .node = 1, .status = PS_STATUS_UNSET };
	struct page *page;
	swp_entry_t entry;

	(void)state;
	map_anon(BASE, 1);
	assert_int_equal(fill(BASE, 1), 1);
	lru_add_drain_all();
	page = mapped_page(BASE);
	lock_page(page);
	assert_true(add_to_swap(page));
	entry = page_swap_entry(page);
	unlock_page(page);
	assert_int_equal(ps_move_pages(current->mm, &move, 1, false, false), 0);
	assert_int_equal(move.status, 1);
	page = mapped_page(BASE);
	assert_int_equal(page_to_nid(page), 1);
	assert_true(PageSwapCache(page));
	assert_int_equal(page_swap_entry(page).val, entry.val);
	assert_ptr_equal(lookup_swap_cache(entry), page);
	put_page(page);
	assert_int_equal(node_page_state(0, NR_SWAPCACHE), 0);
	assert_int_equal(node_page_state(1, NR_SWAPCACHE), 1);
	expect_sound_world(t);
	/* What is in swap has no node. */
	assert_int_equal(pageout(BASE, 1), 0);
	move.node = 0;
	assert_int_equal(ps_move_pages(current->mm, &move, 1, false, false), 0);
	assert_int_equal(move.status, -ENOENT);
	assert_int_equal(load(BASE), word(BASE));
	close_sound(t);
}

/* Splitting a huge page in the swap cache gives each piece its own place there. */
static void a_huge_page_in_the_swap_cache_can_be_split(void **state)
{
	struct tiers *t = open_with_swap(16);
	struct page *head;
	unsigned long i;
	swp_entry_t entry;

	(void)state;
	map_anon(BASE, 512);
	assert_int_equal(do_madvise(current->mm, BASE, 2 * MIB, PS_MADV_HUGEPAGE), 0);
	assert_int_equal(fill(BASE, 512), 512);
	lru_add_drain_all();
	head = pfn_to_page(pmd_pfn(*pmd_find(&current->mm->pt, BASE)));
	get_page(head);
	lock_page(head);
	assert_true(add_to_swap(head));
	entry = page_swap_entry(head);
	assert_int_equal(split_huge_page(head), 0);
	unlock_page(head);
	put_page(head);
	for (i = 0; i < 512; i++) {
		struct page *page = lookup_swap_cache(swp_entry(0, swp_offset(entry) + i));

		assert_ptr_equal(page, head + i);
		assert_true(PageSwapCache(page) && !PageCompound(page));
		put_page(page);
	}
	expect_sound_world(t);
	assert_int_equal(pageout(BASE, 512), 0);
	assert_int_equal(nr_swapped(BASE, 512), 512);
	for (i = 0; i < 512; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), word(BASE + i * PAGE_SIZE));
	close_sound(t);
}

/* Lazily freed pages are simply dropped; those written since are not, and go to swap the next time. */
static void lazily_freed_pages_are_dropped(void **state)
{
	struct tiers *t = open_with_swap(16);

	(void)state;
	map_anon(BASE, 8);
	assert_int_equal(fill(BASE, 8), 8);
	lru_add_drain_all();
	assert_int_equal(do_madvise(current->mm, BASE, 8 * PAGE_SIZE, PS_MADV_FREE), 0);
	lru_add_drain_all();
	assert_int_equal(store(BASE, 5), 0);
	assert_int_equal(pageout(BASE, 8), 0);
	assert_int_equal(delta(t, "pglazyfreed"), 7);
	assert_int_equal(delta(t, "pswpout"), 0);
	assert_int_equal(nr_swapped(BASE, 8), 0);
	assert_int_equal(load(BASE), 5);
	assert_int_equal(load(BASE + PAGE_SIZE), 0);
	assert_int_equal(pageout(BASE, 1), 0);
	assert_true(swapped(BASE));
	assert_int_equal(load(BASE), 5);
	close_sound(t);
}

/* ---- a node that runs short */

/* Expect more to be stored than the nodes hold, kswapd to swap what is cold, and every word to be there afterwards. */
static void a_node_that_runs_short_swaps(void **state)
{
	struct tiers *t = open_with_swap(64);
	const unsigned long pages = 12 * 1024;
	unsigned long i, wrong = 0;

	(void)state;
	map_anon(BASE, pages);
	bind_to(0);
	assert_int_equal(fill(BASE, pages), pages);
	settle(t);
	assert_true(delta(t, "pswpout") >= (s64)pages - 8 * 1024);
	assert_true(delta(t, "pgsteal_anon") >= (s64)pages - 8 * 1024);
	assert_int_equal(delta(t, "pgsteal_kswapd") + delta(t, "pgsteal_direct"), delta(t, "pgsteal_anon"));
	assert_int_equal(pages_on(1, BASE, pages), 0);
	assert_int_equal(t->world->machine->reclaim->oom_failures, 0);
	for (i = 0; i < pages; i++)
		wrong += load(BASE + i * PAGE_SIZE) != word(BASE + i * PAGE_SIZE);
	assert_int_equal(wrong, 0);
	assert_true(delta(t, "pswpin") > 0);
	close_sound(t);
}

/* The same of shared memory. */
static void shared_memory_is_swapped_too(void **state)
{
	struct tiers *t = open_with_swap(64);
	const unsigned long pages = 10 * 1024;
	unsigned long i, wrong = 0;

	(void)state;
	assert_int_equal(
		do_mmap(current->mm, BASE, pages * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_SHARED, NULL, 0), 0);
	bind_to(0);
	assert_int_equal(fill(BASE, pages), pages);
	settle(t);
	assert_true(delta(t, "pswpout") >= (s64)pages - 8 * 1024);
	for (i = 0; i < pages; i++)
		wrong += load(BASE + i * PAGE_SIZE) != word(BASE + i * PAGE_SIZE);
	assert_int_equal(wrong, 0);
	close_sound(t);
}

static void move_all(u64 addr, unsigned long pages, nid_t nid, long *ret, unsigned long *ret_moved,
		     unsigned long *ret_unset)
{
	struct ps_move *moves = calloc(pages, sizeof(*moves));
	unsigned long i;

	assert_non_null(moves);
	for (i = 0; i < pages; i++)
		moves[i] = (struct ps_move){ .addr = addr + i * PAGE_SIZE, .node = nid, .status = PS_STATUS_UNSET };
	*ret = ps_move_pages(current->mm, moves, pages, false, false);
	*ret_moved = *ret_unset = 0;
	for (i = 0; i < pages; i++) {
		*ret_moved += moves[i].status == nid;
		*ret_unset += moves[i].status == PS_STATUS_UNSET;
	}
	free(moves);
}

/* Node 0 is three times as big as node 1. */
static const struct tier_node big_small[] = { { 96, 2, PS_MEMORY_DRAM }, { 32, 0, PS_MEMORY_DRAM } };

/*
 * Relation "whole node full, swap on": move_pages of more than the node holds returns 0 with every status the node, while some
 * of the pages just moved are swapped out meanwhile; a query afterwards says -ENOENT for them.
 */
static void moving_onto_a_full_node_swaps_what_came_before(void **state)
{
	struct tiers *t = tiers_open(big_small, 2);
	const unsigned long pages = 9600; /* 37.5 of 32 MiB, as 300 of 256 */
	unsigned long moved, unset;
	long ret;

	(void)state;
	assert_int_equal(ps_swapon(t->world->machine, 64 * MIB), 0);
	map_anon(BASE, pages);
	bind_to(0);
	assert_int_equal(fill(BASE, pages), pages);
	mark(t);
	move_all(BASE, pages, 1, &ret, &moved, &unset);
	assert_int_equal(ret, 0);
	assert_int_equal(moved, pages);
	settle(t);
	assert_true(nr_swapped(BASE, pages) >= pages - 32 * MIB / PAGE_SIZE);
	assert_int_equal(nr_swapped(BASE, pages) + pages_on(1, BASE, pages), pages);
	assert_int_equal(delta(t, "pgmigrate_success"), pages);
	close_sound(t);
}

/*
 * Relation "whole node full, swap off": -ENOMEM, the whole status array unset, most of what fits moved, one failure counted,
 * nobody killed.
 */
static void moving_onto_a_full_node_without_swap_stops(void **state)
{
	struct tiers *t = tiers_open(big_small, 2);
	const unsigned long pages = 9600;
	unsigned long moved, unset, there;
	long ret;

	(void)state;
	map_anon(BASE, pages);
	bind_to(0);
	assert_int_equal(fill(BASE, pages), pages);
	mark(t);
	move_all(BASE, pages, 1, &ret, &moved, &unset);
	assert_int_equal(ret, -ENOMEM);
	assert_int_equal(unset, pages);
	there = pages_on(1, BASE, pages);
	assert_true(there > 32 * MIB / PAGE_SIZE * 3 / 4 && there < 32 * MIB / PAGE_SIZE);
	assert_int_equal(pages_on(0, BASE, pages), pages - there);
	assert_int_equal(delta(t, "pgmigrate_fail"), 1);
	assert_int_equal(delta(t, "pgmigrate_success"), there);
	assert_int_equal(delta(t, "oom_kill"), 0);
	close_sound(t);
}

/* ---- at any moment */

struct program {
	u64 base;
	unsigned long pages;
	int cpu, what;
	bool done;
	unsigned long wrong;
};

enum { STORES, PAGES_OUT, FORKS };

static void runs(void *arg)
{
	struct program *p = arg;
	unsigned long i, round;

	current->cpu = p->cpu;
	for (round = 0; round < (p->what == PAGES_OUT ? 30 : 3); round++) {
		if (p->what == PAGES_OUT)
			lru_add_drain_all();
		if (p->what == FORKS) {
			struct mm_struct *child;

			if (dup_mm(current->mm, &child))
				p->wrong++;
			else
				mmput(child);
			continue;
		}
		for (i = 0; i < p->pages; i++) {
			u64 addr = p->base + i * PAGE_SIZE;
			struct ps_access access;

			if (p->what == PAGES_OUT) {
				if (i % 8 == 0 && do_madvise(current->mm, addr, 8 * PAGE_SIZE, PS_MADV_PAGEOUT))
					p->wrong++;
				continue;
			}
			if (round)
				p->wrong += ps_mmu_access(addr, false, &access) ||
					    pfn_to_page(access.pfn)->contents != addr + round - 1;
			p->wrong += store(addr, addr + round) != 0;
			cond_resched();
		}
	}
	p->done = true;
}

/*
 * One thread stores and looks whether its last words are there, one pages the same memory out, one forks and lets the child
 * die; interrupted at random between any two steps. Expect no store to be lost, and every invariant to hold.
 */
static void stores_survive_pageout_at_any_moment(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 12; seed++) {
		const struct ps_world_settings settings = { .runtime = { .seed = seed, .shuffle = 6000 },
							    .contents = PS_CONTENTS_TAG };
		struct tiers *t = tiers_open_with(small_two, 2, &settings);
		struct program p[] = { { .base = BASE, .pages = 64, .cpu = 0, .what = STORES },
				       { .base = BASE, .pages = 64, .cpu = 1, .what = PAGES_OUT },
				       { .cpu = 1, .what = FORKS } };
		struct task_struct *tasks[ARRAY_SIZE(p)];
		unsigned int i;

		assert_int_equal(ps_swapon(t->world->machine, 16 * MIB), 0);
		map_anon(BASE, 64);
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			tasks[i] = ps_task_new(t->world->rt, "program", runs, &p[i]);
			assert_non_null(tasks[i]);
			tasks[i]->mempolicy = NULL;
		}
		ps_task_leave();
		ps_runtime_run(t->world->rt, UINT64_MAX);
		ps_task_enter(t->task);
		for (i = 0; i < ARRAY_SIZE(p); i++) {
			assert_true(p[i].done);
			if (p[i].wrong)
				fail_msg("seed %lu: program %u went wrong %lu times", (unsigned long)seed, i,
					 p[i].wrong);
			ps_task_free(tasks[i]);
		}
		assert_true(delta(t, "pswpout") > 0);
		close_sound(t);
	}
}

/* Every allocation of host memory fails once on the way out. Expect the page to stay, or to go, and its word with it. */
static void host_memory_may_run_out_on_the_way_out(void **state)
{
	struct tiers *t = open_with_swap(16);
	bool done = false;
	unsigned long i;
	u64 n;

	(void)state;
	map_anon(BASE, 600);
	assert_int_equal(do_madvise(current->mm, BASE, 2 * MIB, PS_MADV_HUGEPAGE), 0);
	for (n = 1; !done; n++) {
		assert_int_equal(do_madvise(current->mm, BASE, 600 * PAGE_SIZE, PS_MADV_DONTNEED), 0);
		assert_int_equal(fill(BASE, 600), 600);
		lru_add_drain_all();
		ps_alloc_fail_nth(n);
		assert_int_equal(do_madvise(current->mm, BASE, 600 * PAGE_SIZE, PS_MADV_PAGEOUT), 0);
		done = ps_alloc_fail_nth(0);
		expect_sound_world(t);
		for (i = 0; i < 600; i++)
			assert_int_equal(load(BASE + i * PAGE_SIZE), word(BASE + i * PAGE_SIZE));
	}
	close_sound(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(pageout_takes_what_is_ours_alone),
		cmocka_unit_test(a_reference_keeps_the_page_a_pin_the_mapping),
		cmocka_unit_test(a_huge_page_goes_whole_or_in_pieces),
		cmocka_unit_test(a_page_in_the_swap_cache_moves_with_its_slot),
		cmocka_unit_test(a_huge_page_in_the_swap_cache_can_be_split),
		cmocka_unit_test(lazily_freed_pages_are_dropped),
		cmocka_unit_test(a_node_that_runs_short_swaps),
		cmocka_unit_test(shared_memory_is_swapped_too),
		cmocka_unit_test(moving_onto_a_full_node_swaps_what_came_before),
		cmocka_unit_test(moving_onto_a_full_node_without_swap_stops),
		cmocka_unit_test(stores_survive_pageout_at_any_moment),
		cmocka_unit_test(host_memory_may_run_out_on_the_way_out),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
