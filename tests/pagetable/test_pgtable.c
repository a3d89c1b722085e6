/* SPDX-License-Identifier: MIT */
/*
 * The four-level tables: making, finding, skipping, freeing. Mostly on 2-bit levels, where a table has four entries and an
 * address space 256 pages, so that every table can be full:
 *
 *      level   PGD          PUD         PMD         PTE
 *      covers  256 pages    64 pages    16 pages    4 pages       (by one table)
 */
#include "fixtures/scene.h"

#include <pagesim/pgtable.h>
#include <pagesim/rng.h>

static const struct scene_layer no_layers[] = { { 0 } };

static struct page_table_pool *pool;
static struct page_tables pt;

static int setup_bits(unsigned int bits)
{
	const struct scene_settings settings = { .machine = "tiny", .pt_bits = bits, .node_bytes = 4 << 20 };

	if (scene_open(&settings, no_layers))
		return -1;
	pool = page_table_pool_new(bits);
	assert_non_null(pool);
	assert_int_equal(page_tables_init(&pt, pool, 7), 0);
	return 0;
}

static int tiny(void **state)
{
	(void)state;
	return setup_bits(2);
}

static int usual(void **state)
{
	(void)state;
	return setup_bits(9);
}

static int teardown(void **state)
{
	page_tables_destroy(&pt);
	assert_int_equal(page_table_pool_live(pool), 0);
	page_table_pool_free(pool);
	return scene_teardown(state);
}

static u64 page(u64 n)
{
	return n << PAGE_SHIFT;
}

/* Makes the tables of an address and puts an entry there. */
static void put_entry(u64 addr, u64 value)
{
	pmd_t *pmd = pmd_alloc(&pt, addr);
	spinlock_t *ptl;
	pte_t *ptep;

	assert_non_null(pmd);
	assert_int_equal(pte_alloc(&pt, pmd), 0);
	ptep = pte_offset_map_lock(&pt, pmd, addr, &ptl);
	set_pte_at(ptep, __pte(value));
	pte_unmap_unlock(ptep, ptl);
}

static u64 get_entry(u64 addr)
{
	pmd_t *pmd = pmd_find(&pt, addr);

	return pmd && pmd_table(*pmd) ? ptep_get(pte_offset_map(&pt, *pmd, addr)).val : 0;
}

/* ---- shapes */

static void geometry_follows_the_bits(void **state)
{
	(void)state;
	assert_int_equal(pmd_size(&pt), page(4));
	assert_int_equal(hpage_pmd_nr(&pt), 4);
	assert_int_equal(task_size(&pt), page(256));
	assert_int_equal(pte_index(&pt, page(7)), 3);
	assert_int_equal(pmd_addr_end(&pt, page(5), page(100)), page(8));
	assert_int_equal(pmd_addr_end(&pt, page(5), page(7)), page(7));
	assert_int_equal(pmd_addr_end(&pt, page(252), page(256)), page(256));
}

static void geometry_of_the_usual_machine(void **state)
{
	(void)state;
	assert_int_equal(pmd_size(&pt), 2 << 20);
	assert_int_equal(hpage_pmd_nr(&pt), 512);
	assert_int_equal(task_size(&pt), 1ULL << 48);
}

static void an_empty_address_space_finds_nothing(void **state)
{
	u64 addr = 0;

	(void)state;
	assert_null(pmd_find(&pt, 0));
	assert_null(pmd_find(&pt, task_size(&pt) - PAGE_SIZE));
	assert_null(pmd_next(&pt, &addr, task_size(&pt)));
	assert_int_equal(page_table_pool_live(pool), 1);
}

static void beyond_the_end_there_is_nothing(void **state)
{
	u64 addr = task_size(&pt);

	(void)state;
	put_entry(task_size(&pt) - PAGE_SIZE, PAGE_READONLY);
	assert_null(pmd_find(&pt, task_size(&pt)));
	assert_null(pmd_alloc(&pt, task_size(&pt)));
	assert_null(pmd_next(&pt, &addr, U64_MAX));
	put_entry(task_size(&pt) - PAGE_SIZE, 0);
}

