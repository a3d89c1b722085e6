/* SPDX-License-Identifier: MIT */
/*
 * Memory policies: which are valid, which one rules an address, and what node each gives to a page. Facts: set_mempolicy(2),
 * mbind(2) and mm/mempolicy.c of 6.1.
 *
 *      machine four-socket: nodes 0 to 3, each with CPUs
 */
#include "fixtures/scene_vm.h"

#include <pagesim/address_space.h>
#include <pagesim/compound.h>
#include <pagesim/mempolicy.h>
#include <pagesim/rng.h>
#include <pagesim/shmem.h>

static struct mm_struct *mm;
static struct vm_area_struct *vma;

static nodemask_t mask_of(u64 bits)
{
	return ps_nodemask(bits);
}

/* A VMA of 64 pages whose first is page 100 of its file, or of where anonymous memory was born. */
static int setup(void **state)
{
	(void)state;
	if (scene_vm_setup("four-socket"))
		return -1;
	mm = mm_alloc(scene->machine);
	vma = vm_area_alloc(mm);
	vma->vm_start = 0x200000;
	vma->vm_end = vma->vm_start + (64 << PAGE_SHIFT);
	vma->vm_pgoff = 100;
	vma->vm_flags = VM_READ | VM_WRITE;
	vma_link_tree(vma);
	return 0;
}

static int teardown(void **state)
{
	mpol_put(scene->boot->mempolicy);
	scene->boot->mempolicy = NULL;
	vma_unlink_tree(vma);
	vm_area_free(vma);
	mm_free(mm);
	return scene_teardown(state);
}

static struct mempolicy *policy(enum mempolicy_mode mode, u64 bits)
{
	nodemask_t nodes = mask_of(bits);
	struct mempolicy *pol;

	assert_int_equal(mpol_new(mode, &nodes, &pol), 0);
	return pol;
}

static u64 at(u64 i)
{
	return vma->vm_start + (i << PAGE_SHIFT);
}

/* Where a page of the VMA comes from. */
static nid_t node_of_new(u64 i)
{
	struct page *page = alloc_pages_vma(GFP_HIGHUSER_MOVABLE, 0, vma, at(i), false);
	nid_t nid = page ? page_to_nid(page) : NUMA_NO_NODE;

	if (page)
		put_page(page);
	return nid;
}

/* ---- what is a policy */

