/* SPDX-License-Identifier: MIT */
/*
 * From a description to a machine: check that such a machine can exist, lay its nodes out over page frames, sort them
 * into tiers, find out where each demotes to, and give every CPU a TLB. Costs and the rates that follow from latency and
 * bandwidth are here as well; the TLB itself is in tlb.c, where descriptions come from in machine_file.c.
 *
 * Demotion targets, as Linux 6.1 finds them (mm/memory-tiers.c): of the next lower tier, the best node by distance with
 * a penalty of 1 for having CPUs and 1 for a lower number, and every further node at the same distance; a node of the
 * lowest tier has none. Allowed are all nodes of all lower tiers. Top are the tiers down to the slowest one in which a
 * node has CPUs.
 */
#include <stdarg.h>
#include <stdio.h>
#include <string.h>

#include <pagesim/alloc.h>
#include <pagesim/machine.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

static const char *const kind_name[PS_NR_MEMORY_KINDS] = {
	[PS_MEMORY_DRAM] = "dram",
	[PS_MEMORY_HBM] = "hbm",
	[PS_MEMORY_CXL] = "cxl",
	[PS_MEMORY_OPTANE] = "optane",
};

const char *ps_memory_kind_name(enum ps_memory_kind kind)
{
	return (unsigned)kind < PS_NR_MEMORY_KINDS ? kind_name[kind] : "?";
}

/* ---- costs ---- */

#define INFO(field, key, def, what) { key, what, offsetof(struct ps_costs, field), def },
static const struct ps_cost_info cost_info[] = { PS_COSTS(INFO) };
#undef INFO

const struct ps_cost_info *ps_cost_info(unsigned i)
{
	return i < ARRAY_SIZE(cost_info) ? &cost_info[i] : NULL;
}

void ps_costs_default(struct ps_costs *ret)
{
#define SET(field, key, def, what) ret->field = def;
	PS_COSTS(SET)
#undef SET
	ret->copy_rate = PS_COPY_RATE_DEFAULT;
	ret->zero_rate = PS_ZERO_RATE_DEFAULT;
}

/* ---- descriptions ---- */

void ps_machine_spec_init(struct ps_machine_spec *spec)
{
	memset(spec, 0, sizeof(*spec));
	ps_costs_default(&spec->costs);
}

static nodemask_t spec_cpu_nodes(const struct ps_machine_spec *spec)
{
	nodemask_t mask = NODE_MASK_NONE;

	for (unsigned c = 0; c < spec->nr_cpus; c++)
		node_set(spec->cpu_node[c], mask);
	return mask;
}

static bool distance_unset(const struct ps_machine_spec *spec)
{
	for (unsigned i = 0; i < spec->nr_nodes; i++)
		for (unsigned j = 0; j < spec->nr_nodes; j++)
			if (spec->distance[i][j])
				return false;
	return true;
}

static unsigned spec_distance(const struct ps_machine_spec *spec, bool unset, unsigned i, unsigned j)
{
	if (unset)
		return i == j ? LOCAL_DISTANCE : REMOTE_DISTANCE;
	return spec->distance[i][j];
}

void ps_machine_spec_fill(struct ps_machine_spec *spec)
{
	bool unset = distance_unset(spec);

	for (unsigned i = 0; i < spec->nr_nodes; i++)
		for (unsigned j = 0; j < spec->nr_nodes; j++) {
			unsigned d = ps_max(spec_distance(spec, unset, i, j), (unsigned)LOCAL_DISTANCE);

			if (!spec->read_latency[i][j])
				spec->read_latency[i][j] = PS_FILL_LATENCY_NS * d / LOCAL_DISTANCE;
			if (!spec->read_bandwidth[i][j])
				spec->read_bandwidth[i][j] = PS_FILL_BANDWIDTH * LOCAL_DISTANCE / d;
		}
}

__attribute__((format(printf, 3, 4))) static int impossible(char *why, size_t size, const char *format, ...)
{
	va_list args;

	if (why) {
		va_start(args, format);
		vsnprintf(why, size, format, args);
		va_end(args);
	}
	return -EINVAL;
}

static unsigned spec_pt_bits(const struct ps_machine_spec *spec)
{
	return spec->pt_bits ? spec->pt_bits : 9;
}

