/* SPDX-License-Identifier: MIT */
/*
 * Unmapping into migration entries and back: every combination of bits survives, pins refuse, permissions taken away
 * meanwhile stay away, flushes are put off only where that is safe.
 */
#include "fixtures/scene_rmap.h"

#include <pagesim/tracepoint.h>

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

static void begin(struct page *p, unsigned int flags, struct tlb_batch *batch)
{
	get_page(p);
	hold(p, 1);
	lock_page_nested(p); /* some tests have several under way */
	try_to_migrate(p, flags, batch);
}

/* Back onto `to`; the locks and references of begin() go. */
static void end(struct page *p, struct page *to)
{
	remove_migration_ptes(p, to, false);
	unlock_page(p);
	unhold(p, 1);
	put_page(p);
}

/* ---- every bit */

/*
 * An entry's five properties, as bits of a number: writable, exclusive, young, dirty, soft-dirty. Writable implies exclusive.
 * Expect: the migration entry's kind and bits tell all five, and restoring gives the very entry back, save that what comes
 * back dirty is soft-dirty (making an entry dirty always does that, and move_pages of 6.1 shows it); dirty reaches the page.
 */
enum { W = 1, X = 2, Y = 4, D = 8, S = 16, ALL = 32 };

static u64 present_bits(unsigned int c)
{
	return (c & W ? _PAGE_RW : 0) | (c & Y ? _PAGE_ACCESSED : 0) | (c & D ? _PAGE_DIRTY : 0) |
	       (c & S ? _PAGE_SOFT_DIRTY : 0);
}

#define CHANGING (_PAGE_RW | _PAGE_ACCESSED | _PAGE_DIRTY | _PAGE_SOFT_DIRTY)

static void expect_kind(unsigned int c, swp_entry_t entry, u64 raw)
{
	assert_int_equal(is_writable_migration_entry(entry), !!(c & W));
	assert_int_equal(is_readable_exclusive_migration_entry(entry), (c & (W | X)) == X);
	assert_int_equal(is_readable_migration_entry(entry), !(c & X));
	assert_int_equal(!!(raw & _SWP_YOUNG), !!(c & Y));
	assert_int_equal(!!(raw & _SWP_DIRTY), !!(c & D));
	assert_int_equal(!!(raw & _SWP_SOFT_DIRTY), !!(c & S));
}

static void every_property_of_a_small_entry_comes_back(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in(vma, page(8));
	unsigned int c;

	(void)state;
	for (c = 0; c < ALL; c++) {
		pte_t before, moving, after;

		if ((c & W) && !(c & X))
			continue;
		before = __pte((pfn_pte(page_to_pfn(p), vma->vm_page_prot).val & ~(u64)CHANGING) | present_bits(c));
		set_entry(a, page(8), before);
		if (c & X)
			SetPageAnonExclusive(p);
		else
			ClearPageAnonExclusive(p);
		ClearPageDirty(p);
		begin(p, 0, NULL);
		moving = entry_at(a, page(8));
		assert_true(is_pte_migration_entry(moving));
		assert_ptr_equal(pfn_swap_entry_to_page(pte_to_swp_entry(moving)), p);
		expect_kind(c, pte_to_swp_entry(moving), moving.val);
		assert_false(page_mapped(p));
		assert_false(PageAnonExclusive(p));
		assert_int_equal(PageDirty(p), !!(c & D));
		assert_int_equal(page_ref_count(p), 2); /* ours and the LRU batch's */
		end(p, p);
		after = entry_at(a, page(8));
		if (after.val != (before.val | (c & D ? _PAGE_SOFT_DIRTY : 0)))
			fail_msg("combination %u: %#lx became %#lx", c, (unsigned long)before.val,
				 (unsigned long)after.val);
		assert_int_equal(PageAnonExclusive(p), !!(c & X));
		assert_int_equal(page_mapcount(p), 1);
	}
	set_entry(a, page(8), pte_mkwrite(entry_at(a, page(8))));
	SetPageAnonExclusive(p);
}

