/* SPDX-License-Identifier: MIT */
/*
 * VMAs in order: linking, finding, neighbours, the cache of the last find; copies; protection bits from flags; address spaces
 * of a machine.
 */
#include "fixtures/scene_vm.h"

#include <pagesim/address_space.h>
#include <pagesim/mempolicy.h>
#include <pagesim/rng.h>

static struct mm_struct *mm;

static int setup(void **state)
{
	(void)state;
	if (scene_vm_setup("tiny"))
		return -1;
	mm = mm_alloc(scene->machine);
	return mm ? 0 : -1;
}

static void unlink_all(struct mm_struct *victim)
{
	struct vm_area_struct *vma;

	while ((vma = find_vma(victim, 0))) {
		vma_unlink_tree(vma);
		vm_area_free(vma);
	}
}

static int teardown(void **state)
{
	unlink_all(mm);
	mm_free(mm);
	return scene_teardown(state);
}

/* [first, first + n) in pages. */
static struct vm_area_struct *add(u64 first, u64 n)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);

	assert_non_null(vma);
	vma->vm_start = first << PAGE_SHIFT;
	vma->vm_end = (first + n) << PAGE_SHIFT;
	vma->vm_pgoff = first;
	vma_link_tree(vma);
	return vma;
}

/*
 *      page   0    4    8    12   16   20
 *             |    [ a  )    [ b  [ c  )
 */
static void vmas_are_found_by_address(void **state)
{
	struct vm_area_struct *b = add(12, 4), *a = add(4, 4), *c = add(16, 4);

	(void)state;
	assert_ptr_equal(find_vma(mm, 0), a);
	assert_ptr_equal(find_vma(mm, 4 << PAGE_SHIFT), a);
	assert_ptr_equal(find_vma(mm, (8 << PAGE_SHIFT) - 1), a);
	assert_ptr_equal(find_vma(mm, 8 << PAGE_SHIFT), b);
	assert_ptr_equal(find_vma(mm, 16 << PAGE_SHIFT), c);
	assert_null(find_vma(mm, 20 << PAGE_SHIFT));
	assert_null(vma_lookup(mm, 0));
	assert_ptr_equal(vma_lookup(mm, 15 << PAGE_SHIFT), b);
	assert_null(vma_lookup(mm, 8 << PAGE_SHIFT));
	assert_null(find_vma_intersection(mm, 0, 4 << PAGE_SHIFT));
	assert_ptr_equal(find_vma_intersection(mm, 0, (4 << PAGE_SHIFT) + 1), a);
	assert_null(find_vma_intersection(mm, 8 << PAGE_SHIFT, 12 << PAGE_SHIFT));
	assert_ptr_equal(find_vma_intersection(mm, 8 << PAGE_SHIFT, 99 << PAGE_SHIFT), b);
}

static void neighbours_are_in_address_order(void **state)
{
	struct vm_area_struct *b = add(12, 4), *a = add(4, 4), *c = add(16, 4);

	(void)state;
	assert_null(vma_prev(a));
	assert_ptr_equal(vma_next(a), b);
	assert_ptr_equal(vma_next(b), c);
	assert_ptr_equal(vma_prev(c), b);
	assert_null(vma_next(c));
	assert_int_equal(mm->map_count, 3);
}

/* What was found before answers neither for what was unlinked, nor for an address before its VMA. */
static void what_was_unlinked_is_not_found(void **state)
{
	struct vm_area_struct *a = add(4, 4), *b = add(12, 4);

	(void)state;
	assert_ptr_equal(find_vma(mm, 12 << PAGE_SHIFT), b);
	assert_ptr_equal(find_vma(mm, 9 << PAGE_SHIFT), b);
	assert_ptr_equal(find_vma(mm, 5 << PAGE_SHIFT), a);
	vma_unlink_tree(a);
	assert_ptr_equal(find_vma(mm, 5 << PAGE_SHIFT), b);
	vm_area_free(a);
}

static void overlapping_vmas_are_a_bug(void **state)
{
	struct vm_area_struct *vma = vm_area_alloc(mm);

	(void)state;
	add(4, 4);
	vma->vm_start = 7 << PAGE_SHIFT;
	vma->vm_end = 9 << PAGE_SHIFT;
	expect_bug(vma_link_tree(vma));
	vma->vm_start = vma->vm_end;
	expect_bug(vma_link_tree(vma));
	vm_area_free(vma);
}