/* Sections node @i takes, its hole included. */
static u64 spec_sections(const struct ps_machine_spec *spec, unsigned i)
{
	unsigned shift = PAGE_SHIFT + 2 * spec_pt_bits(spec);

	return (spec->node[i].bytes >> shift) + !!(spec->node[i].bytes & ((1ull << shift) - 1));
}

static int check_nodes(const struct ps_machine_spec *spec, char *why, size_t size)
{
	u64 block = PAGE_SIZE << spec_pt_bits(spec), sections = 1, bytes = 0;
	nodemask_t cpu_nodes = spec_cpu_nodes(spec);

	for (unsigned i = 0; i < spec->nr_nodes; i++) {
		const struct ps_node_spec *node = &spec->node[i];

		if (!node->bytes && !node_isset((int)i, cpu_nodes))
			return impossible(why, size, "node %u has neither memory nor CPUs", i);
		if (node->bytes % block)
			return impossible(
				why, size,
				"node %u: its size, %llu bytes, is not a multiple of a huge page of %llu bytes", i,
				(unsigned long long)node->bytes, (unsigned long long)block);
		if ((unsigned)node->kind >= PS_NR_MEMORY_KINDS)
			return impossible(why, size, "node %u: memory kind %d does not exist", i, (int)node->kind);
		sections += spec_sections(spec, i);
		if (sections > PS_MAX_SECTIONS)
			return impossible(why, size, "more than %llu bytes of memory (%d sections of %llu bytes)",
					  (unsigned long long)PS_MAX_SECTIONS << (PAGE_SHIFT + 2 * spec_pt_bits(spec)),
					  PS_MAX_SECTIONS, 1ull << (PAGE_SHIFT + 2 * spec_pt_bits(spec)));
		bytes += node->bytes;
	}
	if (!bytes)
		return impossible(why, size, "no node has memory");
	return 0;
}

static int check_distance(const struct ps_machine_spec *spec, char *why, size_t size)
{
	if (distance_unset(spec))
		return 0;
	for (unsigned i = 0; i < spec->nr_nodes; i++)
		for (unsigned j = 0; j < spec->nr_nodes; j++) {
			unsigned d = spec->distance[i][j];

			if (i == j && d != LOCAL_DISTANCE)
				return impossible(why, size, "distance of node %u to itself is %u, not %d", i, d,
						  LOCAL_DISTANCE);
			if (d < LOCAL_DISTANCE)
				return impossible(why, size, "distance from node %u to node %u is %u, less than %d", i,
						  j, d, LOCAL_DISTANCE);
		}
	return 0;
}

static int check_memory(const struct ps_machine_spec *spec, char *why, size_t size)
{
	nodemask_t cpu_nodes = spec_cpu_nodes(spec);

	for (unsigned i = 0; i < spec->nr_nodes; i++)
		for (unsigned j = 0; j < spec->nr_nodes; j++) {
			if (!node_isset((int)i, cpu_nodes) || !spec->node[j].bytes)
				continue;
			if (!spec->read_latency[i][j])
				return impossible(why, size, "latency missing: CPUs of node %u to memory of node %u", i,
						  j);
			if (!spec->read_bandwidth[i][j])
				return impossible(why, size, "bandwidth missing: CPUs of node %u to memory of node %u",
						  i, j);
		}
	return 0;
}