static void every_property_of_a_huge_entry_comes_back(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in_huge(vma, page(8));
	pmd_t *pmd = pmd_find(&a->pt, page(8));
	unsigned int c;

	(void)state;
	for (c = 0; c < ALL; c++) {
		pmd_t before, moving;

		if ((c & W) && !(c & X))
			continue;
		before =
			__pmd((pfn_pmd_huge(page_to_pfn(p), vma->vm_page_prot).val & ~(u64)CHANGING) | present_bits(c));
		set_pmd_at(pmd, before);
		if (c & X)
			SetPageAnonExclusive(p);
		else
			ClearPageAnonExclusive(p);
		ClearPageDirty(p);
		begin(p, 0, NULL);
		moving = *pmd;
		assert_true(is_pmd_migration_entry(moving));
		expect_kind(c, pmd_to_swp_entry(moving), moving.val);
		assert_int_equal(compound_mapcount(p), 0);
		assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 0);
		assert_int_equal(PageDirty(p), !!(c & D));
		end(p, p);
		if (pmd->val != (before.val | (c & D ? _PAGE_SOFT_DIRTY : 0)))
			fail_msg("combination %u: %#lx became %#lx", c, (unsigned long)before.val,
				 (unsigned long)pmd->val);
		assert_int_equal(compound_mapcount(p), 1);
		assert_int_equal(vmstat("nr_anon_transparent_hugepages"), 1);
	}
	SetPageAnonExclusive(p);
}

/* Dirty in the entry but not on the page (cleaned meanwhile): the restored entry is clean. */
static void a_page_cleaned_meanwhile_comes_back_clean(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in(vma, page(8));

	(void)state;
	begin(p, 0, NULL);
	ClearPageDirty(p);
	end(p, p);
	assert_false(pte_dirty(entry_at(a, page(8))));
	assert_true(pte_write(entry_at(a, page(8))));
}

/* ---- onto another page */

/* Three processes share a page; it moves. Expect: all three map the new page, the old one is theirs no more. */
static void all_mappings_move_to_the_new_page(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb, *vc;
	struct page *p = fault_in(va, page(9)), *q = alloc_pages(GFP_HIGHUSER_MOVABLE, 0);

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	vc = fork_vma(process("C")->mm, vb);
	lru_add_drain_all();
	begin(p, 0, NULL);
	lock_page_nested(q);
	/* What the engine does between: identity and references. */
	q->mapping = p->mapping;
	q->index = p->index;
	__SetPageSwapBacked(q);
	SetPageUptodate(q);
	copy_highpage(q, p);
	end(p, q);
	unlock_page(q);
	assert_int_equal(page_mapcount(q), 3);
	assert_int_equal(page_ref_count(q), 4);
	put_page(q);
	assert_int_equal(pte_pfn(entry_at(a, page(9))), page_to_pfn(q));
	assert_int_equal(pte_pfn(entry_at(vb->vm_mm, page(9))), page_to_pfn(q));
	assert_int_equal(pte_pfn(entry_at(vc->vm_mm, page(9))), page_to_pfn(q));
	assert_int_equal(vmstat("nr_anon_pages"), 1);
}

/*
 * A huge page mapped by PTEs at an unaligned place (after mremap): entries of each small page come back to the right one.
 *
 *      table   |  .  .  .  0 |  1  2  3  . |
 *      page      12 13 14 15   16 17 18
 */
static void entries_of_a_huge_page_come_back_in_their_order(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0), *moved;
	struct page *head = fault_in_huge(vma, page(8));
	u32 i;

	(void)state;
	split_huge_pmd_address(vma, page(8), false, NULL);
	moved = vm_area_dup(vma);
	moved->vm_start = page(15);
	moved->vm_end = page(15 + nr);
	moved->anon_vma = vma->anon_vma;
	assert_int_equal(anon_vma_clone(moved, vma), 0);
	vma_link_tree(moved);
	for (i = 0; i < nr; i++) {
		set_entry(a, page(15 + i), entry_at(a, page(8 + i)));
		set_entry(a, page(8 + i), __pte(0));
	}
	/* One of them is old and clean. */
	set_entry(a, page(17), pte_mkclean(pte_mkold(entry_at(a, page(17)))));
	begin(head, 0, NULL);
	for (i = 0; i < nr; i++) {
		pte_t pte = entry_at(a, page(15 + i));

		assert_true(is_pte_migration_entry(pte));
		assert_int_equal(swp_offset(pte_to_swp_entry(pte)), page_to_pfn(head) + i);
		assert_int_equal(pte_migration_young(pte), i != 2);
	}
	end(head, head);
	for (i = 0; i < nr; i++) {
		assert_int_equal(pte_pfn(entry_at(a, page(15 + i))), page_to_pfn(head) + i);
		assert_int_equal(pte_young(entry_at(a, page(15 + i))), i != 2);
		assert_true(PageAnonExclusive(head + i));
	}
	expect_sound();
}

/* ---- refusals */

