/* SPDX-License-Identifier: MIT */
/*
 * NUMA balancing: the relations seen on a real Linux 6.1 (reference/linux-6.1/relations.md, "NUMA balancing mode 1", "mode
 * 2"), and the rules behind them one by one.
 */
#include "engines/tiers.h"

#include <pagesim/mmap.h>
#include <pagesim/check.h>
#include <pagesim/migrate.h>
#include <pagesim/mprotect.h>
#include <pagesim/policy.h>
#include <pagesim/shmem.h>

#define HUGE_BASE 0x40000000ull
#define MS        1000000ull

/* CPUs 0, 1 on node 0; 2, 3 on node 1. */
static const struct tier_node two_sockets[] = { { 48, 2, PS_MEMORY_DRAM }, { 48, 2, PS_MEMORY_DRAM } };
/* CPUs 0, 1 on node 0; 2, 3 on node 1; node 2 is slow. */
static const struct tier_node sockets_and_slow[] = { { 32, 2, PS_MEMORY_DRAM },
						     { 32, 2, PS_MEMORY_DRAM },
						     { 64, 0, PS_MEMORY_CXL } };

struct scene {
	struct tiers *t;
	struct ps_policy *policy;
	ps_ns_t next_tick;
};

static struct scene open_scene(const struct tier_node *nodes, unsigned int nr, const char *policy)
{
	struct scene s = { .t = tiers_open(nodes, nr) };
	struct ps_policy_settings settings;
	GError *error = NULL;

	if (!ps_policy_parse(policy, &settings, &error))
		fail_msg("%s", error->message);
	assert_int_equal(ps_policy_attach(s.t->world, &settings, &s.policy), 0);
	return s;
}

/* Expect every invariant to hold. */
static void check(struct scene *s)
{
	static struct ps_check_report report;
	unsigned int i;

	settle(s->t);
	lru_add_drain_all();
	check_machine(s->t->world->machine, NULL, &report);
	for (i = 0; i < report.nr && i < PS_MAX_VIOLATIONS; i++)
		print_error("I%d: %s\n", report.violation[i].invariant, report.violation[i].text);
	assert_int_equal(report.nr, 0);
}

static void close_scene(struct scene *s)
{
	check(s);
	ps_policy_detach(s->policy);
	tiers_close(s->t);
}

static u64 stat_of(const struct scene *s, const char *name)
{
	const char *at;
	unsigned int i;
	u64 value;

	for (i = 0; (at = ps_policy_stat(s->policy, i, &value)); i++)
		if (!strcmp(at, name))
			return value;
	fail_msg("no such number: %s", name);
	return 0;
}

/* As replay does it. */
static void use(struct scene *s, u64 addr, bool write, ps_ns_t compute)
{
	assert_int_equal(touch(addr, write), 0);
	ps_charge(compute, PS_TIME_ACCESS);
	if (current->now >= s->next_tick) {
		s->next_tick = ps_policy_tick(s->policy);
		assert_true(s->next_tick > current->now);
	}
}

/* The program uses its pages one after the other, again and again, for so long. Every page once in about `lap` ns. */
static void run(struct scene *s, u64 start, unsigned long pages, ps_ns_t lap, ps_ns_t ns)
{
	ps_ns_t end = current->now + ns;
	unsigned long i = 0;

	while (current->now < end) {
		use(s, start + i * PAGE_SIZE, true, lap / pages);
		i = (i + 1) % pages;
	}
}

/* Pages on a node, whoever uses them later. */
static void place(nid_t nid, u64 start, unsigned long pages)
{
	bind_to(nid);
	assert_int_equal(fill(start, pages), pages);
	unbind();
	lru_add_drain_all();
	assert_int_equal(pages_on(nid, start, pages), pages);
}

/*
 *   node 0: 1024 pages, 2 THPs   <── used by ──   a task on node 1's CPU
 * Expect all of them on node 1, the THPs whole.
 */
