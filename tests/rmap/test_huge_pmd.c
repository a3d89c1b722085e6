/* SPDX-License-Identifier: MIT */
/*
 * Splitting a huge PMD: every kind of leaf becomes PTEs that say the same.
 */
#include "fixtures/scene_rmap.h"

#include <pagesim/shmem.h>

static struct mm_struct *a;
static u32 nr;

static int setup(void **state)
{
	(void)state;
	if (scene_rmap_setup("tiny"))
		return -1;
	a = process("A")->mm;
	nr = hpage_pmd_nr(&a->pt);
	return 0;
}

static u64 page(u64 n)
{
	return n << PAGE_SHIFT;
}

static pmd_t *pmdp(u64 addr)
{
	return pmd_find(&a->pt, addr);
}

/* ---- anonymous leaves */

/*
 * Properties of the leaf: writable, exclusive, young, dirty, soft-dirty, and PROT_NONE. Expect: every PTE has them all but
 * dirty, which goes to the page; the page is whole; one reference and one mapping of each small page instead of one of the whole.
 */
static void every_property_of_a_leaf_is_every_entry_s(void **state)
{
	unsigned int c;

	(void)state;
	for (c = 0; c < 64; c++) {
		const bool w = c & 1, x = c & 2, y = c & 4, d = c & 8, s = c & 16, none = c & 32;
		struct vm_area_struct *vma;
		struct page *head;
		unsigned int i;
		pmd_t leaf;

		if (w && (!x || none))
			continue;
		vma = new_vma(a, page(8), nr, 0);
		head = fault_in_huge(vma, page(8));
		lru_add_drain_all();
		leaf = __pmd(((u64)page_to_pfn(head) << PAGE_SHIFT) | _PAGE_PSE | (none ? PAGE_NONE : PAGE_READONLY));
		leaf = __pmd(leaf.val & ~_PAGE_ACCESSED);
		leaf = __pmd(leaf.val | (w ? _PAGE_RW : 0) | (y ? _PAGE_ACCESSED : 0) | (d ? _PAGE_DIRTY : 0) |
			     (s ? _PAGE_SOFT_DIRTY : 0));
		set_pmd_at(pmdp(page(8)), leaf);
		if (!x)
			ClearPageAnonExclusive(head);
		ClearPageDirty(head);
		split_huge_pmd_address(vma, page(9), false, NULL);
		assert_true(pmd_table(*pmdp(page(8))));
		for (i = 0; i < nr; i++) {
			pte_t pte = entry_at(a, page(8 + i));

			assert_int_equal(pte_pfn(pte), page_to_pfn(head) + i);
			if (pte_write(pte) != w || pte_young(pte) != y || pte_dirty(pte) || pte_protnone(pte) != none ||
			    PageAnonExclusive(head + i) != x)
				fail_msg("combination %u, page %u: %#lx", c, i, (unsigned long)pte.val);
			assert_int_equal(pte_soft_dirty(pte), s);
			assert_int_equal(atomic_read(&head[i]._mapcount), 0);
		}
		assert_true(PageHead(head));
		assert_int_equal(PageDirty(head), d);
		assert_int_equal(compound_mapcount(head), 0);
		assert_int_equal(page_ref_count(head), nr);
		assert_int_equal(vmstat("nr_anon_pages"), nr);
		assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 0);
		assert_int_equal(get_mm_counter(a, MM_ANONPAGES), nr);
		expect_sound();
		unmap_vma(vma);
	}
	assert_int_equal(vmstat("thp_split_pmd"), 40);
}

/* Writable in the leaf, but the VMA is read-only by now: the PTEs are read-only. */
static void entries_are_no_more_writable_than_the_vma(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);

	(void)state;
	fault_in_huge(vma, page(8));
	vma->vm_flags &= ~VM_WRITE;
	vma_set_page_prot(vma);
	split_huge_pmd_address(vma, page(8), false, NULL);
	assert_false(pte_write(entry_at(a, page(9))));
}