/* A pinned page stays mapped, as it was, with nothing half done; the same for a PMD. */
static void a_pinned_page_stays_mapped(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);
	struct page *small = fault_in(vma, page(12)), *huge = fault_in_huge(vma, page(8));
	pte_t pte = entry_at(a, page(12));
	pmd_t pmd = *pmd_find(&a->pt, page(8));

	(void)state;
	assert_true(page_pin(small, 1) && page_pin(huge, 1));
	hold(small, GUP_PIN_COUNTING_BIAS);
	hold(huge, 1);
	begin(small, 0, NULL);
	assert_true(page_mapped(small));
	assert_int_equal(entry_at(a, page(12)).val, pte.val);
	end(small, small);
	begin(huge, 0, NULL);
	assert_true(page_mapped(huge));
	assert_int_equal(pmd_find(&a->pt, page(8))->val, pmd.val);
	end(huge, huge);
	expect_sound();
	unhold(small, GUP_PIN_COUNTING_BIAS);
	unhold(huge, 1);
	page_unpin(small, 1);
	page_unpin(huge, 1);
}

/*
 * Shared by A and B and pinned by nobody knows whom: entries of a shared page can go, for a page that is not exclusive is not
 * the pinner's. Both are unmapped.
 */
static void a_pin_protects_an_exclusive_page_only(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in(va, page(8));

	(void)state;
	fork_vma(process("B")->mm, va);
	assert_true(page_pin(p, 1));
	hold(p, GUP_PIN_COUNTING_BIAS);
	begin(p, 0, NULL);
	assert_false(page_mapped(p));
	end(p, p);
	assert_int_equal(page_mapcount(p), 2);
	unhold(p, GUP_PIN_COUNTING_BIAS);
	page_unpin(p, 1);
}

/* While the page was away the VMA became read-only: the writable migration entry comes back read-only, still exclusive. */
static void permission_taken_away_meanwhile_stays_away(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);
	struct page *small = fault_in(vma, page(12)), *huge = fault_in_huge(vma, page(8));

	(void)state;
	begin(small, 0, NULL);
	vma->vm_flags &= ~VM_WRITE;
	vma_set_page_prot(vma);
	end(small, small);
	assert_false(pte_write(entry_at(a, page(12))));
	assert_true(PageAnonExclusive(small));
	vma->vm_flags |= VM_WRITE;
	begin(huge, 0, NULL);
	vma->vm_flags &= ~VM_WRITE;
	vma_set_page_prot(vma);
	end(huge, huge);
	assert_false(pmd_write(*pmd_find(&a->pt, page(8))));
	assert_true(PageAnonExclusive(huge));
}

/* ---- flushes */

/* One flush per entry, or one for all; never put off for a page that may be pinned: its pin check needs the flush first. */
static void flushes_are_put_off_into_the_batch(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);
	struct page *p[4], *pinned = fault_in(vma, page(12));
	struct tlb_batch batch = { 0 };
	s64 before;
	unsigned int i;

	(void)state;
	for (i = 0; i < 4; i++)
		p[i] = fault_in(vma, page(8 + i));
	before = vmstat("nr_tlb_local_flush_one");
	begin(p[0], 0, NULL);
	begin(p[1], 0, NULL);
	assert_int_equal(vmstat("nr_tlb_local_flush_one"), before + 2);
	begin(p[2], TTU_BATCH_FLUSH, &batch);
	begin(p[3], TTU_BATCH_FLUSH, &batch);
	assert_int_equal(vmstat("nr_tlb_local_flush_one"), before + 2);
	assert_true(batch.pending);
	assert_true(batch.writable);
	assert_true(page_pin(pinned, 1));
	begin(pinned, TTU_BATCH_FLUSH, &batch);
	assert_int_equal(vmstat("nr_tlb_local_flush_one"), before + 3);
	assert_true(page_mapped(pinned));
	end(pinned, pinned);
	page_unpin(pinned, 1);
	tlb_batch_flush(&batch);
	assert_int_equal(vmstat("nr_tlb_local_flush_all"), 1);
	for (i = 4; i-- > 0;)
		end(p[i], p[i]);
}

/* ---- told to listeners */

struct told {
	unsigned int n;
	u64 addr, value;
	int order;
};

static void hear_pte(void *arg, enum ps_tracepoint tracepoint, const void *event)
{
	struct told *t = (struct told *)arg;
	const struct ps_event_set_migration_pte *e = (const struct ps_event_set_migration_pte *)event;

	(void)tracepoint;
	t->n++;
	t->addr = e->addr;
	t->value = e->pte;
	t->order = e->order;
}

