/* SPDX-License-Identifier: MIT */
/*
 * Mapping, unmapping and finding: mapcounts and counters of small and huge pages, the walk from a page to its entries, and
 * what is done on such walks (referenced bits, write protection, unmapping of file pages).
 */
#include "fixtures/scene_rmap.h"

#include <pagesim/writeback.h>

static struct mm_struct *a;
static u32 nr; /* pages of a huge page: 4 */

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

static void split_pmd_of(struct vm_area_struct *vma, u64 addr)
{
	split_huge_pmd_address(vma, addr, false, NULL);
}

/* ---- counts */

static void a_new_page_is_mapped_once_and_exclusive(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in(vma, page(9));

	(void)state;
	assert_true(PageAnon(p) && PageSwapBacked(p) && PageAnonExclusive(p));
	assert_int_equal(page_mapcount(p), 1);
	assert_int_equal(p->index, 9);
	assert_ptr_equal((void *)((unsigned long)p->mapping - PAGE_MAPPING_ANON), vma->anon_vma);
	assert_int_equal(vmstat("nr_anon_pages"), 1);
	unmap_pte(vma, page(9));
	assert_int_equal(vmstat("nr_anon_pages"), 0);
}

/*
 *      huge page     PMD of A    PMD of B    PTEs of A
 *      step          mapcount of each small page, counters
 */
static void a_huge_page_is_counted_by_PMDs_and_PTEs(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 8, 0), *vb;
	struct page *head = fault_in_huge(va, page(8));
	u32 i;

	(void)state;
	assert_int_equal(compound_mapcount(head), 1);
	assert_int_equal(total_mapcount(head), 1);
	assert_int_equal(vmstat("nr_anon_pages"), nr);
	assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 1);

	vb = fork_vma(process("B")->mm, va);
	assert_int_equal(compound_mapcount(head), 2);
	assert_int_equal(page_mapcount(head + 1), 2);
	assert_false(PageAnonExclusive(head));
	assert_int_equal(vmstat("nr_anon_pages"), nr);

	/* A's PMD becomes PTEs: B's still maps the whole. */
	split_pmd_of(va, page(8));
	assert_int_equal(compound_mapcount(head), 1);
	assert_int_equal(total_mapcount(head), 1 + (int)nr);
	assert_int_equal(page_mapcount(head + 1), 2);
	assert_int_equal(vmstat("nr_anon_pages"), nr);
	assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 1);
	expect_sound();

	/* B's goes: only A's PTEs are left. */
	unmap_pmd(vb, page(8));
	assert_int_equal(compound_mapcount(head), 0);
	assert_int_equal(vmstat("nr_anon_pages"), nr);
	assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 0);
	expect_sound();

	/* One by one A's go: from the first on, the page waits to be split. */
	assert_int_equal(vmstat("thp_deferred_split_page"), 0);
	for (i = 0; i < nr - 1; i++) {
		unmap_pte(va, page(8 + i));
		assert_int_equal(vmstat("nr_anon_pages"), nr - 1 - i);
		assert_int_equal(vmstat("thp_deferred_split_page"), 1);
		expect_sound();
	}
}

static void file_pages_are_counted_apart(void **state)
{
	struct vm_area_struct *vma;
	struct inode *inode;
	struct page *p;

	(void)state;
	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	assert_int_equal(file_write_page(inode, 3, 77, &(struct ps_page_source){ 0 }), 0);
	lru_add_drain_all();
	p = find_get_page(inode->i_mapping, 3);
	vma = new_file_vma(a, page(8), 8, VM_READ | VM_WRITE | VM_SHARED | VM_SOFTDIRTY, inode, 0);
	assert_int_equal(vmstat("nr_mapped"), 0);
	map_cached(vma, page(11), p, true);
	assert_int_equal(page_mapcount(p), 1);
	assert_int_equal(vmstat("nr_mapped"), 1);
	assert_int_equal(vmstat("nr_anon_pages"), 0);
	put_page(p);
	expect_sound();
	unmap_pte(vma, page(11));
	assert_int_equal(vmstat("nr_mapped"), 0);
	iput(inode);
}

/* ---- exclusive and shared */

