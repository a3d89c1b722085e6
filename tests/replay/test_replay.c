/* SPDX-License-Identifier: MIT */
/*
 * Bulk replay: every number of a small trace added up by hand, every kind of event, what a trace may do that a program could
 * not, and how a replay ends when it cannot go on.
 */
#include "replay/scene.h"

#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/mm.h>

#define START "@0 0 start other=- pid=1 tid=1 name=/bin/prog -x\n"
#define MAP4  "@0 0 mmap at=100+4 prot=3 flags=0 offset=0 name=\n"

/* ---- by hand */

/*
 * Four pages of anonymous memory at 0x100. Entries afterwards: what the record left.
 *
 *   record      TLB     what happens                                        access time            else
 *   100 w1      miss    walk 20, fault 1000, zeroing 4096, walk 20, store       20+20+150
 *   100 r3      L1      load, two from the cache                                100+2*2
 *   101 r1      miss    walk 20, fault 1000 (zero page), walk 20, load          20+20+100
 *   101 w1      L1 ro   walk 20, fault 1000 (copy: zeroing 4096), walk, store   20+20+150
 *   100 r2w1    L1      load, two more                                          100+2*2
 */
static void every_number_of_a_small_trace(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 1024), NULL, "accesses",
		     START MAP4 "@0+9 0\n 100 w1\n 100 r3\n 101 r1\n 101 w1\n 100 r2w1\n@9 0 munmap at=100+4\n", &r);
	assert_true(r.complete);
	assert_int_equal(r.records, 5);
	assert_int_equal(r.reads, 6);
	assert_int_equal(r.writes, 3);
	assert_int_equal(r.fetches, 0);
	assert_int_equal(r.processes, 1);
	assert_int_equal(r.threads, 1);
	assert_int_equal(r.events[PS_EVENT_MMAP], 1);
	assert_int_equal(r.auto_mapped_pages + r.refused_accesses + r.ignored_events, 0);

	assert_int_equal(r.faults[PS_FAULT_ANON], 1);
	assert_int_equal(r.faults[PS_FAULT_ZERO], 1);
	assert_int_equal(r.faults[PS_FAULT_COW], 1);
	assert_int_equal(scene_counter(&r, "pgfault"), 3);
	assert_int_equal(r.tlb.l1_hits, 3);
	assert_int_equal(r.tlb.l2_hits, 0);
	assert_int_equal(r.tlb.misses, 2);

	assert_int_equal(r.node[0].reads, 3);
	assert_int_equal(r.node[0].writes, 2);
	assert_int_equal(r.node[1].reads + r.node[1].writes, 0);
	assert_int_equal(r.memory_latency_ns, 3 * 100 + 2 * 150);
	assert_int_equal(r.local_latency_ns, r.memory_latency_ns);
	assert_int_equal(r.program.ns[PS_TIME_ACCESS], 190 + 104 + 140 + 190 + 104);
	assert_int_equal(r.program.ns[PS_TIME_FAULT], 3 * FAULT_NS);
	assert_int_equal(r.program.ns[PS_TIME_COPY], 2 * 4096);
	assert_int_equal(r.program.ns[PS_TIME_SYSCALL], 2 * SYSCALL_NS);
	assert_int_equal(r.program.ns[PS_TIME_COMPUTE] + r.program.ns[PS_TIME_WAIT] + r.program.ns[PS_TIME_MIGRATE], 0);
	assert_int_equal(r.elapsed_ns, 728 + 3000 + 8192 + 200);
	for (int c = 0; c < PS_NR_TIME_CLASSES; c++)
		assert_int_equal(r.kernel.ns[c], 0);

	/* Two pages, at the moment before they went. */
	assert_int_equal(r.node[0].peak_pages, 2);
	assert_int_equal(r.node[0].resident_pages, 0);
	assert_int_equal(ps_report_peak_pages(&r), 2);
	ps_report_destroy(&r);
}

/*
 * Node 0 has 16 pages, all used by 0x100..0x10b but for what watermarks keep; the rest of 24 pages lies on node 1. Expect:
 * accesses there cost three times as much, and the difference is what is lost.
 */
static void far_memory_costs_what_it_costs(void **state)
{
	GString *body = g_string_new(START "@0 0 mmap at=100+18 prot=3 flags=0 offset=0 name=\n@0+24 0\n");
	struct ps_report r;
	u64 far;

	for (int i = 0; i < 24; i++)
		g_string_append_printf(body, " %x w1\n", 0x100 + i);
	scene_report(scene_spec(16, 64), NULL, "accesses", body->str, &r);
	far = r.node[1].writes;
	assert_in_range(far, 8, 23);
	assert_int_equal(r.node[0].writes, 24 - far);
	assert_int_equal(r.node[1].resident_pages, far);
	assert_int_equal(r.node[0].resident_pages, 24 - far);
	assert_int_equal(r.memory_latency_ns, (24 - far) * 150 + far * 450);
	assert_int_equal(r.local_latency_ns, 24 * 150);
	ps_report_destroy(&r);
	g_string_free(body, TRUE);
}