static void mode_1_brings_all_pages_to_the_task(void **state)
{
	struct scene s = open_scene(two_sockets, 2, "numa-balancing");
	unsigned long i;

	(void)state;
	map_anon(BASE, 1024);
	map_anon(HUGE_BASE, 1024);
	assert_int_equal(do_madvise(current->mm, HUGE_BASE, 2 * 2 * MIB, PS_MADV_HUGEPAGE), 0);
	place(0, BASE, 1024);
	place(0, HUGE_BASE, 1024);
	assert_int_equal(counter(s.t, NUMA_NO_NODE, "nr_anon_transparent_hugepages"), 2);
	mark(s.t);
	current->cpu = 2;
	for (i = 0; i < 60; i++) {
		run(&s, BASE, 1024, 50 * MS, 60 * MS);
		run(&s, HUGE_BASE, 1024, 50 * MS, 60 * MS);
	}
	assert_int_equal(pages_on(1, BASE, 1024), 1024);
	assert_int_equal(pages_on(1, HUGE_BASE, 1024), 1024);
	assert_true(delta(s.t, "numa_hint_faults") >= 1026);
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 2048);
	assert_int_equal(delta(s.t, "pgmigrate_success"), 2048);
	assert_int_equal(delta(s.t, "thp_migration_success"), 2);
	assert_int_equal(delta(s.t, "thp_split_page") + delta(s.t, "thp_split_pmd"), 0);
	assert_int_equal(counter(s.t, NUMA_NO_NODE, "nr_anon_transparent_hugepages"), 2);
	assert_int_equal(delta(s.t, "pgpromote_success"), 0);
	assert_true(delta(s.t, "numa_pte_updates") >= 2048);
	assert_int_equal(delta(s.t, "numa_huge_pte_updates") % 2, 0);
	for (i = 0; i < 1024; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), i + 1);
	/* Now all is local: it is scanned more and more rarely, and nothing moves. */
	mark(s.t);
	run(&s, BASE, 1024, 50 * MS, 5000 * MS);
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 0);
	assert_int_equal(delta(s.t, "numa_hint_faults"), delta(s.t, "numa_hint_faults_local"));
	close_scene(&s);
}

/* Nothing is scanned before scan_delay, nor faster than scan_period_min. */
static void scanning_keeps_to_its_times(void **state)
{
	struct scene s =
		open_scene(two_sockets, 2, "numa-balancing,scan_delay=300,scan_period_min=500,scan_period_max=500");

	(void)state;
	mmget(current->mm); /* another thread, elsewhere: what one thread alone has is not hinted where it runs */
	map_anon(BASE, 1024);
	place(0, BASE, 1024);
	mark(s.t);
	run(&s, BASE, 1024, 50 * MS, 290 * MS);
	assert_int_equal(delta(s.t, "numa_pte_updates"), 0);
	run(&s, BASE, 1024, 50 * MS, 20 * MS);
	/* The first scan is due when the delay is over on the task's and on the address space's clock. */
	run(&s, BASE, 1024, 50 * MS, 490 * MS);
	assert_int_equal(stat_of(&s, "numa_scans"), 1);
	assert_int_equal(delta(s.t, "numa_pte_updates"), 1024);
	run(&s, BASE, 1024, 50 * MS, 4700 * MS);
	assert_in_range(stat_of(&s, "numa_scans"), 8, 11);
	mmput(current->mm);
	close_scene(&s);
}

/* A scan covers scan_size, rounded up to a huge page, and goes on where the last one stopped. */
static void a_scan_covers_one_window(void **state)
{
	struct scene s = open_scene(
		two_sockets, 2, "numa-balancing,scan_delay=100,scan_size=4,scan_period_min=100,scan_period_max=100");
	unsigned long i;

	(void)state;
	mmget(current->mm); /* another thread, elsewhere: what one thread alone has is not hinted where it runs */
	map_anon(BASE, 4096);
	place(0, BASE, 4096);
	mark(s.t);
	for (i = 1; i <= 4; i++) {
		while (stat_of(&s, "numa_scans") < i)
			use(&s, BASE, true, MS);
		assert_int_equal(delta(s.t, "numa_pte_updates"), i * 1024);
		assert_int_equal(current->mm->numa_scan_offset, BASE + i * 4 * MIB);
		assert_int_equal(current->mm->numa_scan_seq, 0);
	}
	/* The next begins anew. Only the one page in use has lost its hint, but its window counts whole. */
	while (stat_of(&s, "numa_scans") < 5)
		use(&s, BASE, true, MS);
	assert_int_equal(delta(s.t, "numa_pte_updates"), 4097);
	assert_int_equal(current->mm->numa_scan_seq, 1);
	assert_int_equal(current->mm->numa_scan_offset, BASE + 4 * MIB);
	mmput(current->mm);
	close_scene(&s);
}

