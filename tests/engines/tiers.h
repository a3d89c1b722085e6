/* SPDX-License-Identifier: MIT */
/*
 * A whole computer with a few small nodes, in one line: what the tests of reclaim and of policies stand on. Teardown lets
 * the kernel threads come to rest, proves that memory and files agree with each other, and that nothing leaked.
 */
#ifndef TESTS_ENGINES_TIERS_H
#define TESTS_ENGINES_TIERS_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
/* after the above */
#include <cmocka.h>

#include <pagesim/alloc.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/lru.h>
#include <pagesim/machine.h>
#include <pagesim/mem.h>
#include <pagesim/mempolicy.h>
#include <pagesim/mmap.h>
#include <pagesim/page_alloc.h>
#include <pagesim/page_flags.h>
#include <pagesim/reclaim.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>
#include <pagesim/world.h>

#define MIB  (1024 * 1024ull)
#define BASE 0x10000000ull

/** A node: size, CPUs, kind. */
struct tier_node {
	u64 mib;
	unsigned int cpus;
	enum ps_memory_kind kind;
};

struct tiers {
	struct ps_world *world;
	struct task_struct *task; /* entered; on the first CPU */
	struct ps_vmstat before;
	u64 live; /* blocks of host memory before it all */
};

static inline void tiers_spec(struct ps_machine_spec *spec, const struct tier_node *nodes, unsigned int nr)
{
	unsigned int i, c;

	ps_machine_spec_init(spec);
	spec->nr_nodes = nr;
	for (i = 0; i < nr; i++) {
		spec->node[i].bytes = nodes[i].mib * MIB;
		spec->node[i].kind = nodes[i].kind;
		for (c = 0; c < nodes[i].cpus; c++)
			spec->cpu_node[spec->nr_cpus++] = (s16)i;
	}
	ps_machine_spec_fill(spec);
}

static inline s64 counter(const struct tiers *t, nid_t nid, const char *name)
{
	int index = ps_vmstat_find(name);

	assert_true(index >= 0);
	return ps_vmstat_read(t->world->stats, nid, index);
}

/** Since mark(). */
static inline s64 delta(const struct tiers *t, const char *name)
{
	return counter(t, NUMA_NO_NODE, name) - t->before.value[ps_vmstat_find(name)];
}

static inline void mark(struct tiers *t)
{
	ps_vmstat_snapshot(t->world->stats, NUMA_NO_NODE, &t->before);
}

static inline struct tiers *tiers_open_with(const struct tier_node *nodes, unsigned int nr,
					    const struct ps_world_settings *settings)
{
	struct ps_machine_spec *spec = calloc(1, sizeof(*spec));
	struct tiers *t = calloc(1, sizeof(*t));
	struct ps_alloc_counts counts;

	assert_non_null(spec);
	assert_non_null(t);
	ps_alloc_counts(&counts);
	t->live = counts.live;
	/* A test that failed left its scene open. */
	if (ps_current)
		ps_task_leave();
	tiers_spec(spec, nodes, nr);
	assert_int_equal(ps_world_new(spec, settings, &t->world), 0);
	free(spec);
	t->task = ps_world_start(t->world, "A", 0);
	assert_non_null(t->task);
	ps_task_enter(t->task);
	mark(t);
	return t;
}

static inline struct tiers *tiers_open(const struct tier_node *nodes, unsigned int nr)
{
	static const struct ps_world_settings settings = { .contents = PS_CONTENTS_TAG };

	return tiers_open_with(nodes, nr, &settings);
}

/** Lets kernel threads finish what they are at. */
static inline void settle(struct tiers *t)
{
	ps_task_leave();
	ps_runtime_run(t->world->rt, UINT64_MAX);
	ps_task_enter(t->task);
}

static inline void tiers_check(struct tiers *t)
{
	struct ps_mem_fault faults[8];
	char why[200];
	int i, nr;

	settle(t);
	nr = ps_mem_check(t->world->machine, faults, 8);
	for (i = 0; i < nr && i < 8; i++)
		print_error("%s\n", faults[i].text);
	assert_int_equal(nr, 0);
	if (!ps_files_validate(t->world->machine->files, why, sizeof(why)))
		fail_msg("%s", why);
	assert_int_equal(counter(t, NUMA_NO_NODE, "nr_isolated_anon"), 0);
	assert_int_equal(counter(t, NUMA_NO_NODE, "nr_isolated_file"), 0);
}

static inline void tiers_close(struct tiers *t)
{
	struct ps_alloc_counts counts;

	tiers_check(t);
	ps_task_leave();
	ps_world_exit(t->world, t->task);
	ps_world_free(t->world);
	ps_alloc_counts(&counts);
	assert_int_equal(counts.live, t->live);
	free(t);
}

/** Touches one page; its time is that of an access to memory. Return: as ps_mmu_access. */
static inline int touch(u64 addr, bool write)
{
	struct ps_access access;
	int error = ps_mmu_access(addr, write, &access);

	if (!error)
		ps_charge(ps_access_ns(this_machine(), numa_node_id(), access.nid, write), PS_TIME_ACCESS);
	return error;
}

/** Stores a word; as one step, as hardware does. */
static inline int store(u64 addr, u64 word)
{
	struct ps_access access;
	int error = ps_mmu_access(addr, true, &access);

	if (!error)
		pfn_to_page(access.pfn)->contents = word;
	return error;
}

static inline u64 load(u64 addr)
{
	struct ps_access access;

	assert_int_equal(ps_mmu_access(addr, false, &access), 0);
	return pfn_to_page(access.pfn)->contents;
}

/** Where the page is; NUMA_NO_NODE: not present. Does not touch it. */
static inline nid_t node_of(u64 addr)
{
	struct mm_struct *mm = current->mm;
	pmd_t *pmd = pmd_find(&mm->pt, addr), top;
	pte_t pte;

	if (!pmd)
		return NUMA_NO_NODE;
	top = pmdp_get(pmd);
	if (pmd_leaf_or_swap(top))
		return pmd_present(top) ? pfn_to_nid(pmd_pfn(top)) : NUMA_NO_NODE;
	if (!pmd_table(top))
		return NUMA_NO_NODE;
	pte = ptep_get(pte_offset_map(&mm->pt, top, addr));
	return pte_present(pte) ? pfn_to_nid(pte_pfn(pte)) : NUMA_NO_NODE;
}

/** How many of the pages are on the node. */
static inline unsigned long pages_on(nid_t nid, u64 start, unsigned long pages)
{
	unsigned long i, n = 0;

	for (i = 0; i < pages; i++)
		n += node_of(start + i * PAGE_SIZE) == nid;
	return n;
}

static inline void map_anon(u64 addr, unsigned long pages)
{
	assert_int_equal(do_mmap(current->mm, addr, pages * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, 0, NULL, 0), 0);
}

/** From now on the current task's new pages come from this node alone. */
static inline void bind_to(nid_t nid)
{
	nodemask_t nodes = NODE_MASK_NONE;

	node_set(nid, nodes);
	assert_int_equal(set_mempolicy(MPOL_BIND, &nodes), 0);
}

static inline void unbind(void)
{
	assert_int_equal(set_mempolicy(MPOL_DEFAULT, NULL), 0);
}

/** Touches pages in order; stops at the first that fails. Return: how many were touched. */
static inline unsigned long fill(u64 start, unsigned long pages)
{
	unsigned long i;

	for (i = 0; i < pages; i++)
		if (store(start + i * PAGE_SIZE, i + 1))
			break;
	return i;
}

#endif