/* 1000 instructions at 250 ps between the records of a batch; none when switched off; none without such a clock. */
static void instructions_between_accesses_take_time(void **state)
{
	static const struct {
		const char *clock;
		u32 ps;
		u64 ns;
	} cases[] = {
		{ "instructions", 0, 250 },
		{ "instructions", 1000, 1000 },
		{ "instructions", PS_INSTRUCTION_PS_NONE, 0 },
		{ "accesses", 0, 0 },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct ps_replay_settings settings = { .instruction_ps = cases[i].ps };
		struct ps_report r;

		scene_report(scene_spec(1024, 0), &settings, cases[i].clock,
			     START MAP4 "@0+1000 0\n 100 w1\n 100 r1\n 101 w1\n", &r);
		assert_int_equal(r.program.ns[PS_TIME_COMPUTE], cases[i].ns);
		assert_int_equal(r.program.ns[PS_TIME_ACCESS], 2 * 190 + 100);
		ps_report_destroy(&r);
	}
}

/* A trace that was recorded in nanoseconds does not run ahead of the recording; waiting for it is idle time. */
static void recorded_time_is_waited_for(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 0), NULL, "ns", START MAP4 "@0 0\n 100 w1\n@1000000 0\n 100 r1\n", &r);
	assert_int_equal(r.elapsed_ns, 1000000 + 100);
	assert_int_equal(r.program.ns[PS_TIME_IDLE], 1000000 - (SYSCALL_NS + 190 + FAULT_NS + 4096));
	ps_report_destroy(&r);
}

/* ---- tasks */

/*
 * fork: page 0x100 is shared until the child writes it (a copy), then the parent finds itself its only owner (reuse).
 * Tasks run one after the other on one line of time: the gap while the other ran is idle.
 */
static void fork_copies_on_write_and_time_is_one_line(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 0), NULL, "accesses",
		     START MAP4
		     "@0 0\n 100 w1\n@1 0 fork other=1 pid=2 tid=1\n@1 1\n 100 r1\n 100 w1\n@3 1 exit\n@3 0\n 100 w1\n",
		     &r);
	assert_int_equal(r.processes, 2);
	assert_int_equal(r.threads, 2);
	assert_int_equal(r.faults[PS_FAULT_ANON], 1);
	assert_int_equal(r.faults[PS_FAULT_COW], 1);
	assert_int_equal(r.faults[PS_FAULT_REUSE], 1);
	assert_int_equal(r.elapsed_ns, r.program.ns[PS_TIME_ACCESS] + r.program.ns[PS_TIME_FAULT] +
					       r.program.ns[PS_TIME_COPY] + r.program.ns[PS_TIME_SYSCALL] +
					       r.program.ns[PS_TIME_MIGRATE]);
	assert_true(r.program.ns[PS_TIME_IDLE] > 0);
	ps_report_destroy(&r);
}

/* Two threads see one memory: no second fault. On one CPU, each turn of the other costs a switch. */
static void threads_share_memory_and_switches_cost(void **state)
{
	static const char body[] =
		START MAP4 "@0 0\n 100 w1\n@1 0 thread other=1 pid=1 tid=2\n@1 1\n 100 r1\n@2 0\n 100 r1\n"
			   "@3 1\n 100 r1\n@4 0 exit\n@4 1\n 100 r1\n@5 1 exit\n";
	static const struct {
		enum ps_replay_placement place;
		u64 switches;
	} cases[] = { { PS_PLACE_FIRST_NODE, 0 }, { PS_PLACE_CPU0, 5 } };

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		struct ps_replay_settings settings = { .placement = cases[i].place };
		struct ps_report r;

		scene_report(scene_spec(1024, 0), &settings, "accesses", body, &r);
		assert_int_equal(r.processes, 1);
		assert_int_equal(r.threads, 2);
		assert_int_equal(r.faults[PS_FAULT_ANON], 1);
		assert_int_equal(scene_counter(&r, "pgfault"), 1);
		assert_int_equal(r.program.ns[PS_TIME_SYSCALL], SYSCALL_NS + cases[i].switches * SWITCH_NS);
		/* The mapping lives until the last thread is gone. */
		assert_int_equal(r.node[0].peak_pages, 1);
		assert_int_equal(r.node[0].resident_pages, 0);
		ps_report_destroy(&r);
	}
}

/*
 * Two threads on two CPUs; the first unmaps a page that both have used.
 *
 *   CPU 0  task 0   w1 ......... munmap ── shootdown ──┐
 *   CPU 1  task 1        r1 ...................... interrupted, r1
 *
 * Expect the sender's time in `syscall`, the victim's in `interrupt`, and both in the time that elapsed.
 */
static void who_is_interrupted_loses_time(void **state)
{
	static const char body[] = START MAP4 "@0 0\n 100 w1\n 101 w1\n@1 0 thread other=1 pid=1 tid=2\n@1 1\n 100 r1\n"
					      "@2 0 munmap at=101+1\n@2 1\n 100 r1\n 100 r1\n";
	struct ps_report with, without;
	struct ps_machine_spec *spec = scene_spec(1024, 0);

	scene_report(spec, NULL, "accesses", body, &without);
	spec->costs.tlb_flush_page_ns = 7;
	spec->costs.tlb_shootdown_ns = 500;
	spec->costs.tlb_ipi_received_ns = 300;
	scene_report(spec, NULL, "accesses", body, &with);
	assert_int_equal(with.tlb_interrupts, 1);
	assert_int_equal(without.program.ns[PS_TIME_INTERRUPT], 0);
	assert_int_equal(with.program.ns[PS_TIME_INTERRUPT], 300);
	assert_int_equal(with.program.ns[PS_TIME_SYSCALL], without.program.ns[PS_TIME_SYSCALL] + 507);
	assert_int_equal(with.program.ns[PS_TIME_MIGRATE], 0);
	assert_int_equal(with.elapsed_ns, without.elapsed_ns + 507 + 300);
	ps_report_destroy(&without);
	ps_report_destroy(&with);
}