/* Expect hints only where they can be of use. */
static void only_suitable_mappings_are_scanned(void **state)
{
	struct scene s = open_scene(two_sockets, 2, "numa-balancing,scan_delay=50,scan_period_min=100");
	struct inode *disk, *shm;
	unsigned long i;
	nodemask_t nodes = NODE_MASK_NONE;

	(void)state;
	assert_int_equal(ps_file_open(s.t->world->machine->files, "/d/f", true, &disk), 0);
	assert_int_equal(shmem_file_setup(s.t->world->machine->files, 100 * PAGE_SIZE, &shm), 0);
	for (i = 0; i < 100; i++)
		assert_int_equal(file_write_page(disk, i, i, NULL), 0);
	assert_int_equal(file_fsync(disk), 0);
	/* Read-only file; shared memory; a mapping with a policy of its own; one without access; an ordinary one. */
	assert_int_equal(do_mmap(current->mm, BASE, 100 * PAGE_SIZE, MM_PROT_READ, MM_MAP_SHARED, disk, 0), 0);
	assert_int_equal(
		do_mmap(current->mm, 2 * BASE, 100 * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_SHARED, shm, 0),
		0);
	map_anon(3 * BASE, 100);
	map_anon(4 * BASE, 100);
	map_anon(5 * BASE, 100);
	for (i = 0; i < 100; i++)
		assert_int_equal(touch(BASE + i * PAGE_SIZE, false), 0);
	place(0, 2 * BASE, 100);
	place(0, 3 * BASE, 100);
	place(0, 4 * BASE, 100);
	place(0, 5 * BASE, 100);
	node_set(0, nodes);
	assert_int_equal(ps_mbind(current->mm, 3 * BASE, 100 * PAGE_SIZE, MPOL_BIND, &nodes, 0), 0);
	assert_int_equal(do_mprotect(current->mm, 4 * BASE, 100 * PAGE_SIZE, MM_PROT_NONE), 0);
	mark(s.t);
	current->cpu = 2;
	while (stat_of(&s, "numa_scans") < 1)
		use(&s, 5 * BASE, true, MS);
	assert_int_equal(delta(s.t, "numa_pte_updates"), 100);
	run(&s, 5 * BASE, 100, MS, 20 * MS);
	assert_int_equal(pages_on(1, 5 * BASE, 100), 100);
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 100);
	/* A task with a policy of its own is not scanned at all. */
	bind_to(0);
	mark(s.t);
	run(&s, 5 * BASE, 100, MS, 3000 * MS);
	assert_true(stat_of(&s, "numa_scans") > 1);
	assert_int_equal(delta(s.t, "numa_pte_updates"), 0);
	unbind();
	iput(disk);
	iput(shm);
	close_scene(&s);
}

/* One page's hint fault by a thread on that CPU, at once. */
static void hint_fault(u64 addr, int cpu)
{
	struct vm_area_struct *vma = vma_lookup(current->mm, addr);

	lru_add_drain_all();
	mmap_read_lock(current->mm);
	assert_int_equal(change_protection(vma, addr, addr + PAGE_SIZE, MM_CP_PROT_NUMA), 1);
	mmap_read_unlock(current->mm);
	current->cpu = cpu;
	assert_int_equal(touch(addr, true), 0);
}

/*
 * Two threads on two nodes use one page in turn: once it is known that it is shared, one fault is chance.
 * Expect it to move only when the same node faults twice in a row.
 */
static void a_shared_page_moves_on_the_second_fault_in_a_row(void **state)
{
	struct scene s = open_scene(two_sockets, 2, "numa-balancing,scan_delay=3600000");
	struct task_struct *other;

	(void)state;
	map_anon(BASE, 1);
	place(0, BASE, 1);
	assert_int_equal(ps_world_thread(s.t->world, "B", &other), 0);
	/* Never used by anybody else: the first fault from node 1 takes it. */
	hint_fault(BASE, 2);
	assert_int_equal(node_of(BASE), 1);
	/* The other thread, on node 0: the page was A's last. */
	ps_task_leave();
	ps_task_enter(other);
	hint_fault(BASE, 0);
	assert_int_equal(node_of(BASE), 1);
	hint_fault(BASE, 0);
	assert_int_equal(node_of(BASE), 0);
	ps_task_leave();
	ps_task_enter(s.t->task);
	/* And back; a fault of its own in between does not count for A, as faults on local pages leave no mark. */
	hint_fault(BASE, 2);
	assert_int_equal(node_of(BASE), 0);
	hint_fault(BASE, 2);
	assert_int_equal(node_of(BASE), 1);
	assert_int_equal(delta(s.t, "numa_hint_faults"), 5);
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 3);
	assert_true(stat_of(&s, "numa_groups") >= 1);
	ps_policy_task_exit(s.policy, other);
	ps_task_leave();
	ps_world_exit(s.t->world, other);
	ps_task_enter(s.t->task);
	close_scene(&s);
}