/* Random VMAs in and out; tree, list, count and a bitmap of pages must agree all the time. */
static void tree_list_and_count_agree(void **state)
{
	struct vm_area_struct *owner[256] = { NULL };
	struct ps_rng rng;
	unsigned int round, i;

	(void)state;
	ps_rng_init(&rng, 5);
	for (round = 0; round < 2000; round++) {
		u64 first = ps_rng_below(&rng, 256), n = 1 + ps_rng_below(&rng, ps_min(6ULL, 256 - first));
		struct vm_area_struct *vma, *next = NULL;
		struct interval_tree_node *node;
		int count = 0;
		bool room = true;

		if (owner[first]) {
			vma = owner[first];
			for (i = 0; i < 256; i++)
				if (owner[i] == vma)
					owner[i] = NULL;
			vma_unlink_tree(vma);
			vm_area_free(vma);
		} else {
			for (i = first; i < first + n; i++)
				room &= !owner[i];
			if (room) {
				vma = add(first, n);
				for (i = first; i < first + n; i++)
					owner[i] = vma;
			}
		}
		for (i = 256; i-- > 0;) {
			if (owner[i])
				next = owner[i];
			assert_ptr_equal(find_vma(mm, (u64)i << PAGE_SHIFT), next);
			assert_ptr_equal(vma_lookup(mm, (u64)i << PAGE_SHIFT), owner[i]);
		}
		node = interval_tree_first(&mm->mm_vmas);
		for_each_vma(mm, vma) {
			assert_ptr_equal(node, &vma->vm_node);
			node = interval_tree_next(node);
			count++;
		}
		assert_null(node);
		assert_int_equal(count, mm->map_count);
		assert_int_equal(count, atomic_long_read(&scene->machine->mms->nr_vmas));
		assert_true(interval_tree_check(&mm->mm_vmas));
	}
}

static void ranges_are_walked_from_any_start_to_any_end(void **state)
{
	struct vm_area_struct *vma;
	u64 start, end;
	unsigned int n;

	(void)state;
	add(4, 4);
	add(12, 4);
	add(16, 4);
	for (start = 0; start < 24; start++) {
		for (end = start + 1; end < 24; end++) {
			unsigned int want =
				(start < 8 && end > 4) + (start < 16 && end > 12) + (start < 20 && end > 16);

			n = 0;
			for_each_vma_range(mm, vma, start << PAGE_SHIFT, end << PAGE_SHIFT)
				n++;
			assert_int_equal(n, want);
		}
	}
}

/* Expect: the policy counted once more, no place in any tree, no anon_vma. */
static void a_copy_shares_the_policy_and_nothing_else(void **state)
{
	struct vm_area_struct *vma = add(4, 4), *copy;
	nodemask_t nodes;

	(void)state;
	nodes_clear(nodes);
	node_set(1, nodes);
	assert_int_equal(mpol_new(MPOL_BIND, &nodes, &vma->vm_policy), 0);
	copy = vm_area_dup(vma);
	assert_non_null(copy);
	assert_int_equal(atomic_read(&vma->vm_policy->refcnt), 2);
	assert_int_equal(copy->vm_start, vma->vm_start);
	assert_int_equal(copy->vm_pgoff, vma->vm_pgoff);
	assert_true(list_empty(&copy->anon_vma_chain) && list_empty(&copy->vm_link));
	assert_null(copy->anon_vma);
	assert_int_equal(mm->map_count, 1);
	assert_int_equal(atomic_long_read(&scene->machine->mms->nr_vmas), 2);
	vm_area_free(copy);
	assert_int_equal(atomic_read(&vma->vm_policy->refcnt), 1);
	vm_area_free(NULL);
}

/* ---- protection */

/*
 *      private writable                read-only entries: the first write is a fault (exclusive or copy)
 *      shared, tmpfs                   writable at once
 *      shared, disk                    read-only: the file must hear of the first write
 *      shared, soft-dirty cleared      read-only: the tracker must
 */
