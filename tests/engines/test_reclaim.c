/* SPDX-License-Identifier: MIT */
/*
 * Reclaim: what a node does that runs short of memory. The relations are those seen on a real Linux 6.1
 * (reference/linux-6.1/relations.md, "demotion"), on a machine small enough to be short of memory soon.
 */
#include "engines/tiers.h"

#include <pagesim/shmem.h>
#include <pagesim/tlbflush.h>

static const struct tier_node fast_slow[] = { { 32, 2, PS_MEMORY_DRAM }, { 64, 0, PS_MEMORY_CXL } };
static const struct tier_node one_tier[] = { { 32, 2, PS_MEMORY_DRAM }, { 64, 0, PS_MEMORY_DRAM } };
static const struct tier_node three_tiers[] = { { 32, 2, PS_MEMORY_DRAM },
						{ 32, 0, PS_MEMORY_CXL },
						{ 64, 0, PS_MEMORY_OPTANE } };

static struct zone *normal_zone(nid_t nid)
{
	return &NODE_DATA(nid)->node_zones[ZONE_NORMAL];
}

/*
 *   node 0 (32 MiB) full of pages that must be there    ──kswapd──>    node 1 (64 MiB, slow)
 * Expect more pages than node 0 holds to be given, the first ones on node 1 with their contents.
 */
static void demotion_makes_room_on_the_fast_node(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const unsigned long pages = 12 * 1024;
	unsigned long i, down;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, pages);
	bind_to(0);
	assert_int_equal(fill(BASE, pages), pages);
	settle(t);

	down = pages_on(1, BASE, pages);
	assert_true(down >= pages - 8 * 1024);
	assert_int_equal(pages_on(0, BASE, pages) + down, pages);
	assert_true(delta(t, "pgdemote_kswapd") > 0);
	assert_int_equal(delta(t, "pgdemote_kswapd") + delta(t, "pgdemote_direct"), down);
	/* All through migration, and nothing else moved. */
	assert_int_equal(delta(t, "pgmigrate_success"), down);
	assert_int_equal(delta(t, "pgsteal_kswapd") + delta(t, "pgsteal_direct"), down);
	assert_int_equal(delta(t, "pgsteal_anon"), down);
	assert_int_equal(delta(t, "oom_kill"), 0);
	assert_int_equal(t->world->machine->reclaim->oom_failures, 0);
	/* Cold means not used for long: what was written last is still here. */
	assert_int_equal(pages_on(0, BASE + (pages - 1000) * PAGE_SIZE, 1000), 1000);
	for (i = 0; i < pages; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), i + 1);
	tiers_close(t);
}

/* Expect kswapd to go on until the high watermark, and not far beyond it. */
static void kswapd_stops_at_the_high_watermark(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	struct zone *zone = normal_zone(0);
	unsigned long pages, free;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, 16 * 1024);
	bind_to(0);
	/* Page by page, so that it is seen where the first wake-up happens. */
	for (pages = 0; !ps_kswapd_task(t->world->machine, 0); pages++) {
		free = zone_page_state(zone, NR_FREE_PAGES);
		assert_true(pages < 16 * 1024);
		assert_int_equal(store(BASE + pages * PAGE_SIZE, 1), 0);
	}
	assert_true(free <= low_wmark_pages(zone) + 1);
	settle(t);
	free = zone_page_state(zone, NR_FREE_PAGES);
	assert_true(free > high_wmark_pages(zone));
	assert_true(free <= 2 * high_wmark_pages(zone) + SWAP_CLUSTER_MAX);
	assert_int_equal(delta(t, "pgdemote_direct"), 0);
	/* In the first run most pages are seen used, by the faults that brought them. */
	assert_in_range(delta(t, "pageoutrun"), 1, 3);
	/* At rest it stays at rest. */
	mark(t);
	settle(t);
	assert_int_equal(delta(t, "pgscan_kswapd"), 0);
	/* And its time is its own: the task paid for none of it. */
	assert_int_equal(t->task->time[PS_TIME_RECLAIM], 0);
	assert_true(ps_kswapd_task(t->world->machine, 0)->time[PS_TIME_RECLAIM] > 0);
	/* On the node's CPUs, beside the task: what it unmaps is shot down there. */
	assert_int_equal(t->world->machine->cpus[ps_kswapd_task(t->world->machine, 0)->cpu].node, 0);
	assert_int_not_equal(ps_kswapd_task(t->world->machine, 0)->cpu, t->task->cpu);
	assert_null(ps_kswapd_task(t->world->machine, 1));
	tiers_close(t);
}