int ps_machine_spec_check(const struct ps_machine_spec *spec, char *why, size_t size)
{
	const char *tlb = ps_tlb_geometry_check(&spec->tlb);
	int error;

	if (!spec->nr_nodes)
		return impossible(why, size, "a machine has at least one node");
	if (spec->nr_nodes > MAX_NUMNODES)
		return impossible(why, size, "%u nodes, at most %d can be", spec->nr_nodes, MAX_NUMNODES);
	if (!spec->nr_cpus)
		return impossible(why, size, "a machine has at least one CPU");
	if (spec->nr_cpus > PS_MAX_CPUS)
		return impossible(why, size, "%u CPUs, at most %d can be", spec->nr_cpus, PS_MAX_CPUS);
	for (unsigned c = 0; c < spec->nr_cpus; c++)
		if (spec->cpu_node[c] < 0 || (unsigned)spec->cpu_node[c] >= spec->nr_nodes)
			return impossible(why, size, "CPU %u is on node %d, which does not exist", c,
					  spec->cpu_node[c]);
	if (spec_pt_bits(spec) < 2 || spec_pt_bits(spec) > 9)
		return impossible(why, size, "page table levels of %u bits, 2 .. 9 can be", spec->pt_bits);
	error = check_nodes(spec, why, size);
	if (!error)
		error = check_distance(spec, why, size);
	if (!error)
		error = check_memory(spec, why, size);
	if (error)
		return error;
	if (spec->movable_percent > 100)
		return impossible(why, size, "%u percent of memory movable, at most 100 can be", spec->movable_percent);
	if (spec->watermark_scale_factor > 1000)
		return impossible(why, size, "watermark scale factor %u, 1 .. 1000 can be",
				  spec->watermark_scale_factor);
	if (!spec->costs.copy_rate || !spec->costs.zero_rate)
		return impossible(why, size, "copy rate or zero rate of a core is 0");
	if (tlb)
		return impossible(why, size, "%s", tlb);
	return 0;
}

/* What is left to default becomes explicit, so that the machine's own copy has no zero that means something else. */
static void spec_complete(struct ps_machine_spec *spec)
{
	bool unset = distance_unset(spec);

	spec->pt_bits = spec_pt_bits(spec);
	if (!spec->watermark_scale_factor)
		spec->watermark_scale_factor = 10;
	for (unsigned i = 0; i < spec->nr_nodes; i++) {
		struct ps_node_spec *node = &spec->node[i];

		if (!node->abstract_distance)
			node->abstract_distance = node->kind == PS_MEMORY_DRAM || node->kind == PS_MEMORY_HBM
							  ? MEMTIER_ADISTANCE_DRAM
							  : MEMTIER_DEFAULT_DAX_ADISTANCE;
		for (unsigned j = 0; j < spec->nr_nodes; j++) {
			spec->distance[i][j] = (u8)spec_distance(spec, unset, i, j);
			if (!spec->write_latency[i][j])
				spec->write_latency[i][j] = spec->read_latency[i][j];
			if (!spec->write_bandwidth[i][j])
				spec->write_bandwidth[i][j] = spec->read_bandwidth[i][j];
		}
	}
}

/* ---- tiers ---- */

static void build_tiers(struct ps_machine *m)
{
	nodemask_t lower = m->memory_nodes;
	bool top = true;
	nid_t nid;

	/* Insertion sort of the chunks; a node's tier is a position, so it is set when all are known. */
	for_each_node_mask(nid, m->memory_nodes)
	{
		u32 chunk = m->nodes[nid].abstract_distance & ~(u32)(MEMTIER_CHUNK_SIZE - 1);
		unsigned at = 0;

		while (at < m->nr_tiers && m->tiers[at].abstract_distance < chunk)
			at++;
		if (at == m->nr_tiers || m->tiers[at].abstract_distance != chunk) {
			memmove(&m->tiers[at + 1], &m->tiers[at], (m->nr_tiers - at) * sizeof(m->tiers[0]));
			memset(&m->tiers[at], 0, sizeof(m->tiers[0]));
			m->tiers[at].abstract_distance = chunk;
			m->nr_tiers++;
		}
		node_set(nid, m->tiers[at].nodes);
	}
	for (unsigned t = 0; t < m->nr_tiers; t++) {
		nodes_andnot(lower, lower, m->tiers[t].nodes);
		m->tiers[t].lower = lower;
		for_each_node_mask(nid, m->tiers[t].nodes) m->nodes[nid].tier = (int)t;
	}
	/* Top: everything no slower than the slowest tier with a CPU; without any such, nothing. */
	for (unsigned t = m->nr_tiers; t--;) {
		if (top && !nodes_intersects(m->tiers[t].nodes, m->cpu_nodes))
			continue;
		top = false;
		m->tiers[t].top = true;
	}
}

/* Linux's find_next_best_node without the load of nodes, which only orders equals. */
static nid_t next_best_node(const struct ps_machine *m, nid_t nid, nodemask_t candidates)
{
	int best_value = INT32_MAX;
	nid_t best = NUMA_NO_NODE, n;

	for_each_node_mask(n, candidates)
	{
		int value = m->spec->distance[nid][n] + (n < nid) + (m->nodes[n].nr_cpus > 0);

		if (value < best_value) {
			best_value = value;
			best = n;
		}
	}
	return best;
}