/* Every one of the 256 pages has an entry of its own; 64 PTE, 16 PMD, 4 PUD tables and the PGD. */
static void every_address_has_its_own_entry(void **state)
{
	u64 i;

	(void)state;
	for (i = 0; i < 256; i++)
		put_entry(page(i), pfn_pte(1000 + i, PAGE_READONLY).val);
	for (i = 0; i < 256; i++)
		assert_int_equal(pte_pfn(__pte(get_entry(page(i)))), 1000 + i);
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 64);
	assert_int_equal(atomic_long_read(&pt.nr_pmds), 16);
	assert_int_equal(atomic_long_read(&pt.nr_puds), 4);
	assert_int_equal(page_table_pool_live(pool), 64 + 16 + 4 + 1);
	for (i = 0; i < 256; i++)
		put_entry(page(i), 0);
	free_pgtables(&pt, 0, task_size(&pt));
	assert_int_equal(page_table_pool_live(pool), 1);
}

/* Two addresses in one table share it; making what is there makes nothing. */
static void tables_are_shared_and_made_once(void **state)
{
	pmd_t *pmd = pmd_alloc(&pt, page(17));

	(void)state;
	assert_ptr_equal(pmd_alloc(&pt, page(18)), pmd);
	assert_ptr_equal(pmd_alloc(&pt, page(20)), pmd + 1);
	assert_ptr_equal(pmd_find(&pt, page(17)), pmd);
	assert_int_equal(page_table_pool_live(pool), 3);
	assert_int_equal(pte_alloc(&pt, pmd), 0);
	assert_int_equal(pte_alloc(&pt, pmd), 0);
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 1);
	/* A PMD with a huge page is not given a table. */
	set_pmd_at(pmd + 1, pfn_pmd_huge(8, PAGE_READONLY));
	assert_int_equal(pte_alloc(&pt, pmd + 1), 0);
	assert_true(pmd_trans_huge(pmd[1]));
	set_pmd_at(pmd + 1, __pmd(0));
}

/* Each table has its own lock: of PTEs by table, of PMDs by table. */
static void locks_are_split_by_table(void **state)
{
	pmd_t *a, *b, *far;

	(void)state;
	put_entry(page(0), 0);
	put_entry(page(4), 0);
	put_entry(page(64), 0);
	a = pmd_find(&pt, page(0));
	b = pmd_find(&pt, page(4));
	far = pmd_find(&pt, page(64));
	assert_ptr_equal(pmd_lockptr(&pt, a), pmd_lockptr(&pt, b));
	assert_ptr_not_equal(pmd_lockptr(&pt, a), pmd_lockptr(&pt, far));
	assert_ptr_not_equal(pte_lockptr(&pt, *a), pte_lockptr(&pt, *b));
	assert_ptr_not_equal(pte_lockptr(&pt, *a), pmd_lockptr(&pt, a));
}

/* ---- pmd_next: against a brute-force search */

/*
 *      pages 3, 70, 71, 200 mapped; a huge page at 240
 * Expect: from any start to any end, the entries a search page by page would meet, each once.
 */
static void the_next_entry_is_found_over_any_gap(void **state)
{
	static const u64 mapped[] = { 3, 70, 71, 200 };
	u64 start, end;
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(mapped); i++)
		put_entry(page(mapped[i]), PAGE_READONLY);
	set_pmd_at(pmd_alloc(&pt, page(240)), pfn_pmd_huge(8, PAGE_READONLY));
	/* Tables without entries, and a PMD table with none entries only, are skipped. */
	pmd_alloc(&pt, page(130));
	for (start = 0; start < 256; start++) {
		for (end = start; end <= 256; end += 5) {
			u64 addr = page(start), want = start;

			for (;;) {
				pmd_t *pmd = NULL, *got = pmd_next(&pt, &addr, page(end));

				for (; want < end; want = (want | 3) + 1) {
					pmd = pmd_find(&pt, page(want));
					if (pmd && !pmd_none(*pmd))
						break;
				}
				if (want >= end) {
					assert_null(got);
					break;
				}
				assert_ptr_equal(got, pmd);
				assert_int_equal(addr, page(want));
				want = (want | 3) + 1;
				addr = page(want);
			}
		}
	}
	for (i = 0; i < ARRAY_SIZE(mapped); i++)
		put_entry(page(mapped[i]), 0);
	set_pmd_at(pmd_find(&pt, page(240)), __pmd(0));
}