/* Shoots at CPU 0 when the program has run for a while. */
static void shoot(void *arg)
{
	const struct ps_cpumask *cpus = arg;

	ps_sleep_until(2000);
	current->cpu = 1;
	ps_tlb_shootdown(cpus, 1, 0x100, 1);
}

/*
 * A kernel thread shoots at the program's CPU in the middle of a batch of records that all hit the TLB: the program leaves
 * its fast path only when its quantum is over. Expect: it has lost the time there and then, before the next batch.
 */
static void an_interrupt_in_the_middle_of_a_batch_is_felt_in_it(void **state)
{
	struct ps_machine_spec *spec = scene_spec(1024, 0);
	struct ps_cpumask cpus = { { 1 } };
	struct ps_trace_batch batch = { .n = 100 };
	u64 vpn[100];
	u32 meta[100];
	GError *error = NULL;
	struct ps_replay *replay;
	struct task_struct *shooter;

	spec->costs.tlb_ipi_received_ns = 300;
	replay = ps_replay_new(spec, NULL, &error);
	assert_null(error);
	for (int i = 0; i < 100; i++) {
		vpn[i] = 0x100;
		meta[i] = ps_meta_data(1, 0, false);
	}
	batch.vpn = vpn;
	batch.meta = meta;
	assert_true(ps_replay_batch(replay, &batch, &error));
	ps_task_enter(ps_replay_world(replay)->boot);
	shooter = ps_task_new(ps_replay_world(replay)->rt, "shooter", shoot, &cpus);
	ps_task_leave();
	assert_non_null(shooter);
	assert_int_equal(ps_replay_task(replay, 0)->time[PS_TIME_INTERRUPT], 0);
	assert_true(ps_replay_batch(replay, &batch, &error));
	assert_int_equal(ps_replay_task(replay, 0)->time[PS_TIME_INTERRUPT], 300);
	assert_true(ps_task_ended(shooter));
	ps_replay_free(replay);
}

static void exec_empties_the_address_space(void **state)
{
	struct ps_replay *replay;
	struct ps_report r;

	replay = scene_replay(scene_spec(1024, 0), NULL, "accesses",
			      START MAP4 "@0 0\n 100 w1\n 101 w1\n@2 0 exec name=/usr/bin/other arg\n"
					 "@2 0 mmap at=100+1 prot=3 flags=0 offset=0 name=\n@2 0\n 100 w1\n");
	assert_string_equal(ps_replay_task(replay, 0)->comm, "other");
	assert_null(ps_replay_task(replay, 1));
	assert_null(ps_replay_task(replay, 0xffffffff));
	ps_report_init(&r);
	ps_replay_report(replay, &r);
	assert_int_equal(r.faults[PS_FAULT_ANON], 3);
	assert_int_equal(r.node[0].peak_pages, 2);
	assert_int_equal(r.node[0].resident_pages, 1);
	ps_report_destroy(&r);
	ps_replay_free(replay);
}

/* ---- what is mapped */

static struct vm_area_struct *vma_at(struct ps_replay *replay, u64 vpn)
{
	return vma_lookup(ps_replay_task(replay, 0)->mm, vpn << PAGE_SHIFT);
}

/* The heap grows over a page that the recorder had to infer; what shrinks is unmapped. */
static void brk_moves_the_end_of_the_heap(void **state)
{
	struct ps_replay *replay = scene_replay(
		scene_spec(1024, 0), NULL, "accesses",
		START "@0 0 mmap at=202+1 prot=3 flags=48 offset=0 name=\n@0 0 brk at=200+1\n@0 0\n 200 w1\n"
		      "@1 0 brk at=200+6\n@1 0\n 203 w1\n 205 w1\n@3 0 brk at=200+4\n");

	assert_non_null(vma_at(replay, 0x200));
	assert_non_null(vma_at(replay, 0x202));
	assert_non_null(vma_at(replay, 0x203));
	assert_null(vma_at(replay, 0x204));
	ps_task_enter(ps_replay_world(replay)->boot);
	assert_int_equal(get_mm_counter(ps_replay_task(replay, 0)->mm, MM_ANONPAGES), 2);
	ps_task_leave();
	ps_replay_free(replay);
}

/* Moved and grown, shrunk in place, grown in place: what was written moves along, without a new fault. */
static void mremap_moves_grows_and_shrinks(void **state)
{
	struct ps_report r;
	struct ps_replay *replay = scene_replay(
		scene_spec(1024, 0), NULL, "accesses",
		START MAP4 "@0 0\n 100 w1\n 103 w1\n@2 0 mremap at=100+4 to=300+6\n@2 0\n 300 r1\n 303 r1\n 305 w1\n"
			   "@5 0 mremap at=300+6 to=300+2\n@5 0 mremap at=300+2 to=300+3\n");

	assert_null(vma_at(replay, 0x100));
	assert_non_null(vma_at(replay, 0x302));
	assert_null(vma_at(replay, 0x303));
	ps_report_init(&r);
	ps_replay_report(replay, &r);
	assert_int_equal(r.faults[PS_FAULT_ANON], 3);
	assert_int_equal(scene_counter(&r, "pgfault"), 3);
	assert_int_equal(r.node[0].resident_pages, 1);
	assert_int_equal(r.ignored_events, 0);
	ps_report_destroy(&r);
	ps_replay_free(replay);
}