/* Expect, while pages are to be promoted to it, more room to be kept. */
static void tiering_mode_keeps_the_promo_watermark(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	struct zone *zone = normal_zone(0);

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	t->world->machine->faults->numa_balancing = NUMA_BALANCING_MEMORY_TIERING;
	map_anon(BASE, 9 * 1024);
	bind_to(0);
	assert_int_equal(fill(BASE, 9 * 1024), 9 * 1024);
	settle(t);
	assert_true(zone_page_state(zone, NR_FREE_PAGES) > wmark_pages(zone, WMARK_PROMO));
	assert_true(wmark_pages(zone, WMARK_PROMO) > high_wmark_pages(zone));
	tiers_close(t);
}

/*
 * Without swap and without demotion there is nowhere to put anonymous memory.
 * Expect the allocation to fail, counted where Linux would have killed, and the anonymous lists not to be scanned.
 */
static void without_demotion_anonymous_memory_stays(void **state)
{
	static const struct {
		const char *name;
		const struct tier_node *nodes;
		bool enabled;
	} cases[] = { { "switched off", fast_slow, false }, { "no lower tier", one_tier, true } };
	unsigned int c;

	(void)state;
	for (c = 0; c < ARRAY_SIZE(cases); c++) {
		struct tiers *t = tiers_open(cases[c].nodes, 2);
		unsigned long pages;

		t->world->machine->reclaim->demotion_enabled = cases[c].enabled;
		map_anon(BASE, 9 * 1024);
		bind_to(0);
		pages = fill(BASE, 9 * 1024);
		assert_true(pages < 8 * 1024);
		assert_int_equal(touch(BASE + pages * PAGE_SIZE, true), -ENOMEM);
		assert_true(t->world->machine->reclaim->oom_failures > 0);
		assert_int_equal(pages_on(0, BASE, pages), pages);
		assert_int_equal(delta(t, "pgscan_anon"), 0);
		assert_int_equal(delta(t, "pgdemote_kswapd") + delta(t, "pgdemote_direct"), 0);
		assert_int_equal(delta(t, "pgmigrate_success"), 0);
		/* Elsewhere there is room. */
		unbind();
		assert_int_equal(touch(BASE + pages * PAGE_SIZE, true), 0);
		assert_int_equal(node_of(BASE + pages * PAGE_SIZE), 1);
		tiers_close(t);
	}
}

/*
 *   [THP] x 8, cold                    on node 0
 *   small pages until it is short
 * Expect THPs to go down whole: still huge, still mapped by PMDs.
 */
static void huge_pages_are_demoted_whole(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const u64 huge = 0x40000000ull;
	unsigned long i, down = 0;
	s64 thps;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(huge, 8 * 512);
	assert_int_equal(do_madvise(current->mm, huge, 8 * 2 * MIB, PS_MADV_HUGEPAGE), 0);
	bind_to(0);
	for (i = 0; i < 8; i++)
		assert_int_equal(store(huge + i * 2 * MIB, i + 1), 0);
	thps = counter(t, NUMA_NO_NODE, "nr_anon_transparent_hugepages");
	assert_int_equal(thps, 8);
	map_anon(BASE, 6 * 1024);
	assert_int_equal(fill(BASE, 6 * 1024), 6 * 1024);
	settle(t);
	for (i = 0; i < 8; i++)
		down += node_of(huge + i * 2 * MIB) == 1;
	assert_true(down >= 4);
	assert_int_equal(delta(t, "thp_migration_success"), down);
	assert_int_equal(delta(t, "thp_migration_split") + delta(t, "thp_split_page") + delta(t, "thp_split_pmd"), 0);
	assert_int_equal(counter(t, NUMA_NO_NODE, "nr_anon_transparent_hugepages"), thps);
	for (i = 0; i < 8; i++)
		assert_int_equal(load(huge + i * 2 * MIB), i + 1);
	tiers_close(t);
}