/* A whole 48-bit address space with one page at each end: two steps, not 2^36. */
static void absent_upper_levels_are_skipped_in_one_step(void **state)
{
	u64 addr = 0, last = task_size(&pt) - PAGE_SIZE;

	(void)state;
	put_entry(0, PAGE_READONLY);
	put_entry(last, PAGE_READONLY);
	assert_non_null(pmd_next(&pt, &addr, task_size(&pt)));
	assert_int_equal(addr, 0);
	addr = pmd_size(&pt);
	assert_non_null(pmd_next(&pt, &addr, task_size(&pt)));
	assert_int_equal(addr, last & pmd_mask(&pt));
	addr = last;
	assert_non_null(pmd_next(&pt, &addr, task_size(&pt)));
	assert_int_equal(addr, last);
	put_entry(0, 0);
	put_entry(last, 0);
}

/* ---- freeing */

/*
 * free_pgtables() between two neighbours frees what lies wholly in the gap, nothing that they use. The bounds are the
 * neighbours' ends.
 *
 *      page      60  61 62 63 | 64 ...              79 | 80
 *      mapped    x   -  -  -    -                   -    x
 * Expect: freeing [61, 80) takes the tables of 64..79 (a PMD table's worth, on 2-bit levels), not those of 60 and 80.
 */
static void only_tables_wholly_in_the_range_are_freed(void **state)
{
	u64 i;

	(void)state;
	for (i = 60; i <= 80; i++)
		put_entry(page(i), 0);
	put_entry(page(60), PAGE_READONLY);
	put_entry(page(80), PAGE_READONLY);
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 6);
	assert_int_equal(atomic_long_read(&pt.nr_pmds), 3);
	free_pgtables(&pt, page(61), page(80));
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 2);
	assert_int_equal(atomic_long_read(&pt.nr_pmds), 2);
	assert_int_equal(atomic_long_read(&pt.nr_puds), 2);
	assert_int_equal(get_entry(page(60)), PAGE_READONLY);
	assert_int_equal(get_entry(page(80)), PAGE_READONLY);
	assert_true(pmd_none(*pmd_find(&pt, page(84))));
	put_entry(page(60), 0);
	put_entry(page(80), 0);
	/* Nothing is left to the left or right: all goes. */
	free_pgtables(&pt, 0, task_size(&pt));
	assert_int_equal(page_table_pool_live(pool), 1);
}

/*
 * The range that was unmapped is smaller than the gap it leaves.
 *
 *      page      0 ... 63 | 64 .. 67 | 68 ... 255
 *      tables    x  x  x       x       x   x   x       all empty; only 64..67 was unmapped just now
 * Expect: its PTE table goes, and of the upper ones none that still has others below; with those gone, all go.
 */
static void only_what_the_range_touches_is_looked_at(void **state)
{
	(void)state;
	put_entry(page(0), 0);
	put_entry(page(64), 0);
	put_entry(page(128), 0);
	put_entry(page(255), 0);
	free_pgd_range(&pt, page(66), page(67), page(64), page(80));
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 3);
	assert_int_equal(atomic_long_read(&pt.nr_pmds), 3);
	assert_int_equal(atomic_long_read(&pt.nr_puds), 4); /* a PUD's table covers 64 pages, more than the gap */
	free_pgd_range(&pt, page(0), page(1), 0, page(4));
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 2);
	assert_int_equal(atomic_long_read(&pt.nr_pmds), 3);
	free_pgd_range(&pt, page(255), page(256), page(192), task_size(&pt));
	assert_int_equal(atomic_long_read(&pt.nr_ptes), 1);
	assert_int_equal(atomic_long_read(&pt.nr_pmds), 2);
	assert_int_equal(atomic_long_read(&pt.nr_puds), 3);
	free_pgtables(&pt, 0, task_size(&pt));
	assert_int_equal(page_table_pool_live(pool), 1);
}

