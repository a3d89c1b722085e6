/* SPDX-License-Identifier: MIT */
/*
 * The life of anon_vmas: who shares one, who gets one of his own, when it dies. Invariants A1 to A4 of anon_vma.c are I12 of
 * check_machine(), which every test ends with.
 */
#include "fixtures/scene_rmap.h"

#include <pagesim/mempolicy.h>
#include <pagesim/rng.h>

static struct mm_struct *a;

static int setup(void **state)
{
	(void)state;
	if (scene_rmap_setup("tiny"))
		return -1;
	a = process("A")->mm;
	return 0;
}

static u64 page(u64 n)
{
	return n << PAGE_SHIFT;
}

static unsigned int chain_length(const struct vm_area_struct *vma)
{
	const struct list_head *at;
	unsigned int n = 0;

	list_for_each(at, &vma->anon_vma_chain)
		n++;
	return n;
}

/* ---- the first fault */

static void the_first_fault_gives_a_vma_its_anon_vma(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct anon_vma *anon_vma;

	(void)state;
	assert_null(vma->anon_vma);
	assert_int_equal(anon_vma_prepare(vma), 0);
	anon_vma = vma->anon_vma;
	assert_non_null(anon_vma);
	assert_ptr_equal(anon_vma->root, anon_vma);
	assert_ptr_equal(anon_vma->parent, anon_vma);
	assert_int_equal(anon_vma->num_active_vmas, 1);
	assert_int_equal(anon_vma->num_children, 1);
	assert_int_equal(chain_length(vma), 1);
	assert_int_equal(anon_vma_prepare(vma), 0);
	assert_ptr_equal(vma->anon_vma, anon_vma);
	assert_int_equal(ps_anon_vmas_live(), 1);
	assert_int_equal(ps_anon_vma_chains_live(), 1);
}

/*
 * A neighbour's anon_vma is taken if the two VMAs could ever merge: same file, policy and flags but for what mprotect changes,
 * addresses and offsets continuing, and never forked.
 */
static void a_neighbour_that_could_merge_shares_its_anon_vma(void **state)
{
	static const struct {
		const char *name;
		u64 flags_xor;
		u64 gap, pgoff_add;
		bool policy, before, shares;
	} table[] = {
		{ .name = "continues it", .shares = true },
		{ .name = "stands before it", .before = true, .shares = true },
		{ .name = "other protection", .flags_xor = VM_WRITE, .shares = true },
		{ .name = "not soft-dirty", .flags_xor = VM_SOFTDIRTY, .shares = true },
		{ .name = "locked", .flags_xor = VM_LOCKED },
		{ .name = "other advice", .flags_xor = VM_HUGEPAGE },
		{ .name = "a hole between", .gap = 1 },
		{ .name = "offset does not continue", .pgoff_add = 5 },
		{ .name = "other policy", .policy = true },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct vm_area_struct *first = new_vma(a, page(8), 4, 0), *second;
		nodemask_t nodes = ps_nodemask(1);

		second = new_vma(a, table[i].before ? page(4) : page(12 + table[i].gap), 4,
				 first->vm_flags ^ table[i].flags_xor);
		second->vm_pgoff += table[i].pgoff_add;
		if (table[i].policy)
			assert_int_equal(mpol_new(MPOL_BIND, &nodes, &second->vm_policy), 0);
		assert_int_equal(anon_vma_prepare(first), 0);
		assert_int_equal(anon_vma_prepare(second), 0);
		if ((second->anon_vma == first->anon_vma) != table[i].shares)
			fail_msg("a neighbour that %s", table[i].name);
		expect_sound();
		unmap_vma(first);
		unmap_vma(second);
		assert_int_equal(ps_anon_vmas_live(), 0);
	}
}

static void a_neighbour_of_a_family_is_left_alone(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0), *child, *next;
	struct mm_struct *b;

	(void)state;
	fault_in(vma, page(8));
	b = process("B")->mm;
	child = fork_vma(b, vma);
	assert_int_equal(chain_length(child), 2);
	next = new_vma(b, page(12), 4, child->vm_flags);
	assert_int_equal(anon_vma_prepare(next), 0);
	assert_ptr_not_equal(next->anon_vma, child->anon_vma);
}

/* ---- fork */

/*
 *      A forks B, B forks C
 * Expect: one root, each child chained to all its ancestors', parents and children counted.
 */