/*
 *   node 0 ──> node 1 (full) ──> node 2
 * Expect the middle node's kswapd to be woken by demotions to it, and to make room by demoting further down.
 */
static void demotion_cascades_down_the_tiers(void **state)
{
	struct tiers *t = tiers_open(three_tiers, 3);
	const unsigned long pages = 18 * 1024;

	(void)state;
	/* Optane and CXL have the same abstract distance: make three tiers of them. */
	if (t->world->machine->nr_tiers == 2) {
		ps_task_leave();
		ps_world_exit(t->world, t->task);
		ps_world_free(t->world);
		{
			struct ps_machine_spec *spec = calloc(1, sizeof(*spec));
			const struct ps_world_settings settings = { .contents = PS_CONTENTS_TAG };

			tiers_spec(spec, three_tiers, 3);
			spec->node[2].abstract_distance = 5000;
			assert_int_equal(ps_world_new(spec, &settings, &t->world), 0);
			free(spec);
		}
		t->task = ps_world_start(t->world, "A", 0);
		ps_task_enter(t->task);
		mark(t);
	}
	assert_int_equal(t->world->machine->nr_tiers, 3);
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, pages);
	bind_to(0);
	assert_int_equal(fill(BASE, pages), pages);
	settle(t);
	assert_non_null(ps_kswapd_task(t->world->machine, 1));
	assert_true(pages_on(1, BASE, pages) > 6 * 1024);
	assert_true(pages_on(2, BASE, pages) > 1024);
	tiers_close(t);
}

/*
 * Used pages stay, unused ones go: half of the pages is used between two rounds of reclaim.
 * Expect the used half on the fast node, the unused half below.
 */
static void pages_in_use_stay(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const unsigned long pages = 4000;
	unsigned long i, round, used_down = 0, unused_down = 0;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, pages);
	assert_int_equal(fill(BASE, pages), pages);
	/* The first use of each page is the fault's own and does not count: a look that takes next to nothing clears it. */
	for (round = 0; round < 12; round++) {
		ps_reclaim_node(0, round ? 100 : 1);
		flush_tlb_mm(&current->mm->pt);
		for (i = 0; i < pages; i += 2)
			assert_int_equal(touch(BASE + i * PAGE_SIZE, false), 0);
	}
	for (i = 0; i < pages; i++) {
		if (node_of(BASE + i * PAGE_SIZE) != 1)
			continue;
		if (i % 2)
			unused_down++;
		else
			used_down++;
	}
	assert_true(unused_down > 1000);
	assert_true(used_down * 20 < unused_down);
	assert_true(delta(t, "pgactivate") > 1000);
	tiers_close(t);
}

static struct inode *disk_file(struct tiers *t, unsigned long pages)
{
	struct inode *inode;
	unsigned long i;

	assert_int_equal(ps_file_open(t->world->machine->files, "/d/f", true, &inode), 0);
	for (i = 0; i < pages; i++)
		assert_int_equal(file_write_page(inode, i, 1000 + i, NULL), 0);
	return inode;
}

/*
 * Expect clean pages of a file to be dropped, mapped or not, and to come back from the disk when they are wanted; without
 * demotion anonymous pages beside them stay.
 */
static void clean_file_pages_are_dropped_and_read_back(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const unsigned long pages = 2000;
	struct inode *inode = disk_file(t, pages);
	unsigned long i, gone;
	u64 word;

	(void)state;
	assert_int_equal(file_fsync(inode), 0);
	assert_int_equal(do_mmap(current->mm, BASE, 1000 * PAGE_SIZE, MM_PROT_READ, MM_MAP_SHARED, inode, 0), 0);
	for (i = 0; i < 1000; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), 1000 + i);
	map_anon(2 * BASE, 500);
	assert_int_equal(fill(2 * BASE, 500), 500);
	mark(t);
	for (i = 0, gone = 0; i < 8; i++)
		gone += ps_reclaim_node(0, 1000);
	assert_true(gone >= 1900);
	assert_int_equal(delta(t, "pgsteal_file"), gone);
	assert_int_equal(delta(t, "pgsteal_direct"), gone);
	assert_int_equal(delta(t, "pgsteal_anon") + delta(t, "pgscan_anon"), 0);
	assert_int_equal(inode->i_mapping->nrpages, pages - gone);
	assert_int_equal(pages_on(0, 2 * BASE, 500), 500);
	assert_true(current->time[PS_TIME_RECLAIM] > 0);
	for (i = 0; i < 1000; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), 1000 + i);
	for (i = 1000; i < pages; i++) {
		assert_int_equal(file_read_page(inode, i, &word, NULL), 1);
		assert_int_equal(word, 1000 + i);
	}
	iput(inode);
	tiers_close(t);
}