static void modes_take_the_nodes_they_need(void **state)
{
	static const struct {
		const char *name;
		enum mempolicy_mode mode;
		u64 bits;
		int error;
		enum mempolicy_mode becomes;
		u64 nodes;
	} table[] = {
		{ "default", MPOL_DEFAULT, 0, 0, MPOL_DEFAULT, 0 },
		{ "default with nodes", MPOL_DEFAULT, 1, -EINVAL, 0, 0 },
		{ "bind", MPOL_BIND, 0x6, 0, MPOL_BIND, 0x6 },
		{ "bind to nothing", MPOL_BIND, 0, -EINVAL, 0, 0 },
		{ "bind to absent nodes", MPOL_BIND, 0x30, -EINVAL, 0, 0 },
		{ "bind, some absent", MPOL_BIND, 0x32, 0, MPOL_BIND, 0x2 },
		{ "interleave", MPOL_INTERLEAVE, 0xf, 0, MPOL_INTERLEAVE, 0xf },
		{ "weighted", MPOL_WEIGHTED_INTERLEAVE, 0x12, 0, MPOL_WEIGHTED_INTERLEAVE, 0x2 },
		{ "weighted over nothing", MPOL_WEIGHTED_INTERLEAVE, 0x10, -EINVAL, 0, 0 },
		{ "interleave over nothing", MPOL_INTERLEAVE, 0, -EINVAL, 0, 0 },
		{ "preferred", MPOL_PREFERRED, 0x8, 0, MPOL_PREFERRED, 0x8 },
		{ "preferred, several: the first", MPOL_PREFERRED, 0xc, 0, MPOL_PREFERRED, 0x4 },
		{ "preferred without nodes: local", MPOL_PREFERRED, 0, 0, MPOL_LOCAL, 0 },
		{ "preferred, absent", MPOL_PREFERRED, 0x10, -EINVAL, 0, 0 },
		{ "local", MPOL_LOCAL, 0, 0, MPOL_LOCAL, 0 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		struct mempolicy *pol = (struct mempolicy *)&table;
		nodemask_t nodes = mask_of(table[i].bits);
		int error = mpol_new(table[i].mode, &nodes, &pol);

		if (error != table[i].error)
			fail_msg("%s: %d", table[i].name, error);
		if (error) {
			assert_ptr_equal(pol, &table); /* untouched */
			continue;
		}
		if (table[i].becomes == MPOL_DEFAULT) {
			assert_null(pol);
			continue;
		}
		if (pol->mode != table[i].becomes || pol->nodes.bits != table[i].nodes)
			fail_msg("%s: mode %d nodes %#lx", table[i].name, pol->mode, (unsigned long)pol->nodes.bits);
		assert_int_equal(atomic_read(&pol->refcnt), 1);
		mpol_put(pol);
	}
}

static void equal_policies_are_equal_by_content(void **state)
{
	struct mempolicy *a = policy(MPOL_BIND, 3), *b = policy(MPOL_BIND, 3), *c = policy(MPOL_BIND, 1),
			 *d = policy(MPOL_INTERLEAVE, 3);

	(void)state;
	assert_true(mpol_equal(a, b) && mpol_equal(a, a) && mpol_equal(NULL, NULL));
	assert_false(mpol_equal(a, c) || mpol_equal(a, d) || mpol_equal(a, NULL) || mpol_equal(NULL, a));
	mpol_put(a);
	mpol_put(b);
	mpol_put(c);
	mpol_put(d);
	mpol_put(NULL);
	mpol_get(NULL);
}

static void mpol_nodes_names_where_pages_may_be(void **state)
{
	struct mempolicy *bind = policy(MPOL_BIND, 5), *local = policy(MPOL_LOCAL, 0);
	nodemask_t nodes;

	(void)state;
	mpol_nodes(bind, &nodes);
	assert_int_equal(nodes.bits, 5);
	mpol_nodes(local, &nodes);
	assert_int_equal(nodes.bits, 0xf);
	mpol_nodes(NULL, &nodes);
	assert_int_equal(nodes.bits, 0xf);
	mpol_put(bind);
	mpol_put(local);
}

/* ---- which policy rules */

/* The VMA's, else the task's, else local. A tmpfs file's own comes before all, and the VMA's counts for nothing there. */
static void the_most_specific_policy_rules(void **state)
{
	struct mempolicy *of_file = policy(MPOL_BIND, 8), *of_vma = policy(MPOL_BIND, 4);
	nodemask_t two = mask_of(2);
	struct inode *inode;

	(void)state;
	assert_int_equal(get_vma_policy(vma, at(0))->mode, MPOL_LOCAL);
	assert_int_equal(set_mempolicy(MPOL_BIND, &two), 0);
	assert_int_equal(get_vma_policy(vma, at(0))->nodes.bits, 2);
	assert_int_equal(get_vma_policy(NULL, 0)->nodes.bits, 2);
	vma->vm_policy = of_vma;
	assert_int_equal(get_vma_policy(vma, at(0))->nodes.bits, 4);

	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	vma->vm_mapping = inode->i_mapping;
	assert_int_equal(get_vma_policy(vma, at(0))->nodes.bits, 2);
	assert_int_equal(mpol_set_shared_policy(inode, 100, 1, of_file), 0);
	assert_int_equal(get_vma_policy(vma, at(0))->nodes.bits, 8);
	assert_int_equal(get_vma_policy(vma, at(1))->nodes.bits, 2);
	mpol_free_shared_policy(inode);
	vma->vm_mapping = NULL;
	iput(inode);
	mpol_put(of_file);
}

/* ---- where pages come from */

/* The task runs on node 2 (CPU 8). Expect: local pages there; after it moves to node 0, there. */
static void local_is_where_the_task_runs(void **state)
{
	(void)state;
	current->cpu = 8;
	assert_int_equal(node_of_new(0), 2);
	current->cpu = 0;
	assert_int_equal(node_of_new(0), 0);
}

static void preferred_is_tried_first(void **state)
{
	(void)state;
	vma->vm_policy = policy(MPOL_PREFERRED, 8);
	assert_int_equal(node_of_new(0), 3);
	current->cpu = 4;
	assert_int_equal(node_of_new(5), 3);
	current->cpu = 0;
}

/* Bind to {1, 3}: from CPU 0 the nearest of them (here the lowest); the local node if it is among them. */
static void bind_stays_within_its_nodes(void **state)
{
	(void)state;
	vma->vm_policy = policy(MPOL_BIND, 0xa);
	assert_true(node_of_new(0) == 1 || node_of_new(0) == 3);
	current->cpu = 12;
	assert_int_equal(node_of_new(0), 3);
	current->cpu = 0;
}

/* Bound to node 1 and node 1 full. Expect: nothing, though others have room; preferred would go elsewhere. */
static void a_full_node_ends_bind_but_not_preferred(void **state)
{
	struct page *all[4096];
	unsigned int n = 0;

	(void)state;
	while (n < ARRAY_SIZE(all) && (all[n] = __alloc_pages_node(1, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, 0)))
		n++;
	assert_true(n > 0 && n < ARRAY_SIZE(all));
	vma->vm_policy = policy(MPOL_BIND, 2);
	assert_int_equal(node_of_new(0), NUMA_NO_NODE);
	mpol_put(vma->vm_policy);
	vma->vm_policy = policy(MPOL_PREFERRED, 2);
	assert_int_not_equal(node_of_new(0), 1);
	assert_int_not_equal(node_of_new(0), NUMA_NO_NODE);
	while (n)
		put_page(all[--n]);
}

/*
 * Interleave is arithmetic on the place, not on time: page i of a VMA whose first page is 100, over nodes {0, 2, 3}, gets
 * node number (100 + i) mod 3 of them. Touching in any order changes nothing.
 */
static void interleave_is_a_function_of_the_place(void **state)
{
	static const nid_t order[] = { 0, 2, 3 };
	u64 i;

	(void)state;
	vma->vm_policy = policy(MPOL_INTERLEAVE, 0xd);
	for (i = 64; i-- > 0;) {
		assert_int_equal(interleave_nid(vma->vm_policy, vma, at(i), 0), order[(100 + i) % 3]);
		assert_int_equal(node_of_new(i), order[(100 + i) % 3]);
	}
}

/* Huge pages interleave in units of their size: (pgoff >> order) + (distance >> order). */
static void huge_pages_interleave_in_their_own_units(void **state)
{
	static const nid_t order[] = { 0, 1, 2, 3 };
	u64 i;

	(void)state;
	vma->vm_policy = policy(MPOL_INTERLEAVE, 0xf);
	for (i = 0; i < 64; i += 16)
		assert_int_equal(interleave_nid(vma->vm_policy, vma, at(i), 4), order[((100 >> 4) + (i >> 4)) % 4]);
}

static void a_file_interleaves_by_its_own_offset(void **state)
{
	struct mempolicy *pol = policy(MPOL_INTERLEAVE, 0xf);
	u64 i;

	(void)state;
	for (i = 0; i < 8; i++) {
		struct page *page = alloc_pages_policy(GFP_HIGHUSER_MOVABLE, 0, pol, i, false);

		assert_int_equal(page_to_nid(page), i % 4);
		put_page(page);
	}
	mpol_put(pol);
}

/* ---- weights */

static void weigh(const u8 weights[4])
{
	nid_t nid;

	for (nid = 0; nid < 4; nid++)
		assert_int_equal(mpol_set_weight(nid, weights[nid]), 0);
}

static void weights_are_1_to_255_of_nodes_with_memory(void **state)
{
	static const struct {
		const char *name;
		nid_t nid;
		u64 weight;
		int error;
	} table[] = {
		{ "the least", 0, 1, 0 },
		{ "the most", 3, 255, 0 },
		{ "none", 0, 0, -EINVAL },
		{ "more than a byte holds", 0, 256, -EINVAL },
		{ "far more", 0, 1ULL << 40, -EINVAL },
		{ "absent node", 4, 1, -EINVAL },
		{ "no node", -1, 1, -EINVAL },
		{ "beyond all nodes", MAX_NUMNODES, 1, -EINVAL },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++)
		if (mpol_set_weight(table[i].nid, table[i].weight) != table[i].error)
			fail_msg("%s", table[i].name);
	assert_int_equal(scene->machine->interleave_weight[0], 1);
	assert_int_equal(scene->machine->interleave_weight[3], 255);
}

/*
 * Nodes {0, 2, 3} weighing 3, 1 and 2 stand in a row of six: 0 0 0 2 3 3. Page i of a VMA whose first page is 100 gets the
 * (100 + i) mod 6-th of them, in whatever order pages are touched. Node 1 weighs 200 and is not asked.
 */
static void weighted_interleave_is_a_function_of_the_place(void **state)
{
	static const nid_t row[] = { 0, 0, 0, 2, 3, 3 };
	u64 i;

	(void)state;
	weigh((const u8[]){ 3, 200, 1, 2 });
	vma->vm_policy = policy(MPOL_WEIGHTED_INTERLEAVE, 0xd);
	for (i = 64; i-- > 0;) {
		assert_int_equal(interleave_nid(vma->vm_policy, vma, at(i), 0), row[(100 + i) % 6]);
		assert_int_equal(node_of_new(i), row[(100 + i) % 6]);
		assert_int_equal(mpol_misplaced(row[(100 + i) % 6], vma, at(i)), NUMA_NO_NODE);
		assert_int_equal(mpol_misplaced(1, vma, at(i)), row[(100 + i) % 6]);
	}
	/* Huge pages in units of their size. */
	for (i = 0; i < 64; i += 16)
		assert_int_equal(interleave_nid(vma->vm_policy, vma, at(i), 4), row[((100 >> 4) + (i >> 4)) % 6]);
}

/* Nobody has written a weight: all are 1, and weighted is plain interleave. */
static void without_weights_weighted_is_plain_interleave(void **state)
{
	struct mempolicy *plain = policy(MPOL_INTERLEAVE, 0xb), *weighted = policy(MPOL_WEIGHTED_INTERLEAVE, 0xb);
	u64 i;

	(void)state;
	assert_false(mpol_equal(plain, weighted));
	for (i = 0; i < 64; i++)
		assert_int_equal(interleave_nid(weighted, vma, at(i), 0), interleave_nid(plain, vma, at(i), 0));
	mpol_put(plain);
	mpol_put(weighted);
}

static nid_t node_of_next(const struct mempolicy *pol, u64 index)
{
	struct page *page = alloc_pages_policy(GFP_HIGHUSER_MOVABLE, 0, pol, index, false);
	nid_t nid = page_to_nid(page);

	put_page(page);
	return nid;
}

/*
 * Pages that lie nowhere, of a task under a policy over nodes {1, 3}. Expect from the first node after each set_mempolicy:
 *
 *      plain               1 3 1 3 1
 *      weighing 2 and 3    1 1 3 3 3 1 1 3
 *      node 3 weighs 1 from its next turn on
 *
 * and that another task, and pages that lie somewhere, do not advance the counter.
 */
static void a_task_deals_out_its_nodes_in_turn(void **state)
{
	static const nid_t plain[] = { 1, 3, 1, 3, 1 }, weighted[] = { 1, 1, 3, 3, 3, 1, 1, 3 },
			   lighter[] = { 3, 3, 1, 1, 3, 1 };
	nodemask_t nodes = mask_of(0xa);
	struct task_struct *other, *boot = current;
	unsigned int i;

	(void)state;
	weigh((const u8[]){ 9, 2, 9, 3 });
	assert_int_equal(set_mempolicy(MPOL_INTERLEAVE, &nodes), 0);
	for (i = 0; i < ARRAY_SIZE(plain); i++)
		assert_int_equal(node_of_next(current->mempolicy, NO_INTERLEAVE_INDEX), plain[i]);
	assert_int_equal(set_mempolicy(MPOL_WEIGHTED_INTERLEAVE, &nodes), 0);
	other = ps_task_new(scene->rt, "other", NULL, NULL);
	for (i = 0; i < ARRAY_SIZE(weighted); i++) {
		assert_int_equal(node_of_next(current->mempolicy, NO_INTERLEAVE_INDEX), weighted[i]);
		assert_int_equal(node_of_next(current->mempolicy, i), i % 5 < 2 ? 1 : 3);
		ps_task_leave();
		ps_task_enter(other);
		other->machine = boot->machine;
		other->stats = boot->stats;
		if (!i)
			assert_int_equal(set_mempolicy(MPOL_WEIGHTED_INTERLEAVE, &nodes), 0);
		assert_int_equal(node_of_next(current->mempolicy, NO_INTERLEAVE_INDEX), weighted[i]);
		if (i == ARRAY_SIZE(weighted) - 1)
			assert_int_equal(set_mempolicy(MPOL_DEFAULT, NULL), 0);
		ps_task_leave();
		ps_task_enter(boot);
	}
	assert_int_equal(mpol_set_weight(3, 1), 0);
	for (i = 0; i < ARRAY_SIZE(lighter); i++)
		assert_int_equal(node_of_next(current->mempolicy, NO_INTERLEAVE_INDEX), lighter[i]);
	ps_task_free(other);
}

/* Node 1 is full. Expect that its pages come from elsewhere and all others from where they would: a turn is not made up for. */
static void a_full_node_loses_its_turn(void **state)
{
	struct page *all[4096];
	unsigned int n = 0;
	u64 i;

	(void)state;
	weigh((const u8[]){ 1, 2, 1, 1 });
	vma->vm_policy = policy(MPOL_WEIGHTED_INTERLEAVE, 0x6);
	while (n < ARRAY_SIZE(all) && (all[n] = __alloc_pages_node(1, GFP_HIGHUSER_MOVABLE | __GFP_THISNODE, 0)))
		n++;
	assert_true(n > 0 && n < ARRAY_SIZE(all));
	for (i = 0; i < 9; i++) {
		if ((100 + i) % 3 < 2)
			assert_true(node_of_new(i) != 1 && node_of_new(i) != NUMA_NO_NODE);
		else
			assert_int_equal(node_of_new(i), 2);
	}
	while (n)
		put_page(all[--n]);
}

/*
 * A huge page far away is worth less than small ones nearby: the local node alone is tried first, and without direct reclaim
 * it stays at that.
 */
static void a_huge_page_is_tried_on_the_local_node_alone(void **state)
{
	struct page *all[64], *page;
	unsigned int n = 0;

	(void)state;
	page = alloc_pages_vma(GFP_TRANSHUGE_LIGHT, 9, vma, at(0), true);
	assert_int_equal(page_to_nid(page), 0);
	put_page(page);
	while (n < ARRAY_SIZE(all) && (all[n] = __alloc_pages_node(0, GFP_TRANSHUGE_LIGHT | __GFP_THISNODE, 9)))
		n++;
	assert_true(n > 0 && n < ARRAY_SIZE(all));
	assert_null(alloc_pages_vma(GFP_TRANSHUGE_LIGHT, 9, vma, at(0), true));
	page = alloc_pages_vma(GFP_TRANSHUGE, 9, vma, at(0), true);
	assert_non_null(page);
	assert_int_not_equal(page_to_nid(page), 0);
	put_page(page);
	/* Not for an allocation that is huge for another reason. */
	page = alloc_pages_vma(GFP_TRANSHUGE_LIGHT, 9, vma, at(0), false);
	assert_non_null(page);
	put_page(page);
	while (n)
		put_page(all[--n]);
}

/* ---- is a page where its policy wants it? */

static void misplaced_pages_are_told_where_to_go(void **state)
{
	static const struct {
		const char *name;
		enum mempolicy_mode mode;
		u64 bits;
		nid_t page, want;
		int cpu;
	} table[] = {
		{ "bind, inside", MPOL_BIND, 0x6, 2, NUMA_NO_NODE },
		{ "bind, outside", MPOL_BIND, 0x6, 0, 1 },
		{ "bind, outside, from one of the nodes", MPOL_BIND, 0xa, 0, 3, 12 },
		{ "preferred, there", MPOL_PREFERRED, 0x4, 2, NUMA_NO_NODE },
		{ "preferred, elsewhere", MPOL_PREFERRED, 0x4, 1, 2 },
		{ "interleave, right", MPOL_INTERLEAVE, 0xf, 0, NUMA_NO_NODE }, /* page 100: 100 mod 4 = 0 */
		{ "interleave, wrong", MPOL_INTERLEAVE, 0xf, 1, 0 },
		{ "local, here", MPOL_LOCAL, 0, 0, NUMA_NO_NODE },
		{ "local, elsewhere", MPOL_LOCAL, 0, 3, 0 },
	};
	unsigned int i;

	(void)state;
	for (i = 0; i < ARRAY_SIZE(table); i++) {
		current->cpu = table[i].cpu;
		vma->vm_policy = policy(table[i].mode, table[i].bits);
		if (mpol_misplaced(table[i].page, vma, at(0)) != table[i].want)
			fail_msg("%s: node %d", table[i].name, mpol_misplaced(table[i].page, vma, at(0)));
		mpol_put(vma->vm_policy);
		vma->vm_policy = NULL;
	}
}

/* ---- policies of shared files, by range */

/* Against an array with one policy per page: random ranges set, replaced and taken away. */
static void ranges_of_a_shared_file_are_cut_right(void **state)
{
	struct mempolicy *pols[4], *want[64] = { NULL };
	struct inode *inode;
	struct ps_rng rng;
	unsigned int round, i;

	(void)state;
	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	for (i = 0; i < 4; i++)
		pols[i] = policy(MPOL_BIND, 1 + i);
	ps_rng_init(&rng, 11);
	assert_int_equal(mpol_set_shared_policy(inode, 0, 64, NULL), 0);
	assert_null(inode->i_policy);
	for (round = 0; round < 1000; round++) {
		u64 first = ps_rng_below(&rng, 64), n = 1 + ps_rng_below(&rng, 64 - first);
		struct mempolicy *pol = ps_rng_below(&rng, 5) ? pols[ps_rng_below(&rng, 4)] : NULL;

		assert_int_equal(mpol_set_shared_policy(inode, first, n, pol), 0);
		for (i = first; i < first + n; i++)
			want[i] = pol;
		for (i = 0; i < 64; i++)
			assert_ptr_equal(mpol_shared_policy_lookup(inode, i), want[i]);
		assert_null(mpol_shared_policy_lookup(inode, 64));
	}
	mpol_free_shared_policy(inode);
	for (i = 0; i < 4; i++) {
		assert_int_equal(atomic_read(&pols[i]->refcnt), 1); /* every range gave its reference back */
		mpol_put(pols[i]);
	}
	assert_null(mpol_shared_policy_lookup(inode, 0));
	mpol_free_shared_policy(inode);
	iput(inode);
}

/* A range in the middle of another needs a node for the upper half besides its own. Expect: -ENOMEM and nothing changed. */
static void without_memory_a_shared_policy_stays_as_it_was(void **state)
{
	struct mempolicy *a = policy(MPOL_BIND, 1), *b = policy(MPOL_BIND, 2);
	struct inode *inode;
	u64 n;

	(void)state;
	assert_int_equal(ps_file_open(scene->machine->files, "/t/f", true, &inode), 0);
	for (n = 1;; n++) {
		int error;

		mpol_free_shared_policy(inode);
		ps_alloc_fail_nth(n);
		error = mpol_set_shared_policy(inode, 0, 10, a);
		if (!error)
			error = mpol_set_shared_policy(inode, 4, 2, b);
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(error, 0);
			break;
		}
		assert_int_equal(error, -ENOMEM);
		assert_ptr_not_equal(mpol_shared_policy_lookup(inode, 4), b);
		assert_ptr_equal(mpol_shared_policy_lookup(inode, 9), mpol_shared_policy_lookup(inode, 4));
	}
	assert_ptr_equal(mpol_shared_policy_lookup(inode, 4), b);
	assert_ptr_equal(mpol_shared_policy_lookup(inode, 6), a);
	mpol_free_shared_policy(inode);
	iput(inode);
	mpol_put(a);
	mpol_put(b);
}