static void a_child_is_chained_to_all_its_ancestors(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb, *vc;

	(void)state;
	fault_in(va, page(8));
	vb = fork_vma(process("B")->mm, va);
	vc = fork_vma(process("C")->mm, vb);
	assert_int_equal(chain_length(va), 1);
	assert_int_equal(chain_length(vb), 2);
	assert_int_equal(chain_length(vc), 3);
	assert_ptr_equal(vb->anon_vma->root, va->anon_vma);
	assert_ptr_equal(vc->anon_vma->root, va->anon_vma);
	assert_ptr_equal(vc->anon_vma->parent, vb->anon_vma);
	assert_int_equal(va->anon_vma->num_children, 2);
	assert_int_equal(vb->anon_vma->num_children, 1);
	assert_int_equal(atomic_read(&va->anon_vma->refcount), 3);
	expect_sound();
}

static void a_vma_without_anon_vma_forks_without(void **state)
{
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb;

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	assert_null(vb->anon_vma);
	assert_int_equal(ps_anon_vmas_live(), 0);
}

/*
 * A process that forks a child and dies, whose child forks and dies, ..., a thousand times. Expect: the chain stays short,
 * because an anon_vma without VMAs of its own and with one descendant at most is taken over.
 */
static void endless_forking_keeps_chains_short(void **state)
{
	struct task_struct *parent = current, *child;
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	unsigned int i, longest = 0;

	(void)state;
	fault_in(vma, page(8));
	for (i = 0; i < 1000; i++) {
		child = process("child");
		vma = fork_vma(child->mm, vma);
		fault_in(vma, page(9 + i % 2));
		unmap_pte(vma, page(9 + i % 2));
		as(parent);
		exit_mm_by_hand(parent->mm);
		parent->mm = NULL;
		as(child);
		scene_forget_task(parent);
		ps_task_free(parent);
		parent = child;
		longest = ps_max(longest, chain_length(vma));
		if (i % 100 == 0)
			expect_sound();
	}
	assert_true(longest <= 4);
	assert_true(ps_anon_vmas_live() <= 4);
}

/* A child whose parent has died keeps the root alive, and the page of the grandparent is found through it. */
static void the_root_outlives_its_own_vmas(void **state)
{
	struct task_struct *ta = current;
	struct vm_area_struct *va = new_vma(a, page(8), 4, 0), *vb;
	struct page *p = fault_in(va, page(8));
	struct anon_vma *root = va->anon_vma, *found;

	(void)state;
	vb = fork_vma(process("B")->mm, va);
	as(ta);
	exit_mm_by_hand(ta->mm);
	ta->mm = NULL;
	assert_int_equal(root->num_active_vmas, 0);
	assert_true(page_mapped(p));
	found = page_get_anon_vma(p);
	assert_ptr_equal(found, root);
	put_anon_vma(found);
	assert_ptr_equal(vb->anon_vma->root, root);
	expect_sound();
}

/* ---- without memory */

/* Every allocation of a fork fails once, with a chain of three. Expect: nothing left behind, the parent as before. */
static void a_fork_that_fails_leaves_nothing(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0), *child;
	struct mm_struct *b, *c;
	long anon_vmas, chains;
	u64 n;

	(void)state;
	fault_in(vma, page(8));
	b = process("B")->mm;
	vma = fork_vma(b, vma);
	fault_in(vma, page(9));
	c = process("C")->mm;
	vma = fork_vma(c, vma);
	fault_in(vma, page(10));
	b = process("D")->mm;
	anon_vmas = ps_anon_vmas_live();
	chains = ps_anon_vma_chains_live();
	for (n = 1;; n++) {
		ps_alloc_fail_nth(n);
		child = fork_vma(b, vma);
		if (ps_alloc_fail_nth(0))
			break;
		assert_null(child);
		assert_int_equal(ps_anon_vmas_live(), anon_vmas);
		assert_int_equal(ps_anon_vma_chains_live(), chains);
		expect_sound();
	}
	assert_int_equal(n, 7); /* the VMA, three chains, the anon_vma, its chain, and here it succeeds */
	assert_int_equal(chain_length(child), 4);
}

static void a_clone_that_fails_leaves_nothing(void **state)
{
	struct vm_area_struct *src = new_vma(a, page(8), 4, 0), *dst = new_vma(a, page(16), 4, 0);
	struct mm_struct *b;
	u64 n;

	(void)state;
	fault_in(src, page(8));
	b = process("B")->mm;
	src = fork_vma(b, src);
	dst = new_vma(b, page(16), 4, 0);
	for (n = 1;; n++) {
		unsigned long active = src->anon_vma->num_active_vmas;
		int error;

		dst->anon_vma = src->anon_vma; /* as a split does */
		ps_alloc_fail_nth(n);
		error = anon_vma_clone(dst, src);
		if (ps_alloc_fail_nth(0))
			break;
		assert_int_equal(error, -ENOMEM);
		assert_null(dst->anon_vma);
		assert_true(list_empty(&dst->anon_vma_chain));
		assert_int_equal(src->anon_vma->num_active_vmas, active);
		expect_sound();
	}
	assert_int_equal(n, 3);
	assert_int_equal(src->anon_vma->num_active_vmas, 2);
	expect_sound();
}