/* Every range on a full address space: what goes is what a count by arithmetic says. */
static void freed_tables_are_those_the_arithmetic_says(void **state)
{
	static const u64 bounds[] = { 0, 1, 4, 15, 16, 17, 63, 64, 65, 100, 128, 192, 240, 252, 255, 256 };
	unsigned int a, b;
	u64 i;

	(void)state;
	for (a = 0; a < ARRAY_SIZE(bounds); a++) {
		for (b = a + 1; b < ARRAY_SIZE(bounds); b++) {
			u64 from = bounds[a], to = bounds[b], ptes = 64, pmds = 16, puds = 4;

			for (i = 0; i < 256; i++)
				put_entry(page(i), 0);
			for (i = 0; i < 256; i += 4)
				ptes -= i >= from && i + 4 <= to;
			for (i = 0; i < 256; i += 16)
				pmds -= i >= from && i + 16 <= to;
			for (i = 0; i < 256; i += 64)
				puds -= i >= from && i + 64 <= to;
			free_pgtables(&pt, page(from), page(to));
			assert_int_equal(atomic_long_read(&pt.nr_ptes), ptes);
			assert_int_equal(atomic_long_read(&pt.nr_pmds), pmds);
			assert_int_equal(atomic_long_read(&pt.nr_puds), puds);
			assert_int_equal(page_table_pool_live(pool), ptes + pmds + puds + 1);
		}
	}
}

static void freeing_a_table_with_an_entry_is_a_bug(void **state)
{
	(void)state;
	put_entry(page(9), PAGE_READONLY);
	expect_bug(free_pgtables(&pt, 0, task_size(&pt)));
	put_entry(page(9), 0);
}

/* T2: a table that comes back from the pool holds none entries only. */
static void a_recycled_table_is_empty(void **state)
{
	pte_t *table = pte_alloc_one(&pt);
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++)
		table[i] = __pte(0xdead0000 | _PAGE_PRESENT);
	pte_free(&pt, table);
	assert_ptr_equal(pte_alloc_one(&pt), table);
	for (i = 0; i < 4; i++)
		assert_true(pte_none(table[i]));
	pte_free(&pt, table);
	pte_free(&pt, NULL);
}

/* ---- deposits */

/* Three huge PMDs in one table of PMDs: three deposits, any order out, none in another table's store. */
static void deposits_are_kept_with_the_table_of_PMDs(void **state)
{
	pmd_t *pmd = pmd_alloc(&pt, 0), *far = pmd_alloc(&pt, page(64));
	pte_t *table[3], *out;
	unsigned int i, k, seen = 0;

	(void)state;
	for (i = 0; i < 3; i++) {
		table[i] = pte_alloc_one(&pt);
		pgtable_trans_huge_deposit(&pt, pmd + i, table[i]);
	}
	assert_int_equal(pgtable_trans_huge_deposits(pmd), 3);
	assert_int_equal(pgtable_trans_huge_deposits(pmd + 3), 3);
	assert_int_equal(pgtable_trans_huge_deposits(far), 0);
	for (i = 0; i < 3; i++) {
		out = pgtable_trans_huge_withdraw(&pt, pmd + (2 - i));
		for (k = 0; k < 3; k++)
			if (out == table[k])
				seen |= 1U << k;
		pte_free(&pt, out);
	}
	assert_int_equal(seen, 7);
	assert_int_equal(pgtable_trans_huge_deposits(pmd), 0);
}

/* ---- without memory */

/* Tables come from chunks: only every few hundredth needs host memory. Fail each request on the way to one entry. */
static void without_memory_nothing_is_made(void **state)
{
	struct page_table_pool *p;
	struct page_tables t;
	u64 n;

	(void)state;
	for (n = 1;; n++) {
		pmd_t *pmd = NULL;
		int error = -ENOMEM;

		ps_alloc_fail_nth(n);
		p = page_table_pool_new(2);
		if (p && !page_tables_init(&t, p, 1)) {
			pmd = pmd_alloc(&t, page(33));
			error = pmd ? pte_alloc(&t, pmd) : -ENOMEM;
			page_tables_destroy(&t);
		}
		if (p)
			assert_int_equal(page_table_pool_live(p), 0);
		page_table_pool_free(p);
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(error, 0);
			break;
		}
		assert_int_equal(error, -ENOMEM);
	}
	assert_true(n > 2);
}