static void set_mempolicy_replaces_and_resets(void **state)
{
	nodemask_t one = mask_of(2), none = mask_of(0), absent = mask_of(1ULL << 40);

	(void)state;
	assert_int_equal(get_task_policy(current)->mode, MPOL_LOCAL);
	assert_int_equal(set_mempolicy(MPOL_BIND, &one), 0);
	assert_int_equal(get_task_policy(current)->mode, MPOL_BIND);
	assert_int_equal(set_mempolicy(MPOL_BIND, &absent), -EINVAL);
	assert_int_equal(get_task_policy(current)->nodes.bits, 2);
	ps_alloc_fail_nth(1);
	assert_int_equal(set_mempolicy(MPOL_INTERLEAVE, &one), -ENOMEM);
	assert_int_equal(get_task_policy(current)->mode, MPOL_BIND);
	assert_int_equal(set_mempolicy(MPOL_DEFAULT, &none), 0);
	assert_int_equal(get_task_policy(current)->mode, MPOL_LOCAL);
}

#define test(name) cmocka_unit_test_setup_teardown(name, setup, teardown)

int main(void)
{
	const struct CMUnitTest tests[] = {
		test(modes_take_the_nodes_they_need),
		test(equal_policies_are_equal_by_content),
		test(mpol_nodes_names_where_pages_may_be),
		test(the_most_specific_policy_rules),
		test(local_is_where_the_task_runs),
		test(preferred_is_tried_first),
		test(bind_stays_within_its_nodes),
		test(a_full_node_ends_bind_but_not_preferred),
		test(interleave_is_a_function_of_the_place),
		test(huge_pages_interleave_in_their_own_units),
		test(a_file_interleaves_by_its_own_offset),
		test(weights_are_1_to_255_of_nodes_with_memory),
		test(weighted_interleave_is_a_function_of_the_place),
		test(without_weights_weighted_is_plain_interleave),
		test(a_task_deals_out_its_nodes_in_turn),
		test(a_full_node_loses_its_turn),
		test(a_huge_page_is_tried_on_the_local_node_alone),
		test(misplaced_pages_are_told_where_to_go),
		test(ranges_of_a_shared_file_are_cut_right),
		test(without_memory_a_shared_policy_stays_as_it_was),
		test(set_mempolicy_replaces_and_resets),
	};

	return cmocka_run_group_tests_name("memory policies", tests, NULL, NULL);
}
