/* SPDX-License-Identifier: MIT */
/*
 * Records: the hot path. A record whose translation is in the simulated TLB is done in the loop of replay_accesses() alone:
 * one probe, one latency from a table, one compare with the deadline. A miss whose entry is there and allows the access
 * walks in the loop too, as ps_mmu_walk() would; everything else goes to ps_mmu_walk(), which may fault.
 *
 * What the loop keeps in registers is written back (sync) before anything that looks at the task, and read again after.
 *
 * The memory a walk reads is what the loop waits for, so the table of each page is remembered when it is walked and its
 * entry prefetched some records ahead. A remembered table may be gone by then: nothing but a prefetch ever uses it.
 *
 * Fidelity: exact against ps_mmu_access() (the tests compare the two record by record).
 */
#include "replay/run.h"

#include <pagesim/fault.h>
#include <pagesim/mm.h>
#include <pagesim/mmap.h>
#include <pagesim/tlbflush.h>

/* Records between a prefetch and its use. */
#define AHEAD 16

#define NEED_READ  PS_TLB_VALID
#define NEED_WRITE (PS_TLB_VALID | PS_TLB_WRITE | PS_TLB_DIRTY)

static const u64 **hint_of(struct ps_replay *r, u64 vpn, unsigned bits)
{
	return (const u64 **)&r->hint[(vpn >> bits) & (WALK_HINTS - 1)];
}

/*
 * The walk of a page whose entry allows the access: sets accessed and dirty, fills the TLB, which @had says whether it
 * has an entry (without the permission) already.
 * *@ret_clean: the entry was not dirty. Return: the TLB's word, or 0 when the kernel must look at it.
 */
static inline u64 walk(struct ps_replay *r, struct ps_tlb *tlb, const struct page_tables *pt, u64 vpn, bool write,
		       bool had, bool *ret_clean)
{
	u64 addr = vpn << PAGE_SHIFT, entry, set, flags = 0, *entryp;
	pmd_t *pmd = __pmd_find(pt, addr);
	pmd_t top;
	pfn_t pfn;

	if (unlikely(!pmd))
		return 0;
	top = *pmd;
	entryp = &pmd->val;
	if (likely(pmd_table(top))) {
		*hint_of(r, vpn, pt->bits) = &pmd_pte_table(top)->val;
		entryp = &pte_offset_map(pt, top, addr)->val;
	} else {
		flags = PS_TLB_HUGE;
	}
	entry = *entryp;
	set = _PAGE_PRESENT | (write ? _PAGE_RW : 0);
	if (unlikely((entry & (set | _PAGE_TABLE)) != set))
		return 0;
	*ret_clean = !(entry & _PAGE_DIRTY);
	set = entry | _PAGE_ACCESSED | (write ? _PAGE_DIRTY | _PAGE_SOFT_DIRTY : 0);
	if (set != entry)
		*entryp = set;
	flags |= (set & _PAGE_RW ? PS_TLB_WRITE : 0) | (set & _PAGE_DIRTY ? PS_TLB_DIRTY : 0);
	pfn = (entry & _PAGE_PFN_MASK) >> PAGE_SHIFT;
	flags = ps_tlb_word(pfn, ps_pfn_to_nid(r->machine, pfn), flags);
	if (unlikely(had))
		ps_tlb_insert(tlb, pt->asid, vpn, pfn, ps_tlb_nid(flags), flags);
	else
		ps_tlb_fill(tlb, pt->asid, vpn, pfn, ps_tlb_nid(flags), flags);
	return flags;
}

/* Latencies of the node the task runs on. */
static void load_costs(struct ps_replay *r, nid_t cpu_nid)
{
	if (r->cost_nid == cpu_nid)
		return;
	for (unsigned nid = 0; nid < r->machine->nr_nodes; nid++) {
		r->cost[nid][0] = ps_access_ns(r->machine, cpu_nid, (nid_t)nid, false);
		r->cost[nid][1] = ps_access_ns(r->machine, cpu_nid, (nid_t)nid, true);
	}
	r->cost_nid = cpu_nid;
}

int replay_auto_map(struct ps_replay *r, u64 addr)
{
	int error = do_mmap(current->mm, addr & PAGE_MASK, PAGE_SIZE, MM_PROT_READ | MM_PROT_WRITE,
			    MM_MAP_FIXED_NOREPLACE, NULL, 0);

	if (!error)
		r->auto_mapped++;
	return error;
}

/*
 * One access that the TLB cannot answer. Return: 0 with *nid; -EAGAIN when the program would have got a signal; -ENOMEM and
 * others end the replay.
 */
static int slow_access(struct ps_replay *r, u64 addr, bool write, nid_t *nid)
{
	struct ps_access access = { .nid = 0 };
	int error = ps_mmu_walk(addr, write, &access);

	if (error == -EFAULT && addr < task_size(&current->mm->pt) && !vma_lookup(current->mm, addr)) {
		error = replay_auto_map(r, addr);
		if (!error)
			error = ps_mmu_walk(addr, write, &access);
	}
	*nid = access.nid;
	if (error != -EFAULT && error != -ENXIO)
		return error;
	if (addr >= task_size(&current->mm->pt))
		return -ERANGE;
	return -EAGAIN;
}

/*
 * A record with the kernel's help. What reads first and then writes takes the faults of both, unless the TLB allows the
 * read (@readable).
 */