/*
 * 1. Two mappings nobody has touched yet: A at 0x100, C at 0x108; between them, at 0x104, lies B.
 * 2. The first half of C moves to 0x104, onto B: it continues A, and what is left of C... is C itself.
 * 3. All three become one mapping, and the one that moved is no more.
 * Expect: all of it can be touched, once each.
 */
static void mapping_moved_next_to_itself_becomes_one(void **state)
{
	struct ps_report r;
	struct ps_replay *replay = scene_replay(scene_spec(1024, 0), NULL, "accesses",
						START "@0 0 mmap at=100+4 prot=3 flags=0 offset=0 name=\n"
						      "@0 0 mmap at=104+4 prot=1 flags=0 offset=0 name=\n"
						      "@0 0 mmap at=108+8 prot=3 flags=0 offset=0 name=\n"
						      "@0 0 mremap at=10c+4 to=104+4\n"
						      "@0 0\n 100 w1\n 104 w1\n 107 w1\n 108 w1\n 10b w1\n 10c w1\n");

	ps_report_init(&r);
	ps_replay_report(replay, &r);
	assert_int_equal(r.faults[PS_FAULT_ANON], 6);
	assert_int_equal(r.auto_mapped_pages, 1); /* 0x10c has moved away */
	assert_int_equal(r.refused_accesses, 0);
	assert_ptr_equal(vma_at(replay, 0x100), vma_at(replay, 0x10b));
	ps_report_destroy(&r);
	ps_replay_free(replay);
}

/* More than the machine has is mapped, but not filled beforehand. */
static void no_more_is_populated_than_there_is(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 0), NULL, "accesses",
		     START "@0 0 mmap at=10000+1025 prot=3 flags=2 offset=0 name=\n@0 0 mmap at=20000+1025 prot=1 "
			   "flags=256 offset=0 name=\n"
			   "@0 0 madvise at=10000+1025 advice=22\n@0 0 mmap at=30000+3 prot=3 flags=2 offset=0 "
			   "name=\n@0 0\n 10000 w1\n",
		     &r);
	assert_int_equal(r.ignored_events, 3);
	assert_int_equal(r.node[0].resident_pages, 4);
	ps_report_destroy(&r);
}

/* mprotect over a hole protects what is there; a store the mapping forbids is not replayed; advice unknown here is counted. */
static void protection_and_advice(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 0), NULL, "accesses",
		     START MAP4
		     "@0 0 mmap at=106+1 prot=3 flags=0 offset=0 name=\n@0 0\n 100 w1\n 106 w1\n"
		     "@2 0 mprotect at=100+7 prot=1\n@2 0\n 100 r1\n 106 w2\n@5 0 madvise at=100+4 advice=4\n"
		     "@5 0 madvise at=100+1 advice=1\n@5 0 madvise at=100+1 advice=77\n",
		     &r);
	assert_int_equal(r.refused_accesses, 2);
	assert_int_equal(r.node[0].writes, 2);
	assert_int_equal(r.ignored_events, 2);
	/* madvise(dontneed) gave 0x100 back, 0x106 is still there. */
	assert_int_equal(r.node[0].resident_pages, 1);
	assert_int_equal(r.node[0].peak_pages, 2);
	ps_report_destroy(&r);
}

/* A trace that only lists accesses: a process begins, pages are mapped when they are touched, and both are counted. */
static void accesses_alone_are_a_trace(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 0), NULL, "accesses", "@0 3\n 500 w1\n 501 r1\n 500 r1\n", &r);
	assert_int_equal(r.processes, 1);
	assert_int_equal(r.auto_mapped_pages, 2);
	assert_int_equal(r.refused_accesses, 0);
	assert_int_equal(r.node[0].reads + r.node[0].writes, 3);
	ps_report_destroy(&r);
}

/* ---- files */

/*
 * A mapped file is as long as its mapping; read(2) of what nobody wrote finds it there; a private mapping copies on write.
 * The buffer of read(2) is touched by the kernel: two pages, no accesses of the program.
 */