/*
 * The period between scans follows from what the faults say.
 * Expect it to grow while everything is private and local, up to its maximum, and then next to nothing to be scanned.
 */
static void scanning_slows_down_when_all_is_well(void **state)
{
	struct scene s =
		open_scene(two_sockets, 2, "numa-balancing,scan_period_min=100,scan_period_max=10000,scan_delay=100");
	u64 early;

	(void)state;
	mmget(current->mm); /* another thread, elsewhere: what one thread alone has is not hinted where it runs */
	map_anon(BASE, 512);
	place(0, BASE, 512);
	run(&s, BASE, 512, 20 * MS, 10000 * MS);
	early = stat_of(&s, "numa_scans");
	assert_in_range(early, 8, 60);
	run(&s, BASE, 512, 20 * MS, 40000 * MS);
	assert_in_range(stat_of(&s, "numa_scans") - early, 2, 12);
	/* The limits: 100 ms is what 2560 MiB/s allow for windows of 256 MiB. */
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 0);
	mmput(current->mm);
	close_scene(&s);
}

/*
 *   A on node 0, B on node 1, both using the same 512 pages all the time
 * Expect the pages to be spread over both nodes and to come to rest: no endless ping-pong.
 */
static void pages_that_two_nodes_share_come_to_rest(void **state)
{
	struct scene s = open_scene(two_sockets, 2, "numa-balancing,scan_period_min=200,scan_delay=100");
	struct task_struct *other;
	ps_ns_t next[2] = { 0, 0 };
	s64 early, late;
	unsigned long i, n;

	(void)state;
	map_anon(BASE, 512);
	place(0, BASE, 512);
	assert_int_equal(ps_world_thread(s.t->world, "B", &other), 0);
	other->cpu = 2;
	mark(s.t);
	for (i = 0, early = 0; i < 600; i++) {
		int who = (int)(i % 2);

		ps_task_leave();
		ps_task_enter(who ? other : s.t->task);
		s.next_tick = next[who];
		/* Each 25 ms, each from another page on, so that neither is always the first to fault. */
		for (n = 0; n < 512; n++)
			use(&s, BASE + (n + i * 37) % 512 * PAGE_SIZE, true, 25 * MS / 512);
		next[who] = s.next_tick;
		if (i == 299)
			early = delta(s.t, "numa_pages_migrated");
	}
	late = delta(s.t, "numa_pages_migrated") - early;
	n = pages_on(1, BASE, 512);
	assert_in_range(n, 32, 480);
	assert_true(early > 0);
	assert_true(late < early);
	assert_in_range(stat_of(&s, "numa_groups"), 1, 2);
	ps_task_leave();
	ps_policy_task_exit(s.policy, other);
	ps_world_exit(s.t->world, other);
	ps_task_enter(s.t->task);
	close_scene(&s);
}

/*
 *   node 2 (slow): 1024 pages   node 1 (same tier): 1024 pages   task on node 0
 * Expect the slow ones promoted, the others left alone.
 */
static void mode_2_promotes_from_the_slow_tier_only(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "numa-balancing,mode=2");
	unsigned long i;

	(void)state;
	map_anon(BASE, 1024);
	map_anon(2 * BASE, 1024);
	place(2, BASE, 1024);
	place(1, 2 * BASE, 1024);
	mark(s.t);
	for (i = 0; i < 40; i++) {
		run(&s, BASE, 1024, 50 * MS, 60 * MS);
		run(&s, 2 * BASE, 1024, 50 * MS, 60 * MS);
	}
	assert_int_equal(pages_on(0, BASE, 1024), 1024);
	assert_int_equal(pages_on(1, 2 * BASE, 1024), 1024);
	assert_int_equal(delta(s.t, "pgpromote_success"), 1024);
	assert_int_equal(delta(s.t, "pgpromote_candidate"), 1024);
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 1024);
	assert_int_equal(counter(s.t, 0, "pgpromote_success"), 1024);
	assert_int_equal(delta(s.t, "numa_hint_faults"), 1024);
	for (i = 0; i < 1024; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), i + 1);
	close_scene(&s);
}