/* B splits its PMD, A's still maps the page whole. */
static void the_other_mapper_keeps_his_PMD(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb;
	struct page *head = fault_in_huge(va, page(8));

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	split_huge_pmd_address(vb, page(8), false, NULL);
	assert_true(pmd_trans_huge(*pmdp(page(8))));
	assert_true(PageDoubleMap(head));
	assert_int_equal(compound_mapcount(head), 1);
	assert_int_equal(page_mapcount(head), 2);
	expect_sound();
	unmap_pmd(va, page(8));
	assert_false(PageDoubleMap(head));
}

static void a_locked_vma_munlocks_the_whole(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *head;

	(void)state;
	vma->vm_flags |= VM_LOCKED;
	head = fault_in_huge(vma, page(8));
	lru_add_drain_all();
	assert_true(PageMlocked(head));
	split_huge_pmd_address(vma, page(8), false, NULL);
	lru_add_drain_all();
	assert_false(PageMlocked(head));
	assert_int_equal(vmstat("nr_mlock"), 0);
}

/* ---- with freeze */

/* Expect: migration entries at once, of the leaf's kind; neither mappings nor references are left. */
static void freezing_leaves_migration_entries(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *head = fault_in_huge(vma, page(8));
	unsigned int i;

	(void)state;
	lru_add_drain_all();
	get_page(head);
	hold(head, 1);
	lock_page(head);
	split_huge_pmd_address(vma, page(8), true, head);
	for (i = 0; i < nr; i++) {
		swp_entry_t entry = pte_to_swp_entry(entry_at(a, page(8 + i)));

		assert_true(is_writable_migration_entry(entry));
		assert_int_equal(swp_offset(entry), page_to_pfn(head) + i);
		assert_true(pte_migration_young(entry_at(a, page(8 + i))));
		assert_true(pte_migration_dirty(entry_at(a, page(8 + i))));
	}
	assert_false(page_mapped(head));
	assert_int_equal(page_ref_count(head), 1);
	expect_sound_busy();
	remove_migration_ptes(head, head, false);
	unlock_page(head);
	assert_int_equal(page_ref_count(head), 1 + nr);
	unhold(head, 1);
	put_page(head);
}

/* A pinned page is split into present entries instead. */
static void freezing_gives_way_to_a_pin(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *head = fault_in_huge(vma, page(8));

	(void)state;
	lru_add_drain_all();
	assert_true(page_pin(head, 1));
	lock_page(head);
	split_huge_pmd_address(vma, page(8), true, head);
	unlock_page(head);
	assert_true(pte_present(entry_at(a, page(8))));
	assert_true(PageAnonExclusive(head + 3));
	assert_int_equal(page_ref_count(head), 1 + nr);
	page_unpin(head, 1);
}

/*
 * A walk from a page comes to a place where meanwhile another huge page is mapped:
 *
 *   1. A's huge page P is shared with B, whose PMD is gone; B has a huge page Q of its own at the same address
 *   2. P is to be split: the walk of its anon_vma visits B's VMA
 * Expect: Q's PMD is not touched. (It once was frozen with no one to restore it, and Q was freed under B.)
 */
static void a_PMD_of_another_page_is_left_alone(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb;
	struct page *p = fault_in_huge(va, page(8)), *q;
	struct mm_struct *b = process("B")->mm;
	pmd_t *pmd;

	(void)state;
	vb = fork_vma(b, va);
	unmap_pmd(vb, page(8));
	q = fault_in_huge(vb, page(8));
	lru_add_drain_all();
	pmd = pmd_find(&b->pt, page(8));
	get_page(p);
	hold(p, 1);
	lock_page(p);
	try_to_migrate(p, TTU_SPLIT_HUGE_PMD, NULL);
	assert_false(page_mapped(p));
	assert_true(pmd_trans_huge(*pmd) && pmd_pfn(*pmd) == page_to_pfn(q));
	assert_int_equal(compound_mapcount(q), 1);
	remove_migration_ptes(p, p, false);
	unlock_page(p);
	unhold(p, 1);
	put_page(p);
	expect_sound();
	/* Nor is a migration entry of another page. */
	get_page(q);
	lock_page(q);
	try_to_migrate(q, 0, NULL);
	split_huge_pmd_address(vb, page(8), false, p);
	assert_true(is_pmd_migration_entry(*pmd));
	remove_migration_ptes(q, q, false);
	unlock_page(q);
	put_page(q);
}