static void files_are_as_long_as_what_is_done_to_them(void **state)
{
	struct ps_replay *replay = scene_replay(
		scene_spec(1024, 0), NULL, "accesses",
		START MAP4 "@0 0 open name=/etc/data\n@0 0 mmap at=400+2 prot=3 flags=0 offset=4096 name=/etc/data\n"
			   "@0 0\n 400 r1\n 401 w1\n@2 0 read at=100+2 offset=12288 length=5000 name=/etc/data\n"
			   "@2 0 write at=100+1 offset=0 length=100 name=out\n@2 0 fsync name=out\n"
			   "@2 0 truncate length=4096 name=/etc/data\n@2 0 open name=/etc/\n@2 0 read at=100+1 "
			   "offset=0 length=9 name=\n");
	struct ps_files *files = ps_replay_world(replay)->machine->files;
	struct inode *inode;
	struct ps_report r;

	ps_task_enter(ps_replay_world(replay)->boot);
	assert_int_equal(ps_file_open(files, "/d/etc/data", false, &inode), 0);
	assert_int_equal(i_size_read(inode), 4096);
	iput(inode);
	assert_int_equal(ps_file_open(files, "/d/out", false, &inode), 0);
	assert_int_equal(i_size_pages(inode), 1);
	iput(inode);
	ps_task_leave();
	ps_report_init(&r);
	ps_replay_report(replay, &r);
	assert_int_equal(r.faults[PS_FAULT_FILE], 1);
	assert_int_equal(r.faults[PS_FAULT_COW], 1);
	assert_int_equal(r.faults[PS_FAULT_ANON], 2);
	assert_int_equal(r.records, 2);
	assert_int_equal(r.ignored_events, 0);
	/* Files are warm. */
	assert_int_equal(r.program.ns[PS_TIME_WAIT], 0);
	ps_report_destroy(&r);
	ps_replay_free(replay);
}

/* ---- the hot path against the model's own */

/* What the model does for a record, without a loop of replay's own. */
static void model_record(struct ps_machine *machine, u64 vpn, u32 meta)
{
	struct ps_tlb *tlb = &machine->cpus[current->cpu].tlb;
	bool writes = ps_meta_has_writes(meta), first = ps_meta_first_is_write(meta);
	struct ps_access access = { .nid = 0 };

	assert_int_equal(ps_mmu_access(vpn << PAGE_SHIFT, first, &access), 0);
	if (writes && !first) {
		u64 word = ps_tlb_probe(tlb, current->mm->pt.asid, vpn);

		if (!(word & PS_TLB_WRITE) || !(word & PS_TLB_DIRTY))
			assert_int_equal(ps_mmu_walk(vpn << PAGE_SHIFT, true, &access), 0);
	}
	ps_charge(ps_access_ns(machine, 0, access.nid, first) + (ps_meta_count(meta) - 1) * CACHE_NS, PS_TIME_ACCESS);
}

/*
 * 20,000 random records over 40 pages on two nodes and a TLB of 8 entries, huge pages among them or not. Expect: the same time
 * to the nanosecond, the same TLB traffic, the same faults as when the model is called for every record.
 */
static void hot_path_does_what_the_model_does(void **state)
{
	enum { PAGES = 40, RECORDS = 20000 };

	for (int huge = 0; huge < 2; huge++) {
		struct ps_machine_spec *spec = scene_spec(128, 128);
		GError *error = NULL;
		struct ps_replay *replay, *model;
		struct task_struct *task;
		struct ps_trace_batch batch = { .n = 1 };
		struct ps_event map = { .kind = PS_EVENT_MMAP, .vpn = 64, .pages = PAGES, .prot = 3, .name = "" };
		struct ps_tlb_counts a, b;
		struct ps_rng rng;

		spec->pt_bits = 2; /* huge pages of four */
		spec->tlb = (struct ps_tlb_geometry){ 4, 2, 2, 2, 8, 2 };
		replay = ps_replay_new(spec, NULL, &error);
		model = ps_replay_new(spec, NULL, &error);
		assert_null(error);
		for (int which = 0; which < 2; which++) {
			struct ps_replay *r = which ? model : replay;

			ps_replay_world(r)->machine->faults->thp_enabled = huge ? THP_ALWAYS : THP_NEVER;
			assert_true(ps_replay_batch(r, &(struct ps_trace_batch){ .event = &map }, &error));
		}
		task = ps_replay_task(model, 0);
		ps_rng_init(&rng, 7);
		for (int i = 0; i < RECORDS; i++) {
			u64 vpn = 64 + ps_rng_below(&rng, PAGES);
			u32 reads = (u32)ps_rng_below(&rng, 3), writes = reads ? (u32)ps_rng_below(&rng, 2) : 1;
			u32 meta = ps_meta_data(reads, writes, ps_rng_chance(&rng, 32768));

			batch.vpn = &vpn;
			batch.meta = &meta;
			assert_true(ps_replay_batch(replay, &batch, &error));
			ps_task_enter(task);
			model_record(ps_replay_world(model)->machine, vpn, meta);
			ps_task_leave();
			assert_int_equal(ps_replay_task(replay, 0)->now, task->now);
			assert_int_equal(ps_replay_task(replay, 0)->time[PS_TIME_ACCESS], task->time[PS_TIME_ACCESS]);
		}
		ps_tlb_counts(&ps_replay_world(replay)->machine->cpus[0].tlb, &a);
		ps_tlb_counts(&ps_replay_world(model)->machine->cpus[0].tlb, &b);
		assert_int_equal(a.l1_hits, b.l1_hits);
		assert_int_equal(a.l2_hits, b.l2_hits);
		assert_int_equal(a.misses, b.misses);
		assert_int_equal(a.l1_hits + a.l2_hits + a.misses, RECORDS);
		assert_true(a.l2_hits && a.misses > 1000);
		assert_memory_equal(ps_replay_world(replay)->machine->faults->count,
				    ps_replay_world(model)->machine->faults->count, sizeof(u64) * PS_NR_FAULT_KINDS);
		ps_replay_free(replay);
		ps_replay_free(model);
	}
}