static void mode_3_does_both(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "numa-balancing,mode=3");

	(void)state;
	map_anon(BASE, 256);
	map_anon(2 * BASE, 256);
	place(2, BASE, 256);
	place(1, 2 * BASE, 256);
	mark(s.t);
	run(&s, BASE, 256, 10 * MS, 2000 * MS);
	run(&s, 2 * BASE, 256, 10 * MS, 2000 * MS);
	assert_int_equal(pages_on(0, BASE, 256), 256);
	assert_int_equal(pages_on(0, 2 * BASE, 256), 256);
	assert_int_equal(delta(s.t, "pgpromote_success"), 256);
	assert_int_equal(delta(s.t, "numa_pages_migrated"), 512);
	close_scene(&s);
}

/* A page used more than the hot threshold after its hint was set is cold. */
static void cold_pages_are_not_promoted(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "numa-balancing,mode=2,hot_threshold=100");

	(void)state;
	map_anon(BASE, 100);
	map_anon(2 * BASE, 100);
	place(2, BASE, 100);
	place(2, 2 * BASE, 100);
	mark(s.t);
	/* One after the other within 20 ms, again and again: hot. */
	run(&s, BASE, 100, 20 * MS, 2300 * MS);
	assert_int_equal(pages_on(0, BASE, 100), 100);
	assert_int_equal(delta(s.t, "pgpromote_success"), 100);
	/* A second after their hints were set: cold. */
	assert_true(delta(s.t, "numa_pte_updates") >= 200);
	run(&s, BASE, 100, 20 * MS, 400 * MS);
	run(&s, 2 * BASE, 100, MS, 20 * MS);
	assert_int_equal(pages_on(2, 2 * BASE, 100), 100);
	assert_int_equal(delta(s.t, "pgpromote_success"), 100);
	assert_int_equal(stat_of(&s, "numa_cold"), 100);
	close_scene(&s);
}

/* Expect no more than the rate to be promoted in a second, and the threshold to come down when there are too many. */
static void promotion_keeps_to_its_rate(void **state)
{
	struct scene s =
		open_scene(sockets_and_slow, 3,
			   "numa-balancing,mode=2,promote_rate_limit=1,scan_period_max=1000,hot_threshold=800");
	s64 last = 0, now, seconds;

	(void)state;
	map_anon(BASE, 4096);
	place(2, BASE, 4096);
	mark(s.t);
	for (seconds = 0; seconds < 8; seconds++) {
		run(&s, BASE, 4096, 200 * MS, 1000 * MS);
		now = delta(s.t, "pgpromote_success");
		/* Windows begin when somebody looks, so one of ours can see the ends of two. */
		assert_true(now - last <= 2 * 256);
		last = now;
	}
	assert_true(last > 256);
	assert_true(last <= 8 * 256);
	assert_true(stat_of(&s, "numa_rate_limited") > 0);
	assert_true(delta(s.t, "pgpromote_candidate") > last);
	assert_true(stat_of(&s, "numa_hot_threshold_ms") < 800);
	close_scene(&s);
}

/*
 *   node 0: full of cold pages   node 2: 1024 hot pages, used by a task on node 0
 * Expect node 0's kswapd to demote cold ones, so that the hot ones find room.
 */
static void promotion_to_a_full_node_makes_room_first(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "numa-balancing,mode=2");

	(void)state;
	map_anon(BASE, 1024);
	map_anon(2 * BASE, 8192);
	place(2, BASE, 1024);
	bind_to(0);
	assert_int_equal(fill(2 * BASE, 7300), 7300);
	unbind();
	lru_add_drain_all();
	mark(s.t);
	run(&s, BASE, 1024, 50 * MS, 6000 * MS);
	settle(s.t);
	assert_true(delta(s.t, "pgdemote_kswapd") > 300);
	assert_true(stat_of(&s, "numa_target_full") > 0);
	assert_int_equal(delta(s.t, "pgpromote_success"), 1024);
	assert_int_equal(pages_on(0, BASE, 1024), 1024);
	/* The promo watermark is kept. */
	assert_true(zone_page_state(&NODE_DATA(0)->node_zones[0], NR_FREE_PAGES) >
		    high_wmark_pages(&NODE_DATA(0)->node_zones[0]));
	close_scene(&s);
}