/* A pin makes sharing impossible: the device writes where the owner reads. */
static void a_pinned_page_is_not_shared(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);
	struct page *small = fault_in(vma, page(12)), *huge = fault_in_huge(vma, page(8));

	(void)state;
	lru_add_drain_all();
	assert_true(page_pin(small, 1) && page_pin(huge, 1));
	assert_int_equal(page_try_dup_anon_rmap(small, false), -EBUSY);
	assert_int_equal(page_try_dup_anon_rmap(huge, true), -EBUSY);
	assert_int_equal(page_try_share_anon_rmap(small), -EBUSY);
	assert_true(PageAnonExclusive(small) && PageAnonExclusive(huge));
	assert_int_equal(page_mapcount(small), 1);
	assert_int_equal(compound_mapcount(huge), 1);
	page_unpin(small, 1);
	page_unpin(huge, 1);
	assert_int_equal(page_try_share_anon_rmap(small), 0);
	assert_false(PageAnonExclusive(small));
	SetPageAnonExclusive(small);
}

/* A shared page may be pinned for reading by somebody: fork again shares it again. */
static void a_page_shared_already_can_be_shared_though_pinned(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in(va, page(8));

	(void)state;
	fork_vma(process("B")->mm, va);
	lru_add_drain_all();
	assert_true(page_pin(p, 1));
	fork_vma(process("C")->mm, va);
	assert_int_equal(page_mapcount(p), 3);
	page_unpin(p, 1);
}

/* B's page was born in B: after fork to C and C's end, a write fault of B reuses it; it is B's own again. */
static void a_reused_page_moves_to_its_owner_s_anon_vma(void **state)
{
	struct task_struct *tc;
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb;
	struct page *p = fault_in(va, page(8));

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	as(scene->task[0]);
	unmap_pte(va, page(8));
	tc = scene->task[1];
	as(tc);
	lru_add_drain_all();
	assert_int_equal(page_mapcount(p), 1);
	assert_ptr_not_equal((void *)((unsigned long)p->mapping - PAGE_MAPPING_ANON), vb->anon_vma);
	expect_bug(page_move_anon_rmap(p, vb)); /* not without the page lock */
	lock_page(p);
	page_move_anon_rmap(p, vb);
	unlock_page(p);
	assert_ptr_equal((void *)((unsigned long)p->mapping - PAGE_MAPPING_ANON), vb->anon_vma);
	assert_true(PageAnonExclusive(p));
}

/* ---- the walk */

struct found {
	int entries, huge, vmas;
	u64 first;
};

static bool collect(struct page *p, struct vm_area_struct *vma, u64 addr, void *arg)
{
	struct found *f = (struct found *)arg;
	struct page_vma_mapped_walk walk;

	f->vmas++;
	page_vma_mapped_walk_init(&walk, p, vma, addr, 0);
	while (page_vma_mapped_walk(&walk)) {
		if (!f->entries)
			f->first = walk.address;
		f->entries++;
		f->huge += !walk.pte;
		assert_non_null(walk.ptl);
	}
	assert_null(walk.ptl);
	return true;
}

static struct found walk_page(struct page *p)
{
	struct found f = { 0 };
	struct rmap_walk_control control = { .arg = &f, .rmap_one = collect };

	rmap_walk(p, &control);
	return f;
}

/* A small page: one entry in each of the VMAs that have it; VMAs that could have it are visited too. */
static void a_walk_finds_each_mapping_of_a_small_page(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 8, 0), *vb, *vc;
	struct page *p = fault_in(va, page(10)), *other = fault_in(va, page(11));
	struct found f;

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	vc = fork_vma(process("C")->mm, vb);
	unmap_pte(vc, page(10));
	f = walk_page(p);
	assert_int_equal(f.vmas, 3);
	assert_int_equal(f.entries, 2);
	assert_int_equal(f.first, page(10));
	assert_int_equal(walk_page(other).entries, 3);
}

/*
 * A huge page moved by mremap to a place that is not aligned, mapped by PTEs across two tables:
 *
 *      table   |  .  .  0  1 |  2  3  .  . |
 *      page      12 13 14 15   16 17
 * Expect: all four entries, both tables' locks taken in turn.
 */