static void build_demotion(struct ps_machine *m)
{
	nid_t nid;

	for_each_node_mask(nid, m->memory_nodes)
	{
		struct ps_node *node = &m->nodes[nid];
		int best_distance = -1;
		nodemask_t candidates;

		if ((unsigned)node->tier + 1 >= m->nr_tiers)
			continue;
		candidates = m->tiers[node->tier + 1].nodes;
		while (!nodes_empty(candidates)) {
			nid_t n = next_best_node(m, nid, candidates);
			int distance = m->spec->distance[nid][n];

			if (best_distance >= 0 && distance != best_distance)
				break;
			best_distance = distance;
			node_set(n, node->demotion_preferred);
			node_clear(n, candidates);
		}
	}
}

bool node_is_toptier(nid_t nid)
{
	const struct ps_machine *m = this_machine();
	int tier = m->nodes[nid].tier;

	return tier < 0 || m->tiers[tier].top;
}

nid_t next_demotion_node(nid_t nid)
{
	struct ps_machine *m = this_machine();
	nodemask_t preferred = m->nodes[nid].demotion_preferred;
	nid_t n;
	u64 skip;

	if (nodes_empty(preferred))
		return NUMA_NO_NODE;
	if (nodes_weight(preferred) == 1)
		return first_node(preferred);
	skip = ps_rng_below(&m->demotion_rng, (u64)nodes_weight(preferred));
	for (n = first_node(preferred); skip; skip--)
		n = next_node(n, preferred);
	return n;
}

nodemask_t node_allowed_demotion_targets(nid_t nid)
{
	const struct ps_machine *m = this_machine();
	int tier = m->nodes[nid].tier;

	return tier < 0 ? NODE_MASK_NONE : m->tiers[tier].lower;
}

/* ---- the machine ---- */

static void build_nodes(struct ps_machine *m)
{
	const struct ps_machine_spec *spec = m->spec;
	u64 huge = 1ull << m->pt_bits, section = 1;

	m->first_nid = NUMA_NO_NODE;
	for (unsigned c = 0; c < m->nr_cpus; c++) {
		m->cpus[c].node = spec->cpu_node[c];
		m->nodes[spec->cpu_node[c]].nr_cpus++;
		node_set(spec->cpu_node[c], m->cpu_nodes);
	}
	for (unsigned i = 0; i < m->nr_nodes; i++) {
		struct ps_node *node = &m->nodes[i];
		u64 sections = spec_sections(spec, i);

		node->nid = (nid_t)i;
		node->kind = spec->node[i].kind;
		node->abstract_distance = spec->node[i].abstract_distance;
		node->tier = -1;
		node->start_pfn = section << m->section_shift;
		node->present_pages = spec->node[i].bytes >> PAGE_SHIFT;
		node->movable_pages = node->present_pages / huge * spec->movable_percent / 100 * huge;
		m->total_pages += node->present_pages;
		if (node->present_pages) {
			node_set((int)i, m->memory_nodes);
			if (m->first_nid == NUMA_NO_NODE)
				m->first_nid = (nid_t)i;
		}
		for (u64 s = 0; s < sections; s++)
			m->section_nid[section + s] = (u8)i;
		section += sections;
	}
	m->section_nid[0] = (u8)m->first_nid;
}

/* What a CPU of each node sees of each memory; a node without CPUs sees what its nearest node with some sees. */
static void build_views(struct ps_machine *m)
{
	const struct ps_machine_spec *spec = m->spec;

	for (unsigned i = 0; i < m->nr_nodes; i++) {
		nid_t nid = (nid_t)i, n;

		if (!m->nodes[i].nr_cpus) {
			nid = NUMA_NO_NODE;
			for_each_node_mask(n, m->cpu_nodes) if (nid == NUMA_NO_NODE ||
								spec->distance[i][n] < spec->distance[i][nid]) nid = n;
		}
		m->nodes[i].cpu_nid = nid;
		memcpy(m->read_ns[i], spec->read_latency[nid], sizeof(m->read_ns[i]));
		memcpy(m->write_ns[i], spec->write_latency[nid], sizeof(m->write_ns[i]));
	}
}