/* ---- protection */

/*
 * Pages that NUMA balancing moved while a program on node 1 read a file that another one, on node 0, maps as well. 15
 * of them: as many as leave the first toucher's LRU batch by themselves.
 */
static u64 moved_to_reader(unsigned int prot)
{
	struct ps_replay_settings settings = { .placement = PS_PLACE_SPREAD,
					       .policy = "numa-balancing,scan_delay=10,scan_period_min=20" };
	struct ps_machine_spec *spec = scene_spec(1024, 1024);
	GString *body = g_string_new(START "@0 1 start other=- pid=2 tid=2 name=/bin/reader\n");
	struct ps_report r;
	u64 moved;

	spec->cpu_node[1] = 1;
	for (int nid = 0; nid < 2; nid++) {
		spec->read_latency[1][nid] = nid ? 100 : 300;
		spec->write_latency[1][nid] = nid ? 150 : 450;
		spec->read_bandwidth[1][nid] = spec->write_bandwidth[1][nid] = 100000000000;
	}
	for (int task = 0; task < 2; task++)
		g_string_append_printf(body, "@0 %d mmap at=200+15 prot=%u flags=1 offset=0 name=/lib/x\n", task, prot);
	for (int i = 0; i < 15; i++)
		g_string_append_printf(body, "@0 0\n %x r1\n", 0x200 + i);
	for (int ms = 1; ms < 100; ms++) {
		g_string_append_printf(body, "@%d+4000000 1\n", ms * 4000000); /* 1 ms of other instructions */
		for (int i = 0; i < 15; i++)
			g_string_append_printf(body, " %x r1\n", 0x200 + i);
	}
	scene_report(spec, &settings, "instructions", body->str, &r);
	assert_int_equal(r.ignored_events + r.refused_accesses, 0);
	moved = scene_counter(&r, "numa_pages_migrated");
	assert_int_equal(scene_counter(&r, "numa_hint_faults"),
			 prot & PS_PROT_EXEC ? scene_counter(&r, "numa_hint_faults") : 15);
	g_string_free(body, TRUE);
	ps_report_destroy(&r);
	return moved;
}

/*
 *   CPU 0 (node 0): maps 15 pages of a file, touches them first ──┐
 *   CPU 1 (node 1): maps them, too, and reads them all the time ──┴── page cache on node 0
 *
 * Expect: what is only data comes to its reader; what could be the text of a shared library stays where it is, since a
 * recorded PROT_EXEC is VM_EXEC here.
 */
static void shared_text_is_not_moved_to_its_reader(void **state)
{
	(void)state;
	assert_int_equal(moved_to_reader(PS_PROT_READ | PS_PROT_WRITE), 15);
	assert_int_equal(moved_to_reader(PS_PROT_READ | PS_PROT_WRITE | PS_PROT_EXEC), 0);
}

/* Text that may only be executed can be fetched and so be read here; it cannot be written. */
static void text_that_may_only_run_is_readable(void **state)
{
	struct ps_report r;

	(void)state;
	scene_report(scene_spec(1024, 1024), NULL, "accesses",
		     START "@0 0 mmap at=100+4 prot=4 flags=0 offset=0 name=/lib/x\n@0 0\n 100 x3\n 101 w1\n"
			   "@4 0 mprotect at=100+4 prot=1\n@4 0 mprotect at=100+2 prot=5\n@4 0\n 101 x1\n 102 r1\n",
		     &r);
	assert_int_equal(r.fetches, 4);
	assert_int_equal(r.refused_accesses, 1);
	assert_int_equal(r.ignored_events, 0);
	ps_report_destroy(&r);
}

/* ---- intervals */

/* Rows of 10 us: they begin where the last ended, and add up to the whole. */
static void rows_add_up_to_the_whole(void **state)
{
	struct ps_replay_settings settings = { .interval_ns = 10000 };
	GString *body = g_string_new(START "@0 0 mmap at=1000+1000 prot=3 flags=0 offset=0 name=\n");
	struct ps_report r;
	unsigned nr;
	u64 *totals;

	for (int i = 0; i < 300; i++)
		g_string_append_printf(body, "@%d 0\n %x w2\n %x r1\n", 3 * i, 0x1000 + i, 0x1000 + i / 2);
	scene_report(scene_spec(1024, 64), &settings, "accesses", body->str, &r);
	nr = r.nr_columns;
	assert_int_equal(nr, ps_report_nr_columns(2));
	totals = g_new0(u64, nr);
	ps_report_totals(&r, totals);
	assert_true(r.nr_rows > 100);
	for (size_t i = 0; i < r.nr_rows; i++) {
		const u64 *row = r.rows + i * nr;

		assert_int_equal(row[PS_REPORT_COLUMN_START], i ? row[PS_REPORT_COLUMN_END - (int)nr] : 0);
		assert_true(row[PS_REPORT_COLUMN_END] > row[PS_REPORT_COLUMN_START]);
		if (i + 1 < r.nr_rows)
			assert_int_equal(row[PS_REPORT_COLUMN_END] % 10000, 0);
		for (unsigned c = 0; c < nr; c++)
			if (!ps_report_column_is_gauge(c, 2))
				totals[c] -= row[c];
	}
	for (unsigned c = 0; c < nr; c++) {
		if (ps_report_column_is_gauge(c, 2) && c != PS_REPORT_COLUMN_START)
			assert_int_equal(totals[c], r.rows[(r.nr_rows - 1) * nr + c]);
		else
			assert_int_equal(totals[c], 0);
	}
	g_free(totals);
	ps_report_destroy(&r);
	g_string_free(body, TRUE);
}