static void a_walk_crosses_tables_at_unaligned_places(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0), *moved;
	struct page *head = fault_in_huge(vma, page(8));
	struct found f;
	u32 i;

	(void)state;
	split_pmd_of(vma, page(8));
	moved = vm_area_dup(vma);
	moved->vm_start = page(14);
	moved->vm_end = page(18);
	moved->anon_vma = vma->anon_vma;
	assert_int_equal(anon_vma_clone(moved, vma), 0);
	vma_link_tree(moved);
	for (i = 0; i < nr; i++) {
		pte_t pte = entry_at(a, page(8 + i));

		set_entry(a, page(14 + i), pte);
		set_entry(a, page(8 + i), __pte(0));
	}
	f = walk_page(head);
	assert_int_equal(f.entries, nr);
	assert_int_equal(f.vmas, 2);
	assert_int_equal(f.first, page(14));
	for (i = 1; i < nr; i++) {
		f = walk_page(head + i);
		assert_int_equal(f.entries, 1);
		assert_int_equal(f.first, page(14 + i));
	}
	expect_sound();
}

/* VMAs cut through the middle of a huge page: the walk of the head starts in the VMA that has only tails. */
static void a_walk_of_a_head_finds_tails_in_a_vma_of_their_own(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0), *upper;
	struct page *head = fault_in_huge(vma, page(8));

	(void)state;
	split_pmd_of(vma, page(8));
	/* The lower two pages go; the upper half keeps its offset. */
	unmap_pte(vma, page(8));
	unmap_pte(vma, page(9));
	upper = vm_area_dup(vma);
	upper->vm_start = page(10);
	upper->vm_pgoff = 10;
	upper->anon_vma = vma->anon_vma;
	assert_int_equal(anon_vma_clone(upper, vma), 0);
	unlink_anon_vmas(vma);
	vma_unlink_tree(vma);
	vm_area_free(vma);
	vma_link_tree(upper);
	assert_int_equal(vma_address(head, upper), page(10));
	assert_int_equal(vma_address(head + 1, upper), U64_MAX);
	assert_int_equal(walk_page(head).entries, 2);
	assert_int_equal(walk_page(head).first, page(10));
	expect_sound();
}

static void a_PMD_is_found_once_and_for_tails_too(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *head = fault_in_huge(vma, page(8));
	struct found f = walk_page(head);

	(void)state;
	assert_int_equal(f.entries, 1);
	assert_int_equal(f.huge, 1);
	f = walk_page(head + 2);
	assert_int_equal(f.entries, 1);
	assert_int_equal(f.huge, 1);
}

static bool stop_at_once(struct page *p, struct vm_area_struct *vma, u64 addr, void *arg)
{
	(void)p, (void)vma, (void)addr;
	++*(int *)arg;
	return false;
}

static bool go_on(struct page *p, struct vm_area_struct *vma, u64 addr, void *arg)
{
	(void)p, (void)vma, (void)addr;
	++*(int *)arg;
	return true;
}

static int done_at_once(struct page *p)
{
	(void)p;
	return 1;
}

static void a_walk_stops_when_told(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 8, 0);
	struct page *p = fault_in(va, page(10));
	int n = 0;
	struct rmap_walk_control stop = { .arg = &n, .rmap_one = stop_at_once }, all = { .arg = &n, .rmap_one = go_on },
				 done = { .arg = &n, .rmap_one = go_on, .done = done_at_once };

	(void)state;
	fork_vma(process("B")->mm, va);
	rmap_walk(p, &stop);
	assert_int_equal(n, 1);
	n = 0;
	rmap_walk(p, &all);
	assert_int_equal(n, 2);
	n = 0;
	rmap_walk(p, &done);
	assert_int_equal(n, 1);
	n = 0;
	anon_vma_lock_read(va->anon_vma);
	rmap_walk_locked(p, &all);
	anon_vma_unlock_read(va->anon_vma);
	assert_int_equal(n, 2);
}