/* ---- other leaves */

static void a_migration_entry_becomes_small_ones_of_its_kind(void **state)
{
	static const struct {
		bool write, exclusive, young, dirty;
	} table[] = { { true, true, true, true }, { false, true, false, true }, { false, false, true, false } };
	unsigned int t, i;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(table); t++) {
		struct vm_area_struct *vma = new_vma(a, page(8), nr, 0);
		struct page *head = fault_in_huge(vma, page(8));
		pmd_t pmd = *pmdp(page(8));

		lru_add_drain_all();
		pmd = table[t].write ? pmd : pmd_wrprotect(pmd);
		pmd = table[t].young ? pmd : pmd_mkold(pmd);
		pmd = table[t].dirty ? pmd : pmd_mkclean(pmd);
		set_pmd_at(pmdp(page(8)), pmd);
		if (!table[t].exclusive)
			ClearPageAnonExclusive(head);
		get_page(head);
		hold(head, 1);
		lock_page(head);
		try_to_migrate(head, 0, NULL);
		split_huge_pmd_address(vma, page(8), false, NULL);
		for (i = 0; i < nr; i++) {
			pte_t pte = entry_at(a, page(8 + i));
			swp_entry_t entry = pte_to_swp_entry(pte);

			assert_int_equal(swp_offset(entry), page_to_pfn(head) + i);
			assert_int_equal(is_writable_migration_entry(entry), table[t].write);
			assert_int_equal(is_readable_migration_entry(entry), !table[t].exclusive);
			assert_int_equal(pte_migration_young(pte), table[t].young);
			assert_int_equal(pte_migration_dirty(pte), table[t].dirty);
			assert_true(pte_swp_soft_dirty(pte));
		}
		expect_sound_busy();
		remove_migration_ptes(head, head, false);
		unlock_page(head);
		unhold(head, 1);
		put_page(head);
		assert_int_equal(page_mapcount(head + 1), 1);
		expect_sound();
		unmap_vma(vma);
	}
}

/* Reading untouched huge memory maps the zero page whole; split, each small page is the small zero page. */
static void the_huge_zero_page_becomes_small_zero_pages(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *zero = alloc_pages((GFP_TRANSHUGE | __GFP_ZERO) & ~__GFP_MOVABLE, a->pt.bits);
	pmd_t *pmd = pmd_alloc(&a->pt, page(8));
	unsigned int i;

	(void)state;
	pgtable_trans_huge_deposit(&a->pt, pmd, pte_alloc_one(&a->pt));
	mm_inc_nr_ptes(&a->pt);
	set_pmd_at(pmd, pmd_mkspecial(pfn_pmd_huge(page_to_pfn(zero), vma->vm_page_prot)));
	assert_true(is_huge_zero_pmd(*pmd));
	split_huge_pmd_address(vma, page(8), false, NULL);
	for (i = 0; i < nr; i++) {
		assert_true(is_zero_pte(entry_at(a, page(8 + i))));
		assert_int_equal(pte_pfn(entry_at(a, page(8 + i))), page_to_pfn(ps_zero_page()));
	}
	assert_int_equal(get_mm_counter(a, MM_ANONPAGES), 0);
	__free_pages(zero, a->pt.bits);
}