/* Without demotion nothing makes room: hot pages stay where they are, and nothing breaks. */
static void promotion_to_a_full_node_waits_without_demotion(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "numa-balancing,mode=2,demotion=0");

	(void)state;
	map_anon(BASE, 1024);
	map_anon(2 * BASE, 8192);
	place(2, BASE, 1024);
	bind_to(0);
	/* To the brim: below the mark that promotion keeps clear. */
	assert_true(fill(2 * BASE, 8192) > 7300);
	unbind();
	mark(s.t);
	run(&s, BASE, 1024, 50 * MS, 3000 * MS);
	settle(s.t);
	assert_int_equal(delta(s.t, "pgpromote_success"), 0);
	assert_int_equal(delta(s.t, "pgdemote_kswapd"), 0);
	assert_true(stat_of(&s, "numa_target_full") > 0);
	close_scene(&s);
}

/* Hot huge pages go up whole. */
static void huge_pages_are_promoted_whole(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "numa-balancing,mode=2");

	(void)state;
	map_anon(HUGE_BASE, 4 * 512);
	assert_int_equal(do_madvise(current->mm, HUGE_BASE, 4 * 2 * MIB, PS_MADV_HUGEPAGE), 0);
	place(2, HUGE_BASE, 4 * 512);
	mark(s.t);
	run(&s, HUGE_BASE, 4 * 512, 100 * MS, 3000 * MS);
	assert_int_equal(pages_on(0, HUGE_BASE, 4 * 512), 4 * 512);
	assert_int_equal(delta(s.t, "pgpromote_success"), 4 * 512);
	assert_int_equal(delta(s.t, "thp_migration_success"), 4);
	assert_int_equal(delta(s.t, "thp_split_page") + delta(s.t, "thp_split_pmd"), 0);
	close_scene(&s);
}

/* Expect `none` to move nothing, however far away the pages are. */
static void none_moves_nothing(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "none");

	(void)state;
	map_anon(BASE, 512);
	place(2, BASE, 512);
	mark(s.t);
	run(&s, BASE, 512, 10 * MS, 3000 * MS);
	assert_int_equal(pages_on(2, BASE, 512), 512);
	assert_int_equal(delta(s.t, "numa_pte_updates") + delta(s.t, "pgmigrate_success"), 0);
	close_scene(&s);
}

/*
 * Everything at once: files, shared memory, huge pages, a fork, on a machine that is too small for them, demoting.
 * Expect every invariant to hold at any time nobody is at work.
 */
static void demotion_keeps_every_invariant(void **state)
{
	struct scene s = open_scene(sockets_and_slow, 3, "none,demotion=1");
	struct task_struct *child;
	struct inode *disk, *shm;
	unsigned long i, round;

	(void)state;
	assert_int_equal(ps_file_open(s.t->world->machine->files, "/d/f", true, &disk), 0);
	assert_int_equal(shmem_file_setup(s.t->world->machine->files, 1000 * PAGE_SIZE, &shm), 0);
	assert_int_equal(
		do_mmap(current->mm, 2 * BASE, 1000 * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_SHARED, disk, 0),
		0);
	assert_int_equal(
		do_mmap(current->mm, 3 * BASE, 1000 * PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE, MM_MAP_SHARED, shm, 0),
		0);
	file_extend(disk, 1000 * PAGE_SIZE);
	map_anon(BASE, 6000);
	map_anon(HUGE_BASE, 4 * 512);
	assert_int_equal(do_madvise(current->mm, HUGE_BASE, 4 * 2 * MIB, PS_MADV_HUGEPAGE), 0);
	bind_to(0);
	for (i = 0; i < 4; i++)
		assert_int_equal(store(HUGE_BASE + i * 2 * MIB, i), 0);
	for (i = 0; i < 1000; i++) {
		assert_int_equal(store(2 * BASE + i * PAGE_SIZE, 7 * i), 0);
		assert_int_equal(store(3 * BASE + i * PAGE_SIZE, 9 * i), 0);
	}
	check(&s);
	assert_int_equal(fill(BASE, 3000), 3000);
	assert_int_equal(ps_world_fork(s.t->world, "child", &child), 0);
	for (round = 0; round < 3; round++) {
		assert_int_equal(fill(BASE, 6000), 6000);
		for (i = 0; i < 1000; i++)
			assert_int_equal(load(2 * BASE + i * PAGE_SIZE), 7 * i);
		check(&s);
	}
	for (i = 0; i < 1000; i++)
		assert_int_equal(load(3 * BASE + i * PAGE_SIZE), 9 * i);
	for (i = 0; i < 4; i++)
		assert_int_equal(load(HUGE_BASE + i * 2 * MIB), i);
	assert_true(delta(s.t, "pgdemote_kswapd") > 1000);
	unbind();
	ps_task_leave();
	ps_task_enter(child);
	for (i = 0; i < 3000; i++)
		assert_int_equal(load(BASE + i * PAGE_SIZE), i + 1);
	ps_task_leave();
	ps_world_exit(s.t->world, child);
	ps_task_enter(s.t->task);
	iput(disk);
	iput(shm);
	close_scene(&s);
}