/* A file mapped three times, at different offsets; one mapping does not cover the page. */
static void a_walk_finds_each_mapping_of_a_file_page(void **state)
{
	const u64 flags = VM_READ | VM_WRITE | VM_SHARED | VM_SOFTDIRTY;
	struct vm_area_struct *v1, *v2, *v3;
	struct inode *inode;
	struct page *p;
	struct found f;

	(void)state;
	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	assert_int_equal(file_write_page(inode, 6, 77, &(struct ps_page_source){ 0 }), 0);
	lru_add_drain_all();
	p = find_get_page(inode->i_mapping, 6);
	v1 = new_file_vma(a, page(8), 8, flags, inode, 0);
	v2 = new_file_vma(a, page(32), 4, flags & ~VM_WRITE, inode, 4);
	v3 = new_file_vma(a, page(40), 4, flags, inode, 8);
	map_cached(v1, page(14), p, true);
	map_cached(v2, page(34), p, false);
	f = walk_page(p);
	assert_int_equal(f.vmas, 2);
	assert_int_equal(f.entries, 2);
	assert_int_equal(vma_address(p, v3), U64_MAX);

	/* Write protection: only the writable, dirty one changes; once. */
	lock_page(p);
	assert_int_equal(page_mkclean(p), 1);
	assert_int_equal(page_mkclean(p), 0);
	assert_false(pte_write(entry_at(a, page(14))) || pte_dirty(entry_at(a, page(14))));
	unlock_page(p);

	/* And away with it, keeping what the entries knew. */
	set_entry(a, page(14), pte_mkdirty(entry_at(a, page(14))));
	ClearPageDirty(p);
	lock_page(p);
	try_to_unmap(p, 0);
	assert_false(page_mapped(p));
	assert_true(PageDirty(p));
	unlock_page(p);
	assert_int_equal(get_mm_counter(a, MM_SHMEMPAGES), 0);
	put_page(p);
	iput(inode);
}

/* ---- referenced */

/* Two mappings, one young; asked once: 1, asked again: 0. The flags of who used it are told. */
static void referenced_counts_mappings_used_since_last_time(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 8, 0), *vb;
	struct page *p = fault_in(va, page(8)), *unmapped = alloc_pages(GFP_KERNEL, 0);
	u64 flags;

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	vb->vm_flags |= VM_HUGEPAGE;
	lock_page(p);
	assert_int_equal(page_referenced(p, &flags), 1); /* the child's entry starts old */
	assert_false(flags & VM_HUGEPAGE);
	assert_int_equal(page_referenced(p, &flags), 0);
	assert_int_equal(flags, 0);
	set_entry(vb->vm_mm, page(8), pte_mkyoung(entry_at(vb->vm_mm, page(8))));
	set_entry(a, page(8), pte_mkyoung(entry_at(a, page(8))));
	assert_int_equal(page_referenced(p, &flags), 2);
	assert_true(flags & VM_HUGEPAGE);
	unlock_page(p);
	assert_int_equal(page_referenced(unmapped, &flags), 0);
	put_page(unmapped);
}

static void a_huge_page_is_referenced_by_its_PMD(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *head = fault_in_huge(vma, page(8));
	u64 flags;

	(void)state;
	lock_page(head);
	assert_int_equal(page_referenced(head, &flags), 1);
	assert_int_equal(page_referenced(head, &flags), 0);
	assert_false(pmd_young(*pmd_find(&a->pt, page(8))));
	unlock_page(head);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(a_new_page_is_mapped_once_and_exclusive),
		test(a_huge_page_is_counted_by_PMDs_and_PTEs),
		test(file_pages_are_counted_apart),
		test(a_pinned_page_is_not_shared),
		test(a_page_shared_already_can_be_shared_though_pinned),
		test(a_reused_page_moves_to_its_owner_s_anon_vma),
		test(a_walk_finds_each_mapping_of_a_small_page),
		test(a_walk_crosses_tables_at_unaligned_places),
		test(a_walk_of_a_head_finds_tails_in_a_vma_of_their_own),
		test(a_PMD_is_found_once_and_for_tails_too),
		test(a_walk_stops_when_told),
		test(a_walk_finds_each_mapping_of_a_file_page),
		test(referenced_counts_mappings_used_since_last_time),
		test(a_huge_page_is_referenced_by_its_PMD),
	};

	return cmocka_run_group_tests_name("reverse mapping", tests, NULL, NULL);
}