/* A huge page of a file: nothing is kept but what it knew of writes and reads. */
static void a_file_leaf_is_forgotten_but_not_its_dirty_bit(void **state)
{
	struct vm_area_struct *vma;
	struct inode *inode;
	struct page *head;
	pmd_t *pmd;

	(void)state;
	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	scene->machine->files->tmpfs_huge = SHMEM_HUGE_ALWAYS;
	assert_int_equal(file_write_page(inode, 0, 7, &(struct ps_page_source){ 0 }), 0);
	lru_add_drain_all();
	head = find_get_page(inode->i_mapping, 0); /* the reference becomes the mapping's */
	assert_true(PageHead(head));
	ClearPageDirty(head);
	ClearPageReferenced(head);
	vma = new_file_vma(a, page(8), nr, VM_READ | VM_WRITE | VM_SHARED | VM_SOFTDIRTY, inode, 0);
	pmd = pmd_alloc(&a->pt, page(8));
	page_add_file_rmap(head, vma, true);
	add_mm_counter(a, MM_SHMEMPAGES, nr);
	set_pmd_at(pmd, pmd_mkdirty(pmd_mkyoung(pfn_pmd_huge(page_to_pfn(head), vma->vm_page_prot))));
	assert_int_equal(vmstat("nr_shmem_pmdmapped"), 1);
	assert_false(PageDirty(head));
	expect_sound();
	split_huge_pmd_address(vma, page(10), false, NULL);
	assert_true(pmd_none(*pmd));
	assert_true(PageDirty(head) && PageReferenced(head));
	assert_false(page_mapped(head));
	assert_int_equal(vmstat("nr_mapped"), 0);
	assert_int_equal(vmstat("nr_shmem_pmdmapped"), 0);
	assert_int_equal(get_mm_counter(a, MM_SHMEMPAGES), 0);
	iput(inode);
}

/* ---- when not to */

static void what_is_no_leaf_is_left_alone(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);
	pmd_t table;

	(void)state;
	split_huge_pmd_address(vma, page(8), false, NULL); /* nothing there */
	fault_in(vma, page(8));
	table = *pmdp(page(8));
	split_huge_pmd_address(vma, page(8), false, NULL);
	split_huge_pmd(vma, pmdp(page(8)), page(8));
	assert_int_equal(pmdp(page(8))->val, table.val);
	assert_int_equal(vmstat("thp_split_pmd"), 0);
	assert_null(pmd_trans_huge_lock(vma, pmdp(page(8))));
}

/* A VMA's ends move to where a huge page is in the middle: split there and only there. */
static void a_boundary_splits_what_lies_across_it(void **state)
{
	static const struct {
		u64 start, end; /* new ends, in pages, of a VMA over [8, 16) with huge pages at 8 and 12 */
		bool first, second;
	} table[] = {
		{ 8, 16, false, false },  { 9, 16, true, false }, { 8, 15, false, true },
		{ 12, 16, false, false }, { 10, 14, true, true }, { 8, 12, false, false },
	};
	unsigned int t;

	(void)state;
	for (t = 0; t < ARRAY_SIZE(table); t++) {
		struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);

		fault_in_huge(vma, page(8));
		fault_in_huge(vma, page(12));
		vma_adjust_trans_huge(vma, page(table[t].start), page(table[t].end));
		assert_int_equal(pmd_table(*pmdp(page(8))), table[t].first);
		assert_int_equal(pmd_table(*pmdp(page(12))), table[t].second);
		expect_sound();
		unmap_vma(vma);
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(every_property_of_a_leaf_is_every_entry_s),
		test(entries_are_no_more_writable_than_the_vma),
		test(the_other_mapper_keeps_his_PMD),
		test(a_locked_vma_munlocks_the_whole),
		test(freezing_leaves_migration_entries),
		test(freezing_gives_way_to_a_pin),
		test(a_PMD_of_another_page_is_left_alone),
		test(a_migration_entry_becomes_small_ones_of_its_kind),
		test(the_huge_zero_page_becomes_small_zero_pages),
		test(a_file_leaf_is_forgotten_but_not_its_dirty_bit),
		test(what_is_no_leaf_is_left_alone),
		test(a_boundary_splits_what_lies_across_it),
	};

	return cmocka_run_group_tests_name("splitting huge PMDs", tests, NULL, NULL);
}