static void hear_pmd(void *arg, enum ps_tracepoint tracepoint, const void *event)
{
	struct told *t = (struct told *)arg;
	const struct ps_event_set_migration_pmd *e = (const struct ps_event_set_migration_pmd *)event;

	(void)tracepoint;
	t->n++;
	t->addr = e->addr;
	t->value = e->pmd;
}

static void listeners_hear_of_every_entry(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 8, 0);
	struct page *small = fault_in(vma, page(13)), *huge = fault_in_huge(vma, page(8));
	struct told set = { .order = -1 }, gone = { .order = -1 }, set_huge = { 0 }, gone_huge = { 0 };
	struct ps_probe probes[] = {
		{ .tracepoint = PS_TP_set_migration_pte, .fn = hear_pte, .arg = &set },
		{ .tracepoint = PS_TP_remove_migration_pte, .fn = hear_pte, .arg = &gone },
		{ .tracepoint = PS_TP_set_migration_pmd, .fn = hear_pmd, .arg = &set_huge },
		{ .tracepoint = PS_TP_remove_migration_pmd, .fn = hear_pmd, .arg = &gone_huge },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		assert_int_equal(ps_probe_register(scene->stats, &probes[i]), 0);
	begin(small, 0, NULL);
	assert_int_equal(set.n, 1);
	assert_int_equal(set.addr, page(13));
	assert_int_equal(set.value, entry_at(a, page(13)).val);
	assert_int_equal(set.order, 0);
	end(small, small);
	assert_int_equal(gone.n, 1);
	assert_int_equal(gone.addr, page(13));
	assert_int_equal(gone.value, entry_at(a, page(13)).val);
	begin(huge, 0, NULL);
	assert_int_equal(set_huge.n, 1);
	assert_int_equal(set_huge.addr, page(8));
	assert_int_equal(set_huge.value, pmd_find(&a->pt, page(8))->val);
	end(huge, huge);
	assert_int_equal(gone_huge.value, pmd_find(&a->pt, page(8))->val);
	assert_int_equal(set.n + gone.n + set_huge.n + gone_huge.n, 4);
	for (i = 0; i < ARRAY_SIZE(probes); i++)
		assert_int_equal(ps_probe_unregister(scene->stats, &probes[i]), 0);
}

/* ---- file pages */

/* Entries of a shared file page: writable or read-only, never exclusive; dirty goes to the page and its file at once. */
static void file_entries_come_back_as_they_were(void **state)
{
	const u64 flags = VM_READ | VM_WRITE | VM_SHARED | VM_SOFTDIRTY;
	struct vm_area_struct *v1, *v2;
	struct inode *inode;
	struct page *p;
	pte_t first, second;

	(void)state;
	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	assert_int_equal(file_write_page(inode, 2, 7, &(struct ps_page_source){ 0 }), 0);
	lru_add_drain_all();
	p = find_get_page(inode->i_mapping, 2);
	v1 = new_file_vma(a, page(8), 4, flags, inode, 0);
	v2 = new_file_vma(a, page(16), 4, flags & ~VM_WRITE, inode, 0);
	map_cached(v1, page(10), p, true);
	map_cached(v2, page(18), p, false);
	first = entry_at(a, page(10));
	second = entry_at(a, page(18));
	begin(p, 0, NULL);
	assert_true(is_writable_migration_entry(pte_to_swp_entry(entry_at(a, page(10)))));
	assert_true(is_readable_migration_entry(pte_to_swp_entry(entry_at(a, page(18)))));
	assert_int_equal(vmstat("nr_mapped"), 0);
	end(p, p);
	assert_int_equal(entry_at(a, page(10)).val, first.val);
	assert_int_equal(entry_at(a, page(18)).val, second.val);
	assert_int_equal(page_mapcount(p), 2);
	put_page(p);
	iput(inode);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(every_property_of_a_small_entry_comes_back),
		test(every_property_of_a_huge_entry_comes_back),
		test(a_page_cleaned_meanwhile_comes_back_clean),
		test(all_mappings_move_to_the_new_page),
		test(entries_of_a_huge_page_come_back_in_their_order),
		test(a_pinned_page_stays_mapped),
		test(a_pin_protects_an_exclusive_page_only),
		test(permission_taken_away_meanwhile_stays_away),
		test(flushes_are_put_off_into_the_batch),
		test(listeners_hear_of_every_entry),
		test(file_entries_come_back_as_they_were),
	};

	return cmocka_run_group_tests_name("migration entries", tests, NULL, NULL);
}