/* Expect dirty pages to be left to kswapd, who writes them when it meets nothing else; nothing written is lost. */
static void dirty_file_pages_are_written_by_kswapd_alone(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const unsigned long pages = 9 * 1024;
	struct inode *inode;
	unsigned long i;
	u64 word;

	(void)state;
	inode = disk_file(t, 500);
	mark(t);
	assert_true(ps_reclaim_node(0, 500) == 0);
	assert_int_equal(delta(t, "nr_vmscan_write"), 0);
	assert_true(delta(t, "nr_vmscan_immediate_reclaim") > 0);

	/* More than the machine has: the cache can only grow if something is written out. */
	for (i = 500; i < 30000; i++)
		assert_int_equal(file_write_page(inode, i, 1000 + i, NULL), 0);
	settle(t);
	assert_true(delta(t, "nr_vmscan_write") > 0);
	assert_true(delta(t, "pgsteal_kswapd") > 0);
	for (i = 0; i < pages; i++) {
		assert_int_equal(file_read_page(inode, i, &word, NULL), 1);
		assert_int_equal(word, 1000 + i);
	}
	iput(inode);
	tiers_close(t);
}

/* Expect pages of shared memory and files to be demoted like any other, and mlocked ones to stay. */
static void every_kind_of_page_is_demoted_but_mlocked_ones(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	struct inode *disk = disk_file(t, 300), *shm;
	unsigned long i;

	(void)state;
	assert_int_equal(file_fsync(disk), 0);
	assert_int_equal(shmem_file_setup(t->world->machine->files, 300 * PAGE_SIZE, &shm), 0);
	t->world->machine->reclaim->demotion_enabled = true;
	assert_int_equal(do_mmap(current->mm, BASE, 300 * PAGE_SIZE, MM_PROT_READ, MM_MAP_SHARED, disk, 0), 0);
	assert_int_equal(
		do_mmap(current->mm, 2 * BASE, 300 * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_SHARED, shm, 0),
		0);
	map_anon(3 * BASE, 300);
	assert_int_equal(do_mlock(current->mm, 3 * BASE, 100 * PAGE_SIZE), 0);
	for (i = 0; i < 300; i++)
		assert_int_equal(touch(BASE + i * PAGE_SIZE, false), 0);
	assert_int_equal(fill(2 * BASE, 300), 300);
	assert_int_equal(fill(3 * BASE, 300), 300);
	for (i = 0; i < 12; i++)
		ps_reclaim_node(0, 1000);
	assert_int_equal(pages_on(1, BASE, 300), 300);
	assert_int_equal(pages_on(1, 2 * BASE, 300), 300);
	assert_int_equal(pages_on(0, 3 * BASE, 100), 100);
	assert_int_equal(pages_on(1, 3 * BASE + 100 * PAGE_SIZE, 200), 200);
	for (i = 0; i < 300; i++) {
		assert_int_equal(load(BASE + i * PAGE_SIZE), 1000 + i);
		assert_int_equal(load(2 * BASE + i * PAGE_SIZE), i + 1);
		assert_int_equal(load(3 * BASE + i * PAGE_SIZE), i + 1);
	}
	iput(disk);
	iput(shm);
	tiers_close(t);
}

