/* SPDX-License-Identifier: MIT */
/*
 * The simulated NUMA machine: nodes of memory, CPUs, how far one is from the other in distance, latency and bandwidth,
 * memory tiers, a TLB per CPU, and what actions cost. A machine is built from a struct ps_machine_spec, which says what
 * it is in plain fields; machine_file.h makes a spec from a key file, an hwloc topology or this host.
 *
 * Names in this file:
 *   spec     - the description, checked once; a machine built from it never changes shape
 *   section  - 2^(2 pt_bits) frames (1 GiB with 9-bit levels, 16 frames with 2-bit levels). Every node begins at a
 *              section and owns whole ones, the last perhaps with a hole, so that the node of a frame is one table read
 *   tier     - nodes whose abstract distance falls into the same chunk of 128, as in Linux; smaller = faster
 *   top tier - the tiers no slower than the slowest one that has a CPU
 *
 * Frames:
 *
 *      pfn 0           1 section       2 sections ...
 *      | boot section  | node 0 ............ (hole) | node 1 ..... | node 2 ...
 *
 * The boot section belongs to no node's memory and no allocator: its frames stand for what a kernel has outside the
 * allocator's hands (the zero pages). pfn_to_nid() says first_nid for them. pfn 0 is never a page.
 *
 * mem_map covers all of it, reserved and untouched: host memory is spent on the frames somebody looks at.
 *
 * Locking: a machine's shape is constant. TLBs: see tlb.h. Traffic counters: added to as statistics are.
 *
 * What real machines do differently: latency rises with load. Here it is constant; traffic per node is counted so that a
 * report can say how close to its bandwidth a node came.
 *
 * Layer: machine
 */
#ifndef PAGESIM_MACHINE_H
#define PAGESIM_MACHINE_H

#include <pagesim/types.h>
#include <pagesim/bitmap.h>
#include <pagesim/nodemask.h>
#include <pagesim/rng.h>
#include <pagesim/spinlock.h>
#include <pagesim/task.h>
#include <pagesim/cost.h>
#include <pagesim/tlb.h>