static int slow_record(struct ps_replay *r, u64 vpn, u32 meta, bool readable, nid_t *nid)
{
	bool first = ps_meta_first_is_write(meta) || (readable && ps_meta_has_writes(meta));
	struct ps_tlb *tlb = &r->machine->cpus[current->cpu].tlb;
	int error = slow_access(r, vpn << PAGE_SHIFT, first, nid);

	if (error || !ps_meta_has_writes(meta) || first)
		return error;
	if ((ps_tlb_probe(tlb, current->mm->pt.asid, vpn) & NEED_WRITE) == NEED_WRITE)
		return 0;
	return slow_access(r, vpn << PAGE_SHIFT, true, nid);
}

static bool slow_failed(struct ps_replay *r, int error, u64 vpn)
{
	char what[64];

	g_snprintf(what, sizeof(what), "access to page 0x%" G_GINT64_MODIFIER "x", vpn);
	if (error == -ERANGE)
		return replay_fail(r, PS_REPLAY_ERROR_TRACE,
				   "%s: an address space of this machine ends at page 0x%" G_GINT64_MODIFIER "x", what,
				   task_size(&current->mm->pt) >> PAGE_SHIFT);
	return replay_fail_errno(r, error, what);
}

/* What the loop has spent since the last sync; @compute of it on instructions. */
static inline void sync(struct task_struct *task, ps_ns_t now, u64 compute)
{
	task->time[PS_TIME_COMPUTE] += compute;
	task->time[PS_TIME_ACCESS] += now - task->now - compute;
	task->now = now;
}

static void count_kinds(struct ps_replay *r, const u32 *meta, u32 n)
{
	u64 first = 0, second = 0, fetches = 0;

	for (u32 i = 0; i < n; i++) {
		u32 fetch = 0 - (meta[i] >> 31);

		first += ps_meta_reads(meta[i]);
		second += ps_meta_writes(meta[i]);
		fetches += ps_meta_reads(meta[i]) & fetch;
	}
	r->records += n;
	r->reads += first - fetches;
	r->writes += second;
	r->fetches += fetches;
}

bool replay_accesses(struct ps_replay *r, const struct ps_trace_batch *batch)
{
	struct task_struct *task = current;
	struct ps_machine *machine = r->machine;
	struct ps_tlb *tlb = &machine->cpus[task->cpu].tlb;
	struct page_tables *pt = &task->mm->pt;
	const nid_t cpu_nid = machine->cpus[task->cpu].node;
	const u64 *vpns = batch->vpn;
	const u32 *metas = batch->meta;
	const u32 n = batch->n, asid = pt->asid, cache_ns = machine->costs.cache_ns;
	const u32 walk_ns = 4 * machine->costs.walk_step_ns;
	const u32 l2_ns[2] = { machine->costs.tlb_l2_hit_ns, 0 };
	const unsigned bits = pt->bits;
	const u64 compute = r->clock == PS_CLOCK_INSTRUCTIONS ? batch->span * r->instruction_ps / 1000 : 0;
	const u64 step = compute / n;
	u64(*count)[2] = r->count[cpu_nid];
	ps_ns_t now, deadline;
	u64 computed = compute % n;
	u32 i, done = 0, counted = 0;
	int error = 0;
	bool ok = true;

	load_costs(r, cpu_nid);
	tlb_enter_mm(pt);
	replay_set_deadline(r);
	deadline = r->deadline;
	now = task->now + computed;
	for (i = 0; i < n; i++) {
		const u64 vpn = vpns[i];
		const u32 meta = metas[i];
		const u64 need = ps_meta_has_writes(meta) ? NEED_WRITE : NEED_READ;
		const unsigned first = ps_meta_first_is_write(meta);
		u64 word = ps_tlb_lookup(tlb, asid, vpn);
		nid_t nid;

		if (likely(i + AHEAD < n))
			__builtin_prefetch(*hint_of(r, vpns[i + AHEAD], bits) + (vpns[i + AHEAD] & ((1u << bits) - 1)),
					   1);
		if ((word & need) == need) {
			now += l2_ns[(word >> PS_TLB_L1_SHIFT) & 1];
		} else {
			bool writes = ps_meta_has_writes(meta), clean;
			u64 found = walk(r, tlb, pt, vpn, writes, word != 0, &clean);

			if (likely(found)) {
				now += walk_ns;
				/* The read's walk has left a clean translation, and the write walks again. */
				if (writes && !first && clean && !word)
					now += walk_ns;
				word = found;
			} else {
				sync(task, now, computed + (i - done) * step);
				computed = 0;
				done = i;
				error = slow_record(r, vpn, meta, word != 0, &nid);
				ps_take_ipis();
				replay_set_deadline(r);
				deadline = r->deadline;
				now = task->now;
				if (unlikely(error)) {
					if (error != -EAGAIN)
						break;
					error = 0;
					r->refused += ps_meta_count(meta);
					now += step;
					continue;
				}
				word = ps_tlb_word(0, nid, 0);
			}
		}
		nid = ps_tlb_nid(word);
		count[nid][first]++;
		now += r->cost[nid][first] + (ps_meta_count(meta) - 1) * (u64)cache_ns + step;
		if (unlikely(now >= deadline)) {
			sync(task, now, computed + (i + 1 - done) * step);
			computed = 0;
			done = i + 1;
			count_kinds(r, metas + counted, i + 1 - counted);
			counted = i + 1;
			ok = replay_due(r);
			if (unlikely(!ok)) {
				i++;
				break;
			}
			deadline = r->deadline;
			now = task->now;
		}
	}
	sync(task, now, computed + (i - done) * step);
	count_kinds(r, metas + counted, i - counted);
	return error ? slow_failed(r, error, vpns[i]) : ok;
}