static void prepare_without_memory_leaves_nothing(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	u64 n;

	(void)state;
	for (n = 1;; n++) {
		int error;

		ps_alloc_fail_nth(n);
		error = anon_vma_prepare(vma);
		if (ps_alloc_fail_nth(0))
			break;
		assert_int_equal(error, -ENOMEM);
		assert_null(vma->anon_vma);
		assert_int_equal(ps_anon_vmas_live() + ps_anon_vma_chains_live(), 0);
	}
	assert_non_null(vma->anon_vma);
}

/* ---- finding without a lock */

static void a_page_without_mapping_has_no_anon_vma_to_get(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct page *p = fault_in(vma, page(8)), *file = alloc_pages(GFP_KERNEL, 0);
	struct anon_vma *anon_vma;

	(void)state;
	anon_vma = page_get_anon_vma(p);
	assert_ptr_equal(anon_vma, vma->anon_vma);
	assert_int_equal(atomic_read(&anon_vma->refcount), 2);
	put_anon_vma(anon_vma);
	assert_null(page_get_anon_vma(file));
	put_page(file);
	get_page(p);
	lru_add_drain_all();
	unmap_pte(vma, page(8));
	assert_null(page_get_anon_vma(p));
	put_page(p);
}

/* The page is unmapped while somebody holds its anon_vma: it stays until he lets go. */
static void a_held_anon_vma_outlives_its_vmas(void **state)
{
	struct vm_area_struct *vma = new_vma(a, page(8), 4, 0);
	struct anon_vma *held = page_get_anon_vma(fault_in(vma, page(8)));

	(void)state;
	unmap_vma(vma);
	assert_int_equal(ps_anon_vmas_live(), 1);
	assert_int_equal(atomic_read(&held->refcount), 1);
	put_anon_vma(held);
	assert_int_equal(ps_anon_vmas_live(), 0);
}

/* ---- random families */

struct family {
	struct task_struct *task[6];
	unsigned int nr;
};

static struct vm_area_struct *pick_vma(struct mm_struct *mm, struct ps_rng *rng)
{
	struct vm_area_struct *vma;
	u64 n = mm->map_count ? ps_rng_below(rng, (u64)mm->map_count) : 0;

	for_each_vma(mm, vma) {
		if (!n--)
			return vma;
	}
	return NULL;
}

/* As split_vma() of the layer above: the new VMA is the upper part. */
static void split_by_hand(struct vm_area_struct *vma, u64 addr)
{
	struct vm_area_struct *fresh = vm_area_dup(vma);

	fresh->vm_start = addr;
	fresh->vm_pgoff = linear_page_index(vma, addr);
	fresh->anon_vma = vma->anon_vma;
	assert_int_equal(anon_vma_clone(fresh, vma), 0);
	vma_adjust_trans_huge(vma, addr, vma->vm_end);
	if (vma->anon_vma)
		anon_vma_lock_write(vma->anon_vma);
	anon_vma_interval_tree_pre_update_vma(vma);
	vma_unlink_tree(vma);
	vma->vm_end = addr;
	vma_link_tree(vma);
	anon_vma_interval_tree_post_update_vma(vma);
	vma_link_tree(fresh);
	if (vma->anon_vma)
		anon_vma_unlock_write(vma->anon_vma);
}

/* The reverse, for two neighbours with the same anon_vma. */
static void merge_by_hand(struct vm_area_struct *vma, struct vm_area_struct *next)
{
	u64 end = next->vm_end;

	unlink_anon_vmas(next);
	vma_unlink_tree(next);
	vm_area_free(next);
	if (vma->anon_vma)
		anon_vma_lock_write(vma->anon_vma);
	anon_vma_interval_tree_pre_update_vma(vma);
	vma_unlink_tree(vma);
	vma->vm_end = end;
	vma_link_tree(vma);
	anon_vma_interval_tree_post_update_vma(vma);
	if (vma->anon_vma)
		anon_vma_unlock_write(vma->anon_vma);
}