/*
 * A pool with k tables left that cannot grow, for every k: a walk to a new page takes three (PUD, PMD, PTE).
 * Expect: NULL or -ENOMEM at the table that is missing; those made before stay in the tree, and are freed with it.
 */
static void a_walk_stops_at_the_table_that_is_missing(void **state)
{
	pte_t *table[600];
	unsigned int room = 0, left;

	(void)state;
	ps_alloc_fail_nth(1);
	while ((table[room] = pte_alloc_one(&pt)))
		assert_true(++room < ARRAY_SIZE(table));
	assert_false(ps_alloc_fail_nth(0)); /* the pool asked, and got nothing */
	for (left = 0; left <= 3; left++) {
		unsigned int i;
		pmd_t *pmd;

		for (i = 0; i < left; i++)
			pte_free(&pt, table[--room]);
		ps_alloc_fail_nth(1);
		pmd = pmd_alloc(&pt, page(100));
		assert_int_equal(pmd != NULL, left >= 2);
		if (pmd)
			assert_int_equal(pte_alloc(&pt, pmd), left >= 3 ? 0 : -ENOMEM);
		ps_alloc_fail_nth(0);
		assert_int_equal(atomic_long_read(&pt.nr_puds), left >= 1);
		assert_int_equal(atomic_long_read(&pt.nr_pmds), left >= 2);
		assert_int_equal(atomic_long_read(&pt.nr_ptes), left >= 3);
		free_pgtables(&pt, 0, task_size(&pt));
		assert_int_equal(atomic_long_read(&pt.nr_puds) + atomic_long_read(&pt.nr_pmds) +
					 atomic_long_read(&pt.nr_ptes),
				 0);
		for (i = 0; i < left; i++)
			table[room++] = pte_alloc_one(&pt);
	}
	while (room)
		pte_free(&pt, table[--room]);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_setup_teardown(geometry_follows_the_bits, tiny, teardown),
		cmocka_unit_test_setup_teardown(geometry_of_the_usual_machine, usual, teardown),
		cmocka_unit_test_setup_teardown(an_empty_address_space_finds_nothing, tiny, teardown),
		cmocka_unit_test_setup_teardown(beyond_the_end_there_is_nothing, tiny, teardown),
		cmocka_unit_test_setup_teardown(every_address_has_its_own_entry, tiny, teardown),
		cmocka_unit_test_setup_teardown(tables_are_shared_and_made_once, tiny, teardown),
		cmocka_unit_test_setup_teardown(locks_are_split_by_table, tiny, teardown),
		cmocka_unit_test_setup_teardown(the_next_entry_is_found_over_any_gap, tiny, teardown),
		cmocka_unit_test_setup_teardown(absent_upper_levels_are_skipped_in_one_step, usual, teardown),
		cmocka_unit_test_setup_teardown(only_tables_wholly_in_the_range_are_freed, tiny, teardown),
		cmocka_unit_test_setup_teardown(only_what_the_range_touches_is_looked_at, tiny, teardown),
		cmocka_unit_test_setup_teardown(freed_tables_are_those_the_arithmetic_says, tiny, teardown),
		cmocka_unit_test_setup_teardown(freeing_a_table_with_an_entry_is_a_bug, tiny, teardown),
		cmocka_unit_test_setup_teardown(a_recycled_table_is_empty, tiny, teardown),
		cmocka_unit_test_setup_teardown(deposits_are_kept_with_the_table_of_PMDs, tiny, teardown),
		cmocka_unit_test_setup_teardown(without_memory_nothing_is_made, tiny, teardown),
		cmocka_unit_test_setup_teardown(a_walk_stops_at_the_table_that_is_missing, tiny, teardown),
	};

	return cmocka_run_group_tests_name("page tables", tests, NULL, NULL);
}