#ifdef __cplusplus
extern "C" {
#endif

#define PS_MAX_CPUS 1024
/** The most sections a machine may have: 64 TiB with 9-bit levels. */
#define PS_MAX_SECTIONS 65536
/** Size of a struct page, in bytes (page.h asserts it). */
#define PS_PAGE_STRUCT_BYTES 64

#define LOCAL_DISTANCE  10
#define REMOTE_DISTANCE 20

/* Linux 6.1 memory-tiers.h: chunks of 128; DRAM in the middle of the fifth; slow memory by DAX five times as far. */
#define MEMTIER_CHUNK_BITS            7
#define MEMTIER_CHUNK_SIZE            (1 << MEMTIER_CHUNK_BITS)
#define MEMTIER_ADISTANCE_DRAM        (4 * MEMTIER_CHUNK_SIZE + (MEMTIER_CHUNK_SIZE >> 1))
#define MEMTIER_DEFAULT_DAX_ADISTANCE (MEMTIER_ADISTANCE_DRAM * 5)

/** What a node's memory is. It sets the abstract distance unless the spec does: DRAM and HBM 576, the others 2880. */
enum ps_memory_kind {
	PS_MEMORY_DRAM, /* zero = default */
	PS_MEMORY_HBM,
	PS_MEMORY_CXL,
	PS_MEMORY_OPTANE,
	PS_NR_MEMORY_KINDS,
};

/**
 * struct ps_node_spec - one node.
 * @bytes: its memory, whole pages; 0 only for a node of CPUs alone.
 * @abstract_distance: 0 = by kind.
 */
struct ps_node_spec {
	u64 bytes;
	enum ps_memory_kind kind;
	u32 abstract_distance;
};

/**
 * struct ps_machine_spec - everything a machine is made from. Nodes with their memory, CPUs, latency and bandwidth must
 * be named; every other field may be zero for its default. Costs: see ps_machine_spec_init.
 * Matrices: first index = node of the CPU (for distance: from), second = node of the memory (to).
 */
struct ps_machine_spec {
	char name[64];
	char description[256];
	unsigned nr_nodes;
	struct ps_node_spec node[MAX_NUMNODES];
	unsigned nr_cpus;
	/** Node of each CPU. */
	s16 cpu_node[PS_MAX_CPUS];
	/** SLIT: 10 = local, at least 10 elsewhere; 0 everywhere = 10 and 20. */
	u8 distance[MAX_NUMNODES][MAX_NUMNODES];
	/** ns; required where the first node has CPUs and the second has memory. Write 0 = as read. */
	u32 read_latency[MAX_NUMNODES][MAX_NUMNODES];
	u32 write_latency[MAX_NUMNODES][MAX_NUMNODES];
	/** bytes/s; required where latency is. Write 0 = as read. */
	u64 read_bandwidth[MAX_NUMNODES][MAX_NUMNODES];
	u64 write_bandwidth[MAX_NUMNODES][MAX_NUMNODES];
	/** A cost of 0 is free of charge: start from ps_machine_spec_init. */
	struct ps_costs costs;
	struct ps_tlb_geometry tlb;
	/** Page table geometry: entries of a level = 1 << pt_bits, pages of a huge page as well. 0 = 9; 2 .. 9. */
	unsigned pt_bits;
	/** Share of each node's memory at its end that is ZONE_MOVABLE, in percent, 0 .. 100. */
	unsigned movable_percent;
	/** Watermarks: vm.min_free_kbytes (0 = Linux's formula) and vm.watermark_scale_factor (0 = 10). */
	u64 min_free_kbytes;
	unsigned watermark_scale_factor;
	/** Seed of the machine's own choices (demotion target among equals). */
	u64 seed;
};

/**
 * ps_machine_spec_init - the defaults: no nodes, default costs and TLB, 9-bit levels.
 * Fill in nodes, CPUs, latency and bandwidth; ps_machine_spec_fill invents the latter two.
 */
void ps_machine_spec_init(struct ps_machine_spec *spec);

/**
 * ps_machine_spec_fill - invent latency and bandwidth where they are missing: 80 ns and 60 GB/s at distance 10, others
 * in proportion to distance (latency) and inversely (bandwidth).
 */
void ps_machine_spec_fill(struct ps_machine_spec *spec);

/** The figures ps_machine_spec_fill starts from. Source: assumption, a current server's local DRAM. */
#define PS_FILL_LATENCY_NS 80
#define PS_FILL_BANDWIDTH  60000000000ull

/**
 * ps_machine_spec_check - can such a machine exist?
 * @why: what is wrong, one sentence, when it cannot; untouched otherwise. May be NULL.
 * Return: 0, -EINVAL.
 */
int ps_machine_spec_check(const struct ps_machine_spec *spec, char *why, size_t size);

/** struct ps_node - a node of a running machine; constant but for the traffic counters. */
struct ps_node {
	nid_t nid;
	enum ps_memory_kind kind;
	pfn_t start_pfn;
	/** Frames with memory behind them; they are [start_pfn, start_pfn + present_pages). */
	u64 present_pages;
	/** The last of them that are ZONE_MOVABLE, a multiple of a huge page. */
	u64 movable_pages;
	unsigned nr_cpus;
	/** Itself, or without CPUs the nearest node that has some: where its kernel threads run. */
	nid_t cpu_nid;
	u32 abstract_distance;
	/** Position of its tier, 0 = fastest; -1 = no memory. */
	int tier;
	/** Where demotion goes first: the nearest nodes of the next lower tier. Empty = nowhere. */
	nodemask_t demotion_preferred;
	/** Bytes moved to and from its memory, see ps_node_read and ps_node_written. */
	u64 bytes_read;
	u64 bytes_written;
};

/**
 * struct ps_cpu - a CPU.
 *
 * A real CPU takes an interrupt between two instructions: no page walk is under way, and no access through a translation
 * that is being flushed. So when a shootdown has returned, nothing read from the tables before it can reach a TLB any more.
 * Here that is what @mmu_lock is for: a walk holds it from the first entry it reads until the TLB has the translation, a
 * program's load or store (ps_mmu_load) until the word is read or written, and a flush of this CPU's TLB while it flushes.
 * Whoever walks as one step, with nobody else running (replay), need not take it.
 *
 * @mmu_lock: MMU_LOCK, see above.
 * @node: constant.
 * @ipis: TLB shootdowns it was interrupted by; a statistic. @ipi_ns: what they cost it and nobody has charged yet, see
 * ps_cpu_take_ipi_ns; added to by who sends, taken by who runs there.
 */
struct ps_cpu {
	struct ps_tlb tlb;
	nid_t node;
	u64 ipis;
	ps_ns_t ipi_ns;
	spinlock_t mmu_lock;
};

/** struct ps_tier - a memory tier. @lower: nodes of all slower tiers. */
struct ps_tier {
	u32 abstract_distance; /* first of its chunk */
	nodemask_t nodes;
	nodemask_t lower;
	bool top;
};

struct page;
struct pglist_data;
struct ps_mem;
struct ps_files;
struct ps_mms;
struct ps_rmap;
struct ps_faults;
struct ps_engines;
struct ps_swap;
struct ps_reclaim;
struct ps_policy;

/**
 * struct ps_machine - a running machine. What an access needs comes first.
 */
struct ps_machine {
	/**
	 * ns per access that misses the CPU caches, [node of the CPU][node of the memory]. A node without CPUs has the
	 * figures of its cpu_nid.
	 */
	u32 read_ns[MAX_NUMNODES][MAX_NUMNODES];
	u32 write_ns[MAX_NUMNODES][MAX_NUMNODES];

	struct page *mem_map;
	/** First pfn after the last node; mem_map has this many elements. */
	pfn_t max_pfn;
	/** Node of each section. */
	u8 *section_nid;
	unsigned section_shift;
	unsigned pt_bits;
	struct ps_costs costs;

	struct ps_cpu *cpus;
	unsigned nr_cpus;
	unsigned nr_nodes;
	struct ps_node nodes[MAX_NUMNODES];
	/** Nodes with memory; with CPUs. */
	nodemask_t memory_nodes;
	nodemask_t cpu_nodes;
	nid_t first_nid;

	unsigned nr_tiers;
	struct ps_tier tiers[MAX_NUMNODES];
	struct ps_rng demotion_rng;

	u64 total_pages;
	u64 mem_map_bytes;
	/** What it was built from. */
	struct ps_machine_spec *spec;

	/* Slots of higher layers: set, used and cleared by them. */
	struct pglist_data *node_data[MAX_NUMNODES];
	struct ps_mem *mem;
	struct ps_files *files;
	struct ps_mms *mms;
	struct ps_rmap *rmap;
	struct ps_faults *faults;
	struct ps_engines *engines;
	struct ps_swap *swap;
	struct ps_reclaim *reclaim;
	struct ps_policy *policy;
};

/** this_machine - the machine the current task runs on. */
static inline struct ps_machine *this_machine(void)
{
	return ps_current->machine;
}

/**
 * ps_machine_new - build a machine; @spec is copied.
 * Return: 0 and the machine in @ret_machine, which the caller frees; -EINVAL (ps_machine_spec_check says why), -ENOMEM.
 * Context: may allocate; no task needed.
 */
int ps_machine_new(const struct ps_machine_spec *spec, struct ps_machine **ret_machine);
/** ps_machine_free - NULL is fine. The slots of higher layers have been cleared by them. */
void ps_machine_free(struct ps_machine *machine);

/** ps_pfn_to_nid - the node of frame @pfn < max_pfn, first_nid for the boot section. One table read. */
static inline nid_t ps_pfn_to_nid(const struct ps_machine *machine, pfn_t pfn)
{
	return machine->section_nid[pfn >> machine->section_shift];
}

/** pfn_to_nid - the same on the current machine. Fidelity: exact (pfn_to_nid). */
static inline nid_t pfn_to_nid(pfn_t pfn)
{
	return ps_pfn_to_nid(ps_current->machine, pfn);
}

/** ps_pfn_present - is there memory of a node behind @pfn? False in holes, in the boot section and beyond the end. */
static inline bool ps_pfn_present(const struct ps_machine *machine, pfn_t pfn)
{
	const struct ps_node *node;

	if (pfn >= machine->max_pfn || !(pfn >> machine->section_shift))
		return false;
	node = &machine->nodes[ps_pfn_to_nid(machine, pfn)];
	return pfn - node->start_pfn < node->present_pages;
}

/** node_distance - SLIT distance. Fidelity: exact (node_distance). */
static inline int node_distance(nid_t from, nid_t to)
{
	return ps_current->machine->spec->distance[from][to];
}

/** cpu_to_node - node of a CPU. Fidelity: exact (cpu_to_node). */
static inline nid_t cpu_to_node(int cpu)
{
	return ps_current->machine->cpus[cpu].node;
}

/** numa_node_id - node of the current task's CPU. Fidelity: exact (numa_node_id). */
static inline nid_t numa_node_id(void)
{
	return cpu_to_node(ps_current->cpu);
}

/** HPAGE_PMD_ORDER and HPAGE_PMD_NR of the current machine: not constants, machines differ in geometry. */
#define HPAGE_PMD_ORDER (ps_current->machine->pt_bits)
#define HPAGE_PMD_NR    (1ul << ps_current->machine->pt_bits)

/**
 * ps_access_ns - time of one access from a CPU of @cpu_node to memory of @nid that the caches do not serve.
 * Fidelity: simplified (hardware): constant per pair of nodes.
 */
static inline u32 ps_access_ns(const struct ps_machine *machine, nid_t cpu_node, nid_t nid, bool write)
{
	return write ? machine->write_ns[cpu_node][nid] : machine->read_ns[cpu_node][nid];
}

/**
 * ps_copy_rate - bytes/s at which one core of @cpu_node copies from memory of @from to memory of @to.
 * The slowest of: the core itself (costs.copy_rate), reading from @from, writing to @to; reading and writing overlap,
 * but one node that is both shares its bandwidth between the two. A node without CPUs copies as the nearest that has.
 * Fidelity: simplified.
 */
u64 ps_copy_rate(const struct ps_machine *machine, nid_t cpu_node, nid_t from, nid_t to);
/** ps_copy_ns - time to copy @bytes so, without the fixed costs per page (costs.copy_page_ns). */
ps_ns_t ps_copy_ns(const struct ps_machine *machine, nid_t cpu_node, nid_t from, nid_t to, u64 bytes);
/** ps_zero_ns - time to clear @bytes of memory of @nid from a CPU of @cpu_node: the slower of the core and the memory. */
ps_ns_t ps_zero_ns(const struct ps_machine *machine, nid_t cpu_node, nid_t nid, u64 bytes);

/**
 * ps_migration_estimate - what one migrate_pages call that moves @pages base pages (@huge: huge pages) would take when
 * nothing is contended and no other CPU must be interrupted: the formula of cost.h. The engines charge step by step;
 * this is for showing a machine and for checking its calibration.
 * @ret_copy: the part of it that is copying; may be NULL.
 */
ps_ns_t ps_migration_estimate(const struct ps_machine *machine, nid_t cpu_node, nid_t from, nid_t to, u64 pages,
			      bool huge, ps_ns_t *ret_copy);

/** Count traffic: @bytes were read from, written to node @nid's memory. */
#ifdef PS_NATIVE
#define ps_node_read(machine, nid, n) \
	((void)__atomic_fetch_add(&(machine)->nodes[nid].bytes_read, (n), __ATOMIC_RELAXED))
#define ps_node_written(machine, nid, n) \
	((void)__atomic_fetch_add(&(machine)->nodes[nid].bytes_written, (n), __ATOMIC_RELAXED))
#else
#define ps_node_read(machine, nid, n)    ((void)((machine)->nodes[nid].bytes_read += (n)))
#define ps_node_written(machine, nid, n) ((void)((machine)->nodes[nid].bytes_written += (n)))
#endif

/* ---- tiers ---- */

/** node_is_toptier - is @nid in a tier no slower than the slowest with a CPU? True without memory. Fidelity: exact
 * (node_is_toptier). */
bool node_is_toptier(nid_t nid);
/**
 * next_demotion_node - where pages of @nid are demoted to first: one of the nearest nodes of the next lower tier.
 * Several are equally near: one of them by the machine's own seeded sequence.
 * Return: NUMA_NO_NODE when @nid is in the lowest tier. Fidelity: exact (next_demotion_node).
 */
nid_t next_demotion_node(nid_t nid);
/** node_allowed_demotion_targets - all nodes of all lower tiers. Fidelity: exact (node_get_allowed_targets). */
nodemask_t node_allowed_demotion_targets(nid_t nid);

/* ---- TLB shootdown ---- */

/**
 * struct ps_cpumask - a set of CPUs.
 */
struct ps_cpumask {
	unsigned long bits[BITS_TO_LONGS(PS_MAX_CPUS)];
};

/**
 * ps_tlb_shootdown - flush [@vpn, @vpn + @npages) of @asid from the TLBs of the CPUs in @cpus.
 * @npages: 0 = everything of @asid. More pages than PS_TLB_FLUSH_CEILING are flushed as everything, as Linux does.
 * Charges the current task, as the work it is at (ps_charge_work): the own flush, and a shootdown when another CPU is in
 * @cpus. Counts nr_tlb_*.
 * Each CPU's flush is a step of its own, which waits for the walk under way there (struct ps_cpu). On return no named TLB
 * has such an entry, and none can get one that was read before the call.
 * Context: a current task; may be under spinlocks.
 * Return: how many remote CPUs were interrupted.
 * Fidelity: simplified (flush_tlb_mm_range): remote CPUs answer at once, what it costs them is added to
 * their ipi_ns.
 */
unsigned ps_tlb_shootdown(const struct ps_cpumask *cpus, u32 asid, u64 vpn, u64 npages);
/** ps_tlb_shootdown_all - the same of everything the TLBs have. Fidelity: as above (arch_tlbbatch_flush). */
unsigned ps_tlb_shootdown_all(const struct ps_cpumask *cpus);
/** Linux's tlb_single_page_flush_ceiling. */
#define PS_TLB_FLUSH_CEILING 33

/** ps_cpu_take_ipi_ns - what shootdowns have cost CPU @cpu since the last call: whoever runs there charges it. */
ps_ns_t ps_cpu_take_ipi_ns(struct ps_machine *machine, int cpu);
/**
 * ps_take_ipis - charges the current task (PS_TIME_INTERRUPT) for the shootdowns that its CPU was interrupted by since the
 * last call. Whoever executes a program calls it where other tasks may have run: when the task is entered, after
 * cond_resched(), before a page walk. Kernel threads do not: they have no address space loaded that would be flushed.
 * Context: a current task.
 * Fidelity: simplified (flush_tlb_func): the time is lost a little later than the interrupt, never more than a quantum of
 * the task's own running.
 */
void ps_take_ipis(void);

static inline void ps_cpumask_set(struct ps_cpumask *mask, int cpu)
{
	__set_bit((unsigned long)cpu, mask->bits);
}

static inline void ps_cpumask_clear(struct ps_cpumask *mask, int cpu)
{
	__clear_bit((unsigned long)cpu, mask->bits);
}

static inline bool ps_cpumask_test(const struct ps_cpumask *mask, int cpu)
{
	return __test_bit((unsigned long)cpu, mask->bits);
}

/** ps_memory_kind_name - "dram", "hbm", "cxl", "optane". */
const char *ps_memory_kind_name(enum ps_memory_kind kind);

#ifdef __cplusplus
}
#endif

#endif