/* Expect direct reclaim, when kswapd cannot keep up, to cost the allocating task reclaim time and nothing to migration. */
static void direct_reclaim_is_paid_by_who_allocates(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	ps_ns_t total = 0;
	unsigned int i;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, 4000);
	assert_int_equal(fill(BASE, 4000), 4000);
	assert_true(ps_reclaim_node(0, 1000) >= 1000 || ps_reclaim_node(0, 1000) >= 1000);
	assert_true(delta(t, "pgdemote_direct") >= 1000);
	assert_int_equal(delta(t, "pgdemote_kswapd"), 0);
	assert_true(delta(t, "allocstall_movable") > 0);
	assert_true(current->time[PS_TIME_RECLAIM] > 1000 * 1000);
	assert_int_equal(current->time[PS_TIME_MIGRATE], 0);
	for (i = 0; i < PS_NR_TIME_CLASSES; i++)
		total += current->time[i];
	assert_int_equal(total, current->now - current->started);
	assert_int_equal(ps_reclaim_node(0, 0), 0);
	assert_int_equal(ps_reclaim_node(7, 100), 0);
	assert_int_equal(ps_reclaim_node(-1, 100), 0);
	tiers_close(t);
}

/* Expect the lowest tier to be full in the end: then the fast node's pages stay, and its allocations fail. */
static void a_full_lower_tier_ends_demotion(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	unsigned long pages;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, 32 * 1024);
	bind_to(0);
	pages = fill(BASE, 32 * 1024);
	assert_true(pages > 21 * 1024 && pages < 24 * 1024);
	assert_true(t->world->machine->reclaim->oom_failures > 0);
	/* kswapd has given the node up, and does not spin. */
	settle(t);
	mark(t);
	settle(t);
	assert_int_equal(delta(t, "pgscan_kswapd"), 0);
	/* Memory comes back: it works again. */
	assert_int_equal(do_munmap(current->mm, BASE, 20 * 1024 * PAGE_SIZE), 0);
	mark(t);
	map_anon(BASE, 12 * 1024);
	assert_int_equal(fill(BASE, 12 * 1024), 12 * 1024);
	assert_true(delta(t, "pgdemote_kswapd") + delta(t, "pgdemote_direct") > 0);
	tiers_close(t);
}

/* Expect a huge page nobody maps whole any more to be split for its unused part, and the huge zero page to be given back. */
static void shrinkers_give_back_what_is_on_no_list(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const u64 huge = 0x40000000ull;
	unsigned long i;

	(void)state;
	map_anon(huge, 4 * 512);
	assert_int_equal(do_madvise(current->mm, huge, 4 * 2 * MIB, PS_MADV_HUGEPAGE), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(store(huge + i * 2 * MIB, 1), 0);
	for (i = 0; i < 3; i++)
		assert_int_equal(do_madvise(current->mm, huge + i * 2 * MIB + 100 * PAGE_SIZE, 200 * PAGE_SIZE,
					    PS_MADV_DONTNEED),
				 0);
	assert_int_equal(delta(t, "thp_deferred_split_page"), 3);
	ps_reclaim_node(0, 8000);
	assert_int_equal(delta(t, "thp_split_page"), 3);
	assert_true(delta(t, "slabs_scanned") >= 3);
	tiers_close(t);
}

/* One run under pressure, with what a program does in it. Return: the counters at its end. */
static void pressure(struct ps_vmstat *ret, const struct ps_world_settings *settings, ps_ns_t *ret_now)
{
	struct tiers *t = tiers_open_with(fast_slow, 2, settings);
	unsigned long i, round;

	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, 11000);
	bind_to(0);
	for (round = 0; round < 2; round++)
		for (i = 0; i < 11000; i++)
			assert_int_equal(store(BASE + (i * 7919 % 11000) * PAGE_SIZE, i * 7919 % 11000), 0);
	for (i = 0; i < 11000; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), i);
	settle(t);
	ps_vmstat_snapshot(t->world->stats, NUMA_NO_NODE, ret);
	*ret_now = ps_runtime_now(t->world->rt);
	tiers_close(t);
}

/* Expect the same run to give the same counters and the same time. */
static void the_same_run_gives_the_same_numbers(void **state)
{
	const struct ps_world_settings settings = { .contents = PS_CONTENTS_TAG };
	static struct ps_vmstat a, b;
	ps_ns_t at, bt;

	(void)state;
	pressure(&a, &settings, &at);
	pressure(&b, &settings, &bt);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(at, bt);
	assert_true(a.value[ps_vmstat_find("pgdemote_kswapd")] > 0);
}