static void protection_follows_from_flags_and_file(void **state)
{
	static const struct {
		const char *name, *path;
		u64 flags;
		pgprot_t prot;
		bool writenotify;
	} table[] = {
		{ "none", NULL, 0, PAGE_NONE, false },
		{ "read", NULL, VM_READ | VM_SOFTDIRTY, PAGE_READONLY, false },
		{ "private write", NULL, VM_READ | VM_WRITE | VM_SOFTDIRTY, PAGE_READONLY, false },
		{ "write only", NULL, VM_WRITE | VM_SOFTDIRTY, PAGE_READONLY, false },
		{ "exec", NULL, VM_EXEC | VM_SOFTDIRTY, PAGE_READONLY, false },
		{ "private file", "/d/f", VM_READ | VM_WRITE | VM_SOFTDIRTY, PAGE_READONLY, false },
		{ "shared tmpfs", "/t/f", VM_READ | VM_WRITE | VM_SHARED | VM_SOFTDIRTY, PAGE_SHARED, false },
		{ "shared tmpfs, read", "/t/f", VM_READ | VM_SHARED | VM_SOFTDIRTY, PAGE_READONLY, false },
		{ "shared tmpfs, tracked", "/t/f", VM_READ | VM_WRITE | VM_SHARED, PAGE_READONLY, true },
		{ "shared disk", "/d/f", VM_READ | VM_WRITE | VM_SHARED | VM_SOFTDIRTY, PAGE_READONLY, true },
		{ "shared disk, read", "/d/f", VM_READ | VM_SHARED | VM_SOFTDIRTY, PAGE_READONLY, false },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct vm_area_struct *vma = add(4, 1);
		struct inode *inode = NULL;

		if (table[i].path) {
			assert_int_equal(ps_file_open(scene->machine->files, table[i].path, true, &inode), 0);
			vma->vm_mapping = inode->i_mapping;
		}
		vma->vm_flags = table[i].flags;
		vma_set_page_prot(vma);
		if (vma->vm_page_prot != table[i].prot || vma_wants_writenotify(vma) != table[i].writenotify)
			fail_msg("%s: protection %#lx", table[i].name, (unsigned long)vma->vm_page_prot);
		vma_unlink_tree(vma);
		vm_area_free(vma);
		if (inode)
			iput(inode);
	}
}

/* ---- address spaces */

static void address_spaces_have_identifiers_of_their_own(void **state)
{
	struct mm_struct *second = mm_alloc(scene->machine), *third = mm_alloc(scene->machine);
	u32 asid = third->pt.asid;

	(void)state;
	assert_true(mm->pt.asid && second->pt.asid != mm->pt.asid && third->pt.asid != second->pt.asid);
	assert_int_equal(atomic_read(&mm->mm_users), 1);
	mm_free(third);
	third = mm_alloc(scene->machine);
	assert_int_not_equal(third->pt.asid, asid); /* a TLB may still know the old one */
	assert_ptr_equal(list_first_entry(&scene->machine->mms->list, struct mm_struct, mmlist), mm);
	mm_free(second);
	mm_free(third);
}

static void counters_count_up_and_down(void **state)
{
	(void)state;
	add_mm_counter(mm, MM_ANONPAGES, 512);
	add_mm_counter(mm, MM_FILEPAGES, 1);
	add_mm_counter(mm, MM_ANONPAGES, -12);
	assert_int_equal(get_mm_counter(mm, MM_ANONPAGES), 500);
	assert_int_equal(get_mm_counter(mm, MM_FILEPAGES), 1);
	assert_int_equal(get_mm_counter(mm, MM_SHMEMPAGES), 0);
	add_mm_counter(mm, MM_ANONPAGES, -500);
	add_mm_counter(mm, MM_FILEPAGES, -1);
}

static void without_memory_there_is_no_address_space(void **state)
{
	struct mm_struct *fresh;
	struct vm_area_struct *vma;
	u64 n;

	(void)state;
	for (n = 1;; n++) {
		ps_alloc_fail_nth(n);
		fresh = mm_alloc(scene->machine);
		if (ps_alloc_fail_nth(0))
			break;
		assert_null(fresh);
	}
	assert_non_null(fresh);
	mm_free(fresh);
	ps_alloc_fail_nth(1);
	assert_null(vm_area_alloc(mm));
	vma = add(4, 1);
	ps_alloc_fail_nth(1);
	assert_null(vm_area_dup(vma));
	assert_int_equal(atomic_long_read(&scene->machine->mms->nr_vmas), 1);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(vmas_are_found_by_address),
		test(neighbours_are_in_address_order),
		test(what_was_unlinked_is_not_found),
		test(overlapping_vmas_are_a_bug),
		test(tree_list_and_count_agree),
		test(ranges_are_walked_from_any_start_to_any_end),
		test(a_copy_shares_the_policy_and_nothing_else),
		test(protection_follows_from_flags_and_file),
		test(address_spaces_have_identifiers_of_their_own),
		test(counters_count_up_and_down),
		test(without_memory_there_is_no_address_space),
	};

	return cmocka_run_group_tests_name("VMAs", tests, NULL, NULL);
}