static void one_random_step(struct family *f, struct ps_rng *rng)
{
	unsigned int who = (unsigned int)ps_rng_below(rng, f->nr);
	struct vm_area_struct *vma, *other;
	struct mm_struct *mm;
	u64 addr;

	as(f->task[who]);
	mm = current->mm;
	vma = pick_vma(mm, rng);
	addr = vma ? vma->vm_start + (ps_rng_below(rng, vma_pages(vma)) << PAGE_SHIFT) : 0;
	switch (ps_rng_below(rng, 8)) {
	case 0: /* fork */
		if (f->nr < 6) {
			struct task_struct *child = process("child");

			for_each_vma(mm, other)
				fork_vma(child->mm, other);
			f->task[f->nr++] = child;
		}
		break;
	case 1: /* exit */
		if (f->nr > 1) {
			exit_mm_by_hand(mm);
			current->mm = NULL;
			as(scene->boot);
			scene_forget_task(f->task[who]);
			ps_task_free(f->task[who]);
			f->task[who] = f->task[--f->nr];
		}
		break;
	case 2: /* split */
		if (vma && addr > vma->vm_start)
			split_by_hand(vma, addr);
		break;
	case 3: /* merge */
		other = vma ? vma_next(vma) : NULL;
		if (other && other->vm_start == vma->vm_end && other->anon_vma == vma->anon_vma && vma->anon_vma &&
		    other->vm_pgoff == vma->vm_pgoff + vma_pages(vma))
			merge_by_hand(vma, other);
		break;
	case 4: /* unmap */
		if (vma && mm->map_count > 2)
			unmap_vma(vma);
		break;
	case 5: /* map */
		addr = page(4 + ps_rng_below(rng, 12) * 8);
		if (!find_vma_intersection(mm, addr, addr + page(8)))
			new_vma(mm, addr, 1 + ps_rng_below(rng, 8), 0);
		break;
	default: /* touch */
		if (vma && pte_none(entry_at(mm, addr)))
			fault_in(vma, addr);
		break;
	}
}

/* Every page is found in as many VMAs as map it, by the walk, whatever the families have gone through. */
static bool count_one(struct page *p, struct vm_area_struct *vma, u64 addr, void *arg)
{
	struct page_vma_mapped_walk walk;
	int *n = (int *)arg;

	page_vma_mapped_walk_init(&walk, p, vma, addr, 0);
	while (page_vma_mapped_walk(&walk))
		(*n)++;
	return true;
}

static void expect_walks_to_find_every_mapping(const struct family *f)
{
	unsigned int i;

	for (i = 0; i < f->nr; i++) {
		struct vm_area_struct *vma;
		u64 addr;

		for_each_vma(f->task[i]->mm, vma) {
			for (addr = vma->vm_start; addr < vma->vm_end; addr += PAGE_SIZE) {
				pte_t pte = entry_at(vma->vm_mm, addr);
				struct rmap_walk_control control = { .rmap_one = count_one };
				int found = 0;

				if (!pte_present(pte))
					continue;
				control.arg = &found;
				rmap_walk(pfn_to_page(pte_pfn(pte)), &control);
				assert_int_equal(found, page_mapcount(pfn_to_page(pte_pfn(pte))));
			}
		}
	}
}

static void random_families_stay_sound(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 40; seed++) {
		struct family f = { .nr = 1 };
		struct ps_rng rng;
		unsigned int step;

		scene_rmap_setup("tiny,0=2M,1=2M");
		f.task[0] = process("first");
		ps_rng_init(&rng, seed);
		for (step = 0; step < 150; step++) {
			one_random_step(&f, &rng);
			if (scene_check_machine(scene, true))
				fail_msg("seed %lu step %u", (unsigned long)seed, step);
		}
		expect_walks_to_find_every_mapping(&f);
		scene_close();
	}
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, scene_teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(the_first_fault_gives_a_vma_its_anon_vma),
		test(a_neighbour_that_could_merge_shares_its_anon_vma),
		test(a_neighbour_of_a_family_is_left_alone),
		test(a_child_is_chained_to_all_its_ancestors),
		test(a_vma_without_anon_vma_forks_without),
		test(endless_forking_keeps_chains_short),
		test(the_root_outlives_its_own_vmas),
		test(a_fork_that_fails_leaves_nothing),
		test(a_clone_that_fails_leaves_nothing),
		test(prepare_without_memory_leaves_nothing),
		test(a_page_without_mapping_has_no_anon_vma_to_get),
		test(a_held_anon_vma_outlives_its_vmas),
		cmocka_unit_test(random_families_stay_sound),
	};

	return cmocka_run_group_tests_name("anon_vmas", tests, NULL, NULL);
}