/* A wait of a thousand intervals is one row, not a thousand. */
static void quiet_time_is_one_row(void **state)
{
	struct ps_replay_settings settings = { .interval_ns = 10000 };
	struct ps_report r;

	scene_report(scene_spec(1024, 0), &settings, "ns", START MAP4 "@0 0\n 100 w1\n@10000000 0\n 100 r1\n", &r);
	assert_in_range(r.nr_rows, 1, 3);
	assert_int_equal(r.rows[(r.nr_rows - 1) * r.nr_columns + PS_REPORT_COLUMN_END], 10000100);
	ps_report_destroy(&r);
}

/* ---- ends */

/* 32 pages are asked of 16. Expect: an error that says where and how full the node is; all before it is in the report. */
static void memory_that_is_not_there_ends_the_replay(void **state)
{
	GString *body = g_string_new(START "@0 0 mmap at=100+20 prot=3 flags=0 offset=0 name=\n@0+32 0\n");
	struct ps_report r;
	char *message;

	for (int i = 0; i < 32; i++)
		g_string_append_printf(body, " %x w1\n", 0x100 + i);
	message = scene_error(scene_spec(16, 0), body->str, &r);
	assert_non_null(strstr(message, "hand.trace: after "));
	assert_non_null(strstr(message, "access to page 0x1"));
	assert_non_null(strstr(message, "out of simulated memory (node 0: "));
	assert_non_null(strstr(message, " of 16 pages free)"));
	assert_false(r.complete);
	assert_string_equal(r.stopped, message);
	assert_in_range(r.records, 8, 16);
	assert_int_equal(r.node[0].writes, r.records);
	assert_int_equal(r.faults[PS_FAULT_ANON], r.records);
	ps_report_destroy(&r);
	g_free(message);
	g_string_free(body, TRUE);
}

/* What no recorded system could have done. */
static void impossible_traces_are_errors(void **state)
{
	static const struct {
		const char *what;
		const char *body;
		const char *says;
	} cases[] = {
		{ "after its end", START "@0 0 exit\n@1 0\n 100 r1\n", "task 0 does something after its end" },
		{ "twice", START START, "task 0 starts twice" },
		{ "beyond", START "@0 0\n fffffffffffff r1\n", "access to page 0xfffffffffffff: an address space" },
		{ "map beyond", START "@0 0 mmap at=fffffff00+1000 prot=3 flags=0 offset=0 name=\n",
		  "mmap of pages 0xfffffff00" },
		{ "move beyond", START MAP4 "@0 0 mremap at=100+4 to=ffffffffffff0+4\n", "mremap of pages 0x100" },
		{ "statement", "@0 0 statement line=1 name=A start\n", "run as a script" },
	};

	for (unsigned i = 0; i < G_N_ELEMENTS(cases); i++) {
		char *message = scene_error(scene_spec(1024, 0), cases[i].body, NULL);

		if (!strstr(message, cases[i].says))
			fail_msg("%s: expected '%s', found '%s'", cases[i].what, cases[i].says, message);
		g_free(message);
	}
}

/* Calls that fail here, though they did not where they were recorded: counted, and nothing else happens. */
static void calls_that_fail_here_are_counted(void **state)
{
	struct ps_report r;

	scene_report(scene_spec(1024, 0), NULL, "accesses",
		     START MAP4 "@0 0 truncate length=5 name=\n@0 0 fsync name=\n@0 0 mremap at=100+4 to=102+4\n"
				"@0 0 read at=100+1 offset=0 length=99999999999 name=f\n@0 0 mmap at=100+1 prot=3 "
				"flags=0 offset=9000000000000000 name=f\n"
				"@0 0 munmap at=100+0\n",
		     &r);
	assert_true(r.complete);
	assert_int_equal(r.ignored_events, 6);
	ps_report_destroy(&r);
}

static void settings_that_cannot_be(void **state)
{
	struct ps_replay_settings generation = { .generation = "7.0" };
	struct ps_machine_spec *spec = scene_spec(1024, 0);
	GError *error = NULL;

	assert_null(ps_replay_new(spec, &generation, &error));
	assert_true(g_error_matches(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_GENERATION));
	assert_non_null(strstr(error->message, "unknown generation '7.0': expected one of"));
	g_clear_error(&error);
	spec->nr_cpus = 0;
	assert_null(ps_replay_new(spec, NULL, &error));
	assert_true(g_error_matches(error, PS_REPLAY_ERROR, PS_REPLAY_ERROR_MACHINE));
	g_clear_error(&error);
	ps_replay_free(NULL);
}