int ps_machine_new(const struct ps_machine_spec *spec, struct ps_machine **ret_machine)
{
	struct ps_machine *m;
	u64 sections = 1;
	int error = ps_machine_spec_check(spec, NULL, 0);

	if (error)
		return error;
	m = (struct ps_machine *)ps_zalloc(sizeof(*m));
	if (!m)
		return -ENOMEM;
	error = -ENOMEM;
	m->spec = (struct ps_machine_spec *)ps_alloc(sizeof(*spec));
	if (!m->spec)
		goto out;
	memcpy(m->spec, spec, sizeof(*spec));
	spec_complete(m->spec);
	m->pt_bits = m->spec->pt_bits;
	m->costs = spec->costs;
	m->nr_nodes = spec->nr_nodes;
	m->nr_cpus = spec->nr_cpus;
	for (unsigned i = 0; i < m->nr_nodes; i++)
		sections += spec_sections(m->spec, i);
	m->section_shift = 2 * m->pt_bits;
	m->max_pfn = sections << m->section_shift;
	ps_rng_init(&m->demotion_rng, spec->seed);

	m->section_nid = (u8 *)ps_zalloc(sections);
	m->cpus = (struct ps_cpu *)ps_calloc(m->nr_cpus, sizeof(*m->cpus));
	if (!m->section_nid || !m->cpus)
		goto out;
	for (unsigned c = 0; c < m->nr_cpus; c++) {
		spin_lock_init(&m->cpus[c].mmu_lock, MMU_LOCK);
		if (ps_tlb_init(&m->cpus[c].tlb, &spec->tlb, m->pt_bits))
			goto out;
	}
	m->mem_map_bytes = m->max_pfn * PS_PAGE_STRUCT_BYTES;
	m->mem_map = (struct page *)ps_reserve(m->mem_map_bytes);
	if (!m->mem_map)
		goto out;
	build_nodes(m);
	build_views(m);
	build_tiers(m);
	build_demotion(m);
	*ret_machine = m;
	return 0;
out:
	ps_machine_free(m);
	return error;
}

void ps_machine_free(struct ps_machine *machine)
{
	if (!machine)
		return;
	if (machine->mem_map)
		ps_unreserve(machine->mem_map, machine->mem_map_bytes);
	if (machine->cpus)
		for (unsigned c = 0; c < machine->nr_cpus; c++)
			ps_tlb_destroy(&machine->cpus[c].tlb);
	ps_free(machine->cpus);
	ps_free(machine->section_nid);
	ps_free(machine->spec);
	ps_free(machine);
}

/* ---- rates ---- */

u64 ps_copy_rate(const struct ps_machine *machine, nid_t cpu_node, nid_t from, nid_t to)
{
	nid_t cpu = machine->nodes[cpu_node].cpu_nid;
	u64 read = machine->spec->read_bandwidth[cpu][from], write = machine->spec->write_bandwidth[cpu][to];
	u64 rate = machine->costs.copy_rate;

	if (from == to) {
		/* Every byte crosses the same memory twice; the two directions take turns. */
		__extension__ unsigned __int128 product = (unsigned __int128)read * write;

		read = write = ps_max((u64)(product / (read + write)), (u64)1);
	}
	rate = ps_min(rate, read);
	return ps_min(rate, write);
}

ps_ns_t ps_copy_ns(const struct ps_machine *machine, nid_t cpu_node, nid_t from, nid_t to, u64 bytes)
{
	return ps_rate_ns(bytes, ps_copy_rate(machine, cpu_node, from, to));
}

ps_ns_t ps_zero_ns(const struct ps_machine *machine, nid_t cpu_node, nid_t nid, u64 bytes)
{
	nid_t cpu = machine->nodes[cpu_node].cpu_nid;

	return ps_rate_ns(bytes, ps_min(machine->costs.zero_rate, machine->spec->write_bandwidth[cpu][nid]));
}