/* What a task is remembered by goes with it; hints left behind by a policy that has gone are harmless. */
static void tasks_and_policies_come_and_go(void **state)
{
	struct scene s = open_scene(two_sockets, 2, "numa-balancing,scan_delay=10,scan_period_min=100");
	struct task_struct *child;
	unsigned long i;

	(void)state;
	map_anon(BASE, 512);
	place(0, BASE, 512);
	current->cpu = 2;
	for (i = 0; i < 3; i++) {
		assert_int_equal(ps_world_fork(s.t->world, "child", &child), 0);
		ps_task_leave();
		ps_task_enter(child);
		s.next_tick = 0;
		run(&s, BASE, 512, 10 * MS, 300 * MS);
		ps_task_leave();
		ps_policy_task_exit(s.policy, child);
		ps_world_exit(s.t->world, child);
		ps_task_enter(s.t->task);
		s.next_tick = 0;
		run(&s, BASE, 512, 10 * MS, 100 * MS);
	}
	assert_true(delta(s.t, "numa_hint_faults") > 0);
	while (stat_of(&s, "numa_scans") < 5)
		run(&s, BASE, 1, MS, MS);
	ps_policy_detach(s.policy);
	for (i = 0; i < 512; i++)
		assert_int_equal(touch(BASE + i * PAGE_SIZE, true), 0);
	tiers_close(s.t);
}

static void tiering_run(struct ps_vmstat *ret, ps_ns_t *ret_now)
{
	struct scene s =
		open_scene(sockets_and_slow, 3, "numa-balancing,mode=3,scan_delay=50,scan_period_min=100,scan_size=8");
	unsigned long i;

	map_anon(BASE, 12000);
	for (i = 0; i < 300000; i++)
		use(&s, BASE + (i % 3 ? i * 7919 % 12000 : 11000 + i % 1000) * PAGE_SIZE, true, 3000);
	settle(s.t);
	ps_vmstat_snapshot(s.t->world->stats, NUMA_NO_NODE, ret);
	*ret_now = current->now;
	close_scene(&s);
}

/* Expect the same run to give the same numbers to the last. */
static void the_same_run_gives_the_same_numbers(void **state)
{
	static struct ps_vmstat a, b;
	ps_ns_t at, bt;

	(void)state;
	tiering_run(&a, &at);
	tiering_run(&b, &bt);
	assert_memory_equal(&a, &b, sizeof(a));
	assert_int_equal(at, bt);
	assert_true(a.value[ps_vmstat_find("numa_pages_migrated")] > 0);
}

struct program {
	struct ps_policy *policy;
	u64 base;
	unsigned long pages;
	int cpu;
	unsigned long wrong;
	bool done;
};

static void program_runs(void *arg)
{
	struct program *p = arg;
	struct ps_access access;
	unsigned long i, n;
	ps_ns_t next = 0;

	current->cpu = p->cpu;
	for (i = 0; i < 6 * p->pages; i++) {
		n = i * 7919 % p->pages;
		if (i >= p->pages)
			p->wrong += ps_mmu_access(p->base + n * PAGE_SIZE, false, &access) ||
				    pfn_to_page(access.pfn)->contents != n;
		p->wrong += store(p->base + n * PAGE_SIZE, n) != 0;
		ps_charge(20000, PS_TIME_ACCESS);
		cond_resched();
		if (current->now >= next)
			next = ps_policy_tick(p->policy);
	}
	p->done = true;
}