struct program {
	u64 base;
	unsigned long pages;
	int cpu;
	bool done;
	unsigned long wrong; /* words not as written, accesses that failed */
};

static void program_runs(void *arg)
{
	struct program *p = arg;
	unsigned long i, round;

	current->cpu = p->cpu;
	for (round = 0; round < 2; round++)
		for (i = 0; i < p->pages; i++) {
			struct ps_access access;

			if (round)
				p->wrong += ps_mmu_access(p->base + i * PAGE_SIZE, false, &access) ||
					    pfn_to_page(access.pfn)->contents != p->base + i;
			p->wrong += store(p->base + i * PAGE_SIZE, p->base + i) != 0;
			ps_charge(50, PS_TIME_ACCESS);
			cond_resched();
		}
	p->done = true;
}

/* Two threads and kswapd, stopped at random between any two steps. Expect no store to be lost and all lists to be right. */
static void stores_survive_demotion_at_any_moment(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 6; seed++) {
		const struct ps_world_settings settings = { .runtime = { .seed = seed, .shuffle = 3000 },
							    .contents = PS_CONTENTS_TAG };
		struct tiers *t = tiers_open_with(fast_slow, 2, &settings);
		struct program p[2] = { { .base = BASE, .pages = 5000, .cpu = 0 },
					{ .base = BASE + 5000 * PAGE_SIZE, .pages = 5000, .cpu = 1 } };
		struct task_struct *tasks[2];
		int i;

		t->world->machine->reclaim->demotion_enabled = true;
		map_anon(BASE, 10000);
		bind_to(0);
		for (i = 0; i < 2; i++) {
			tasks[i] = ps_task_new(t->world->rt, "program", program_runs, &p[i]);
			assert_non_null(tasks[i]);
			tasks[i]->mempolicy = current->mempolicy;
		}
		ps_task_leave();
		ps_runtime_run(t->world->rt, UINT64_MAX);
		ps_task_enter(t->task);
		for (i = 0; i < 2; i++) {
			assert_true(p[i].done);
			assert_int_equal(p[i].wrong, 0);
			ps_task_free(tasks[i]);
		}
		assert_true(delta(t, "pgdemote_kswapd") > 0);
		tiers_close(t);
	}
}

static void program_forks(void *arg)
{
	struct program *p = arg;
	unsigned long i, n;

	for (i = 0; i < 6; i++) {
		struct mm_struct *child;

		if (dup_mm(current->mm, &child)) {
			p->wrong++;
			break;
		}
		for (n = 0; n < 200; n++) {
			ps_charge(2000, PS_TIME_ACCESS);
			cond_resched();
		}
		mmput(child);
	}
	p->done = true;
}

/* The same while address spaces come and go. Expect whoever walks the mappings of a page not to walk into a dead one. */
static void address_spaces_may_die_while_their_pages_are_demoted(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 6; seed++) {
		const struct ps_world_settings settings = { .runtime = { .seed = seed, .shuffle = 3000 },
							    .contents = PS_CONTENTS_TAG };
		struct tiers *t = tiers_open_with(fast_slow, 2, &settings);
		struct program p[2] = { { .base = BASE, .pages = 8500, .cpu = 0 }, { .cpu = 1 } };
		struct task_struct *tasks[2];
		int i;

		t->world->machine->reclaim->demotion_enabled = true;
		map_anon(BASE, 8500);
		assert_int_equal(fill(BASE, 3000), 3000);
		bind_to(0);
		for (i = 0; i < 2; i++) {
			tasks[i] = ps_task_new(t->world->rt, "program", i ? program_forks : program_runs, &p[i]);
			assert_non_null(tasks[i]);
			tasks[i]->mempolicy = current->mempolicy;
		}
		ps_task_leave();
		ps_runtime_run(t->world->rt, UINT64_MAX);
		ps_task_enter(t->task);
		for (i = 0; i < 2; i++) {
			assert_true(p[i].done);
			assert_int_equal(p[i].wrong, 0);
			ps_task_free(tasks[i]);
		}
		assert_true(delta(t, "pgdemote_kswapd") > 0);
		tiers_close(t);
	}
}