ps_ns_t ps_migration_estimate(const struct ps_machine *machine, nid_t cpu_node, nid_t from, nid_t to, u64 pages,
			      bool huge, ps_ns_t *ret_copy)
{
	const struct ps_costs *c = &machine->costs;
	u64 bytes = PAGE_SIZE << (huge ? machine->pt_bits : 0);
	ps_ns_t copy = pages * ps_copy_ns(machine, cpu_node, from, to, bytes);
	ps_ns_t page = c->tlb_flush_page_ns + 2 * c->lru_ns + c->free_page_ns;

	if (huge) {
		page += c->alloc_huge_ns + c->unmap_pmd_ns + c->remap_pmd_ns + c->migrate_huge_ns;
	} else {
		page += c->alloc_page_ns + c->unmap_pte_ns + c->remap_pte_ns + c->migrate_page_ns;
		copy += pages * c->copy_page_ns + (pages ? c->copy_first_ns : 0);
	}
	if (ret_copy)
		*ret_copy = copy;
	return c->migrate_call_ns + pages * page + copy;
}

/* ---- shootdown ---- */

/* What is flushed: everything, everything of an address space (npages = 0), or some pages of it. */
struct flush {
	bool all;
	u32 asid;
	u64 vpn, npages;
};

static void flush_cpu(struct ps_machine *m, unsigned cpu, const struct flush *f)
{
	ps_point(PS_POINT_OTHER, &m->cpus[cpu].tlb);
	spin_lock(&m->cpus[cpu].mmu_lock);
	if (f->all)
		ps_tlb_flush_all(&m->cpus[cpu].tlb);
	else if (f->npages)
		ps_tlb_flush_range(&m->cpus[cpu].tlb, f->asid, f->vpn, f->npages);
	else
		ps_tlb_flush_asid(&m->cpus[cpu].tlb, f->asid);
	spin_unlock(&m->cpus[cpu].mmu_lock);
}

static unsigned shoot_down(const struct ps_cpumask *cpus, const struct flush *f)
{
	struct ps_machine *m = this_machine();
	const struct ps_costs *costs = &m->costs;
	unsigned own = (unsigned)ps_current->cpu, remote = 0;
	unsigned long cpu;

	if (ps_cpumask_test(cpus, (int)own)) {
		flush_cpu(m, own, f);
		if (f->npages) {
			count_vm_events(NR_TLB_LOCAL_FLUSH_ONE, (long)f->npages);
			ps_charge_work(f->npages * costs->tlb_flush_page_ns);
		} else {
			count_vm_event(NR_TLB_LOCAL_FLUSH_ALL);
			ps_charge_work(costs->tlb_flush_all_ns);
		}
	}
	for_each_set_bit(cpu, cpus->bits, m->nr_cpus) {
		if (cpu == own)
			continue;
		remote++;
		flush_cpu(m, (unsigned)cpu, f);
		ps_stat_add(&m->cpus[cpu].ipis, 1);
		ps_stat_add(&m->cpus[cpu].ipi_ns, costs->tlb_ipi_received_ns);
	}
	if (remote) {
		count_vm_event(NR_TLB_REMOTE_FLUSH);
		count_vm_events(NR_TLB_REMOTE_FLUSH_RECEIVED, (long)remote);
		ps_charge_work(costs->tlb_shootdown_ns + (u64)(remote - 1) * costs->tlb_shootdown_cpu_ns);
	}
	return remote;
}

unsigned ps_tlb_shootdown(const struct ps_cpumask *cpus, u32 asid, u64 vpn, u64 npages)
{
	const struct flush f = { .asid = asid, .vpn = vpn, .npages = npages > PS_TLB_FLUSH_CEILING ? 0 : npages };

	return shoot_down(cpus, &f);
}

unsigned ps_tlb_shootdown_all(const struct ps_cpumask *cpus)
{
	const struct flush f = { .all = true };

	return shoot_down(cpus, &f);
}

ps_ns_t ps_cpu_take_ipi_ns(struct ps_machine *machine, int cpu)
{
	ps_ns_t *owed = &machine->cpus[cpu].ipi_ns;
#ifdef PS_NATIVE
	return __atomic_exchange_n(owed, 0, __ATOMIC_RELAXED);
#else
	ps_ns_t ns = *owed;

	*owed = 0;
	return ns;
#endif
}

void ps_take_ipis(void)
{
	ps_ns_t ns = ps_cpu_take_ipi_ns(this_machine(), ps_current->cpu);

	if (ns)
		ps_charge(ns, PS_TIME_INTERRUPT);
}