/*
 * Three threads of one process on three CPUs, two of them on the same pages, on a machine that is too small, with everything
 * on, stopped at random between any two steps. Expect no store to be lost and every invariant to hold.
 */
static void stores_survive_balancing_at_any_moment(void **state)
{
	u64 seed;

	(void)state;
	for (seed = 1; seed <= 4; seed++) {
		const struct ps_world_settings settings = { .runtime = { .seed = seed, .shuffle = 3000 },
							    .contents = PS_CONTENTS_TAG };
		struct scene s = { .t = tiers_open_with(sockets_and_slow, 3, &settings) };
		struct program p[3] = { { .base = BASE, .pages = 4000, .cpu = 0 },
					{ .base = BASE, .pages = 4000, .cpu = 2 },
					{ .base = BASE + 4000 * PAGE_SIZE, .pages = 12000, .cpu = 1 } };
		struct ps_policy_settings chosen;
		struct task_struct *tasks[3];
		int i;

		assert_true(ps_policy_parse("numa-balancing,mode=3,scan_delay=10,scan_period_min=20,scan_size=16",
					    &chosen, NULL));
		assert_int_equal(ps_policy_attach(s.t->world, &chosen, &s.policy), 0);
		map_anon(BASE, 16000);
		for (i = 0; i < 3; i++) {
			p[i].policy = s.policy;
			tasks[i] = ps_task_new(s.t->world->rt, "program", program_runs, &p[i]);
			assert_non_null(tasks[i]);
		}
		ps_task_leave();
		ps_runtime_run(s.t->world->rt, UINT64_MAX);
		ps_task_enter(s.t->task);
		for (i = 0; i < 3; i++) {
			assert_true(p[i].done);
			assert_int_equal(p[i].wrong, 0);
			ps_policy_task_exit(s.policy, tasks[i]);
			ps_task_free(tasks[i]);
		}
		assert_true(delta(s.t, "numa_pages_migrated") > 0);
		assert_true(delta(s.t, "pgpromote_success") > 0);
		assert_true(delta(s.t, "pgdemote_kswapd") > 0);
		close_scene(&s);
	}
}

/* Host memory that runs out while the policy works costs it knowledge, nothing else. */
static void host_memory_may_run_out_while_it_works(void **state)
{
	u64 n;

	(void)state;
	for (n = 1; n < 12; n++) {
		struct scene s = open_scene(two_sockets, 2, "numa-balancing,scan_delay=10,scan_period_min=100");

		map_anon(BASE, 256);
		place(0, BASE, 256);
		current->cpu = 2;
		ps_alloc_fail_nth(n);
		run(&s, BASE, 256, 10 * MS, 400 * MS);
		ps_alloc_fail_nth(0);
		run(&s, BASE, 256, 10 * MS, 400 * MS);
		assert_int_equal(pages_on(1, BASE, 256), 256);
		close_scene(&s);
	}
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test(mode_1_brings_all_pages_to_the_task),
		cmocka_unit_test(scanning_keeps_to_its_times),
		cmocka_unit_test(a_scan_covers_one_window),
		cmocka_unit_test(only_suitable_mappings_are_scanned),
		cmocka_unit_test(a_shared_page_moves_on_the_second_fault_in_a_row),
		cmocka_unit_test(scanning_slows_down_when_all_is_well),
		cmocka_unit_test(pages_that_two_nodes_share_come_to_rest),
		cmocka_unit_test(mode_2_promotes_from_the_slow_tier_only),
		cmocka_unit_test(mode_3_does_both),
		cmocka_unit_test(cold_pages_are_not_promoted),
		cmocka_unit_test(promotion_keeps_to_its_rate),
		cmocka_unit_test(promotion_to_a_full_node_makes_room_first),
		cmocka_unit_test(promotion_to_a_full_node_waits_without_demotion),
		cmocka_unit_test(huge_pages_are_promoted_whole),
		cmocka_unit_test(none_moves_nothing),
		cmocka_unit_test(demotion_keeps_every_invariant),
		cmocka_unit_test(tasks_and_policies_come_and_go),
		cmocka_unit_test(the_same_run_gives_the_same_numbers),
		cmocka_unit_test(stores_survive_balancing_at_any_moment),
		cmocka_unit_test(host_memory_may_run_out_while_it_works),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