/* Long after the first pages were demoted, and long after the world began. Expect kswapd to work and the world to end. */
static void time_may_be_long(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	const ps_ns_t hour = 3600ull * 1000 * 1000 * 1000;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, 12 * 1024);
	bind_to(0);
	assert_int_equal(fill(BASE, 9 * 1024), 9 * 1024);
	ps_charge(hour, PS_TIME_ACCESS);
	mark(t);
	assert_int_equal(fill(BASE, 12 * 1024), 12 * 1024);
	assert_true(delta(t, "pgdemote_kswapd") > 0);
	assert_true(ps_kswapd_task(t->world->machine, 0)->now > hour);
	tiers_close(t);
}

/* Expect every allocation of the host's memory that fails to end in an error, with nothing lost. */
static void host_memory_may_run_out_anywhere(void **state)
{
	struct ps_machine_spec *spec = calloc(1, sizeof(*spec));
	struct ps_alloc_counts counts;
	u64 n, live;

	(void)state;
	ps_alloc_counts(&counts);
	live = counts.live;
	tiers_spec(spec, fast_slow, 2);
	for (n = 1;; n++) {
		struct ps_world *world = NULL;
		int error;

		ps_alloc_fail_nth(n);
		error = ps_world_new(spec, NULL, &world);
		if (ps_alloc_fail_nth(0)) {
			assert_int_equal(error, 0);
			ps_world_free(world);
			break;
		}
		if (error)
			assert_int_equal(error, -ENOMEM);
		else
			ps_world_free(world);
		ps_alloc_counts(&counts);
		assert_int_equal(counts.live, live);
	}
	free(spec);
	assert_true(n > 10);
}

/* Expect a machine whose kswapd cannot be made to get by with direct reclaim. */
static void without_a_kswapd_direct_reclaim_does_the_work(void **state)
{
	struct tiers *t = tiers_open(fast_slow, 2);
	unsigned long i;

	(void)state;
	t->world->machine->reclaim->demotion_enabled = true;
	map_anon(BASE, 9 * 1024);
	bind_to(0);
	/* Every allocation of the host in a fault fails, once memory is short: only page tables and threads need any. */
	assert_int_equal(fill(BASE, 7000), 7000);
	for (i = 0; i < 400 && !ps_kswapd_task(t->world->machine, 0); i++) {
		int error;

		ps_alloc_fail_nth(1);
		error = store(BASE + (7000 + i) * PAGE_SIZE, 1);
		ps_alloc_fail_nth(0);
		assert_true(!error || error == -ENOMEM);
	}
	assert_int_equal(fill(BASE, 9 * 1024), 9 * 1024);
	tiers_close(t);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(demotion_makes_room_on_the_fast_node),
		cmocka_unit_test(kswapd_stops_at_the_high_watermark),
		cmocka_unit_test(tiering_mode_keeps_the_promo_watermark),
		cmocka_unit_test(without_demotion_anonymous_memory_stays),
		cmocka_unit_test(huge_pages_are_demoted_whole),
		cmocka_unit_test(demotion_cascades_down_the_tiers),
		cmocka_unit_test(pages_in_use_stay),
		cmocka_unit_test(clean_file_pages_are_dropped_and_read_back),
		cmocka_unit_test(dirty_file_pages_are_written_by_kswapd_alone),
		cmocka_unit_test(every_kind_of_page_is_demoted_but_mlocked_ones),
		cmocka_unit_test(direct_reclaim_is_paid_by_who_allocates),
		cmocka_unit_test(a_full_lower_tier_ends_demotion),
		cmocka_unit_test(shrinkers_give_back_what_is_on_no_list),
		cmocka_unit_test(the_same_run_gives_the_same_numbers),
		cmocka_unit_test(stores_survive_demotion_at_any_moment),
		cmocka_unit_test(address_spaces_may_die_while_their_pages_are_demoted),
		cmocka_unit_test(time_may_be_long),
		cmocka_unit_test(host_memory_may_run_out_anywhere),
		cmocka_unit_test(without_a_kswapd_direct_reclaim_does_the_work),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