/* Every single allocation may fail: an error each time, nothing left behind. */
static void host_memory_may_run_out_anywhere(void **state)
{
	struct ps_machine_spec *spec = scene_spec(1024, 64);
	static const char body[] =
		START MAP4 "@0 0\n 100 w1\n 101 r1\n@1 0 fork other=1 pid=2 tid=1\n@1 1\n 100 w1\n"
			   "@2 1 read at=100+2 offset=0 length=5000 name=f\n@2 1 exec name=x\n@2 1 exit\n";
	struct ps_replay_settings settings = { .interval_ns = 1000 };
	unsigned failures = 0;

	for (u64 n = 1;; n++) {
		struct ps_trace_reader *reader = scene_reader("accesses", body);
		struct ps_replay *replay;
		struct ps_alloc_counts before, after;
		GError *error = NULL;
		bool ok = false, done;

		ps_alloc_counts(&before);
		ps_alloc_fail_nth(n);
		replay = ps_replay_new(spec, &settings, &error);
		if (replay)
			ok = ps_replay_run(replay, reader, &error);
		done = ps_alloc_fail_nth(0);
		assert_true(ok == !error);
		failures += !ok;
		g_clear_error(&error);
		ps_replay_free(replay);
		ps_alloc_counts(&after);
		ps_trace_reader_free(reader);
		if (done) {
			assert_true(ok);
			break;
		}
	}
	assert_true(failures > 20);
}

/* ---- again and again */

static char *all_formats(const struct ps_report *report)
{
	GString *text = g_string_new(NULL);

	for (int format = PS_REPORT_TABLE; format <= PS_REPORT_VMSTAT; format++)
		ps_report_write(report, (enum ps_report_format)format, false, 0, text);
	return g_string_free(text, FALSE);
}

/* Expect: the same trace, machine and seed give the same bytes in every format. */
static void same_input_gives_the_same_bytes(void **state)
{
	struct ps_replay_settings settings = { .interval_ns = 5000, .seed = 3 };
	GString *body = g_string_new(START "@0 0 mmap at=1000+100 prot=3 flags=0 offset=0 name=\n");
	char *first = NULL;
	struct ps_rng rng;

	ps_rng_init(&rng, 1);
	for (int i = 0; i < 2000; i++)
		g_string_append_printf(body, "@%d 0\n %x %c1\n", i, 0x1000 + (unsigned)ps_rng_below(&rng, 100),
				       "rw"[i % 2]);
	for (int round = 0; round < 2; round++) {
		struct ps_report r;
		char *text;

		scene_report(scene_spec(64, 256), &settings, "accesses", body->str, &r);
		text = all_formats(&r);
		if (first)
			assert_string_equal(first, text);
		g_free(first);
		first = text;
		ps_report_destroy(&r);
	}
	g_free(first);
	g_string_free(body, TRUE);
}

int main(void)
{
	const struct CMUnitTest tests[] = {
		cmocka_unit_test_teardown(every_number_of_a_small_trace, scene_nothing_left),
		cmocka_unit_test_teardown(far_memory_costs_what_it_costs, scene_nothing_left),
		cmocka_unit_test_teardown(instructions_between_accesses_take_time, scene_nothing_left),
		cmocka_unit_test_teardown(recorded_time_is_waited_for, scene_nothing_left),
		cmocka_unit_test_teardown(fork_copies_on_write_and_time_is_one_line, scene_nothing_left),
		cmocka_unit_test_teardown(threads_share_memory_and_switches_cost, scene_nothing_left),
		cmocka_unit_test_teardown(who_is_interrupted_loses_time, scene_nothing_left),
		cmocka_unit_test_teardown(an_interrupt_in_the_middle_of_a_batch_is_felt_in_it, scene_nothing_left),
		cmocka_unit_test_teardown(exec_empties_the_address_space, scene_nothing_left),
		cmocka_unit_test_teardown(brk_moves_the_end_of_the_heap, scene_nothing_left),
		cmocka_unit_test_teardown(mremap_moves_grows_and_shrinks, scene_nothing_left),
		cmocka_unit_test_teardown(mapping_moved_next_to_itself_becomes_one, scene_nothing_left),
		cmocka_unit_test_teardown(no_more_is_populated_than_there_is, scene_nothing_left),
		cmocka_unit_test_teardown(protection_and_advice, scene_nothing_left),
		cmocka_unit_test_teardown(shared_text_is_not_moved_to_its_reader, scene_nothing_left),
		cmocka_unit_test_teardown(text_that_may_only_run_is_readable, scene_nothing_left),
		cmocka_unit_test_teardown(accesses_alone_are_a_trace, scene_nothing_left),
		cmocka_unit_test_teardown(files_are_as_long_as_what_is_done_to_them, scene_nothing_left),
		cmocka_unit_test_teardown(hot_path_does_what_the_model_does, scene_nothing_left),
		cmocka_unit_test_teardown(rows_add_up_to_the_whole, scene_nothing_left),
		cmocka_unit_test_teardown(quiet_time_is_one_row, scene_nothing_left),
		cmocka_unit_test_teardown(memory_that_is_not_there_ends_the_replay, scene_nothing_left),
		cmocka_unit_test_teardown(impossible_traces_are_errors, scene_nothing_left),
		cmocka_unit_test_teardown(calls_that_fail_here_are_counted, scene_nothing_left),
		cmocka_unit_test_teardown(settings_that_cannot_be, scene_nothing_left),
		cmocka_unit_test_teardown(host_memory_may_run_out_anywhere, scene_nothing_left),
		cmocka_unit_test_teardown(same_input_gives_the_same_bytes, scene_nothing_left),
	};

	return cmocka_run_group_tests(tests, NULL, NULL);
}
