/* SPDX-License-Identifier: MIT */
/*
 * Linux's NUMA balancing. Now and then a task takes the access right from a window of its memory; the next access to each
 * page there faults and so tells which CPU uses it (a hint fault). From these faults it is decided which pages move to the
 * node of that CPU.
 *
 *   tick ── scan_period of run time over ──> task_numa_work: next scan_size MiB become hint entries
 *                                                                │ access
 *                                                                ▼
 *      mode 1 (normal)                  hint fault ──> misplaced? ── no ──> stays
 *        two faults in a row from the                     │ yes
 *        same node (the first ever may go at once)        ▼
 *      mode 2 (memory tiering), page of a slow tier    room on the target? ── no ──> mode 2: wake its kswapd; stays
 *        faults soon after its hint was set               │ yes
 *        (hot threshold, which adapts itself)             ▼
 *        and within the rate limit                     migrate_misplaced_page
 *
 * How long until the next scan follows from what the faults said (update_task_scan_period): mostly local or shared: slower;
 * mostly remote and private: faster; migrations that failed, or no faults at all: much slower.
 *
 * Names in this file:
 *   nb      the policy's state of one machine
 *   nt      its state of one task; Linux keeps it in struct task_struct
 *   group   tasks that share pages (numa_group): they place pages by what all of them do
 *
 * Times are in virtual ns on the clock of the task at hand; periods and the page's access time in ms, as in Linux.
 *
 * Fidelity: exact against kernel/sched/fair.c and mm/migrate.c of 6.1 in what it decides about pages, save:
 *   - tasks are not moved to their memory: where a task runs is the trace's business;
 *   - a group joins threads of one process, or of two that share the page by a shared mapping, when the other one is found
 *     by its number (Linux: when it happens to run on the CPU in question);
 *   - nodes count as directly connected (no topology levels);
 *   - a period is checked when the tick comes, not every 4 ms.
 */
#include <errno.h>

#include <pagesim/alloc.h>
#include <pagesim/bug.h>
#include <pagesim/compound.h>
#include <pagesim/fault.h>
#include <pagesim/inode.h>
#include <pagesim/machine.h>
#include <pagesim/mempolicy.h>
#include <pagesim/migrate.h>
#include <pagesim/mm.h>
#include <pagesim/mprotect.h>
#include <pagesim/page_flags.h>
#include <pagesim/page_mapcount.h>
#include <pagesim/page_ref.h>
#include <pagesim/reclaim.h>
#include <pagesim/runtime.h>
#include <pagesim/vmstat.h>

#include "policy/policies.h"

#define NSEC_PER_MSEC   1000000ull
#define TICK_NS         4000000ull /* HZ=250 */
#define MIB_TO_PAGES(n) ((n) << (20 - PAGE_SHIFT))

/* ---- parameters: Linux's names under /sys/kernel/debug/sched/numa_balancing and in vm., kernel. */

enum { MODE, SCAN_DELAY, SCAN_PERIOD_MIN, SCAN_PERIOD_MAX, SCAN_SIZE, HOT_THRESHOLD, PROMOTE_RATE_LIMIT, DEMOTION };

static const struct ps_policy_param params[] = {
	[MODE] = { "mode", "1 normal: to the accessing CPU's node; 2 memory tiering: hot pages up; 3 both", 1, 1, 3 },
	[SCAN_DELAY] = { "scan_delay", "ms of run time before a task is scanned first", 1000, 0, 3600000 },
	[SCAN_PERIOD_MIN] = { "scan_period_min", "ms between scans, at least (and no more than 2560 MiB/s)", 1000, 1,
			      3600000 },
	[SCAN_PERIOD_MAX] = { "scan_period_max", "ms between scans, at most", 60000, 1, 3600000 },
	[SCAN_SIZE] = { "scan_size", "MiB that one scan covers", 256, 1, 1 << 20 },
	[HOT_THRESHOLD] = { "hot_threshold", "ms from hint to access up to which a slow-tier page is hot", 1000, 1,
			    1000000 },
	[PROMOTE_RATE_LIMIT] = { "promote_rate_limit", "MB/s of candidates for promotion, per node", 65536, 1,
				 1 << 30 },
	[DEMOTION] = { "demotion",
		       "1: cold pages go to a slower node when memory is short (default: 1 in modes 2 and 3)", 0, 0,
		       1 },
	{ NULL, NULL, 0, 0, 0 },
};

static const char *numa_check(const u64 *value)
{
	return value[SCAN_PERIOD_MIN] > value[SCAN_PERIOD_MAX] ? "scan_period_min is above scan_period_max" : NULL;
}

/* ---- state */

/* What faults are counted by: where the page is, where the CPU is; and each as of late, before it is folded in. */
enum fault_kind { FAULTS_MEM, FAULTS_CPU, FAULTS_MEMBUF, FAULTS_CPUBUF, NR_FAULT_KINDS };
/* Shared or private faults. */
#define NR_TYPES 2

struct numa_group {
	unsigned int id;
	unsigned int refs; /* its tasks */
	unsigned int active_nodes;
	unsigned long total_faults;
	unsigned long max_faults_cpu;
	unsigned long faults[]; /* FAULTS_MEM and FAULTS_CPU of all tasks, as fault_index() */
};

struct numa_task {
	u32 id;              /* the task's: its pid */
	u32 asid;            /* its address space, as of its last fault */
	ps_ns_t node_stamp;  /* run time up to which scan periods are accounted for */
	u32 scan_period;     /* ms */
	u32 scan_period_max; /* ms */
	u32 scan_seq;        /* of the address space, when the faults were last looked at */
	nid_t preferred_nid;
	ps_ns_t migrate_retry; /* do not look at the faults before */
	ps_ns_t last_placement;
	ps_ns_t last_exec;
	struct numa_group *group;
	unsigned long total_faults;
	unsigned long locality[3]; /* faults since the period was last set: remote, local, migration failed */
	unsigned long *faults;     /* by fault_index(); NULL until the first fault */
	/* The hint fault being handled: what it found, before anything was decided. */
	int last_cpupid;
	bool local;
	bool may_group;
	bool shared_mapping;
};

/* Promotion to a node. Times in ms. */
struct promotion {
	u32 threshold; /* ms; 0: as the parameter says */
	u32 threshold_start;
	unsigned long threshold_candidates;
	u32 rate_start;
	unsigned long rate_candidates;
};

struct numa_balancing {
	struct ps_policy *policy;
	const u64 *value;
	unsigned int mode;
	unsigned int nr_nodes;
	struct numa_task **tasks; /* by task id */
	u32 nr_tasks;
	unsigned int nr_groups; /* ever made */
	struct promotion node[MAX_NUMNODES];
	u64 scans, hot, cold, rate_limited, target_full;
};

static struct numa_balancing *this_nb(void)
{
	return (struct numa_balancing *)this_machine()->policy->private_data;
}

static u32 now_ms(void)
{
	return (u32)(ps_now() / NSEC_PER_MSEC);
}

/* Time the task had a CPU. */
static ps_ns_t exec_runtime(const struct task_struct *task)
{
	return task->now - task->started - task->time[PS_TIME_WAIT] - task->time[PS_TIME_IDLE];
}

static unsigned int fault_index(const struct numa_balancing *nb, enum fault_kind kind, nid_t nid, int priv)
{
	return NR_TYPES * ((unsigned int)kind * nb->nr_nodes + (unsigned int)nid) + (unsigned int)priv;
}

/* The current task's state, made if need be. Return: NULL without memory. Does not sleep. */
static struct numa_task *current_nt(struct numa_balancing *nb)
{
	u32 id = current->id;
	struct numa_task *nt;

	if (id >= nb->nr_tasks) {
		u32 n = ps_max(nb->nr_tasks * 2, id + 16), i;
		struct numa_task **tasks = ps_realloc(nb->tasks, n * sizeof(*tasks));

		if (!tasks)
			return NULL;
		for (i = nb->nr_tasks; i < n; i++)
			tasks[i] = NULL;
		nb->tasks = tasks;
		nb->nr_tasks = n;
	}
	nt = nb->tasks[id];
	if (nt)
		return nt;
	nt = ps_zalloc(sizeof(*nt));
	if (!nt)
		return NULL;
	nt->id = id;
	nt->scan_period = (u32)nb->value[SCAN_DELAY];
	nt->scan_seq = current->mm ? current->mm->numa_scan_seq : 0;
	nt->preferred_nid = NUMA_NO_NODE;
	nb->tasks[id] = nt;
	return nt;
}

static void group_leave(struct numa_balancing *nb, struct numa_task *nt)
{
	struct numa_group *group = nt->group;
	unsigned int i;

	if (!group)
		return;
	nt->group = NULL;
	if (nt->faults) {
		for (i = 0; i < NR_TYPES * 2 * nb->nr_nodes; i++)
			group->faults[i] -= ps_min(group->faults[i], nt->faults[i]);
		group->total_faults -= ps_min(group->total_faults, nt->total_faults);
	}
	if (!--group->refs)
		ps_free(group);
}

static void nt_free(struct numa_balancing *nb, struct numa_task *nt)
{
	if (!nt)
		return;
	group_leave(nb, nt);
	ps_free(nt->faults);
	ps_free(nt);
}

/* ---- groups */

static unsigned long group_faults_of(const struct numa_balancing *nb, const struct numa_group *group,
				     enum fault_kind kind, nid_t nid)
{
	return group->faults[fault_index(nb, kind, nid, 0)] + group->faults[fault_index(nb, kind, nid, 1)];
}

static unsigned long group_faults_of_type(const struct numa_balancing *nb, const struct numa_group *group, int priv)
{
	unsigned long sum = 0;
	unsigned int nid;

	for (nid = 0; nid < nb->nr_nodes; nid++)
		sum += group->faults[fault_index(nb, FAULTS_MEM, (nid_t)nid, priv)];
	return sum;
}

/* A node counts if it has a third of the busiest one's faults. */
#define ACTIVE_NODE_FRACTION 3

static bool node_is_active(const struct numa_balancing *nb, const struct numa_group *group, nid_t nid)
{
	return group_faults_of(nb, group, FAULTS_CPU, nid) * ACTIVE_NODE_FRACTION > group->max_faults_cpu;
}

static void count_active_nodes(const struct numa_balancing *nb, struct numa_group *group)
{
	unsigned long max = 0;
	unsigned int active = 0, nid;

	for (nid = 0; nid < nb->nr_nodes; nid++)
		max = ps_max(max, group_faults_of(nb, group, FAULTS_CPU, (nid_t)nid));
	for (nid = 0; nid < nb->nr_nodes; nid++)
		active += group_faults_of(nb, group, FAULTS_CPU, (nid_t)nid) * ACTIVE_NODE_FRACTION > max;
	group->max_faults_cpu = max;
	group->active_nodes = active;
}

static void group_add(const struct numa_balancing *nb, struct numa_group *group, struct numa_task *nt)
{
	unsigned int i;

	for (i = 0; i < NR_TYPES * 2 * nb->nr_nodes; i++)
		group->faults[i] += nt->faults[i];
	group->total_faults += nt->total_faults;
	group->refs++;
	nt->group = group;
}

/* The task that accessed a page last, by the low bits of its number. */
static struct numa_task *task_of_cpupid(const struct numa_balancing *nb, int cpupid)
{
	u32 id;

	for (id = (u32)cpupid_to_pid(cpupid); id < nb->nr_tasks; id += LAST_PID_MASK + 1)
		if (nb->tasks[id])
			return nb->tasks[id];
	return NULL;
}

/*
 * Another task was here before. Return: true if the fault counts as private all the same: the other one is a stranger whose
 * number is alike.
 */
static bool join_group(struct numa_balancing *nb, struct numa_task *nt)
{
	struct numa_task *other;
	struct numa_group *group;

	if (!nt->group) {
		group = ps_zalloc(sizeof(*group) + NR_TYPES * 2 * nb->nr_nodes * sizeof(group->faults[0]));
		if (!group)
			return false;
		group->id = ++nb->nr_groups;
		group->active_nodes = 1;
		group_add(nb, group, nt);
	}
	other = task_of_cpupid(nb, nt->last_cpupid);
	if (!other || !other->group || other->group == nt->group)
		return false;
	group = other->group;
	/* The smaller joins the bigger; of equals, the younger the older. */
	if (nt->group->refs > group->refs || (nt->group->refs == group->refs && nt->group->id < group->id))
		return false;
	if (other->asid != nt->asid && !nt->shared_mapping)
		return true;
	group_leave(nb, nt);
	group_add(nb, group, nt);
	return false;
}

/* ---- how often to scan */

/* Windows of scan_size that the resident pages fill. */
static u64 scan_windows(const struct numa_balancing *nb, const struct mm_struct *mm)
{
	u64 window = MIB_TO_PAGES(nb->value[SCAN_SIZE]);
	long rss =
		get_mm_counter(mm, MM_FILEPAGES) + get_mm_counter(mm, MM_ANONPAGES) + get_mm_counter(mm, MM_SHMEMPAGES);

	return rss > 0 ? ((u64)rss + window - 1) / window : 1;
}

#define MAX_SCAN_WINDOW 2560 /* MiB/s */

/* ms */
static u32 scan_period_min(const struct numa_balancing *nb, const struct mm_struct *mm)
{
	u64 size = nb->value[SCAN_SIZE];
	u64 floor = 1000 / (size < MAX_SCAN_WINDOW ? MAX_SCAN_WINDOW / size : 1);

	return (u32)ps_max(floor, nb->value[SCAN_PERIOD_MIN] / scan_windows(nb, mm));
}

/* What one task's period must be so that the whole group scans as fast as one would, as far as its pages are shared. */
static u64 scale_by_group(const struct numa_balancing *nb, const struct numa_task *nt, u64 period)
{
	unsigned long shared, priv;

	if (!nt->group)
		return period;
	shared = group_faults_of_type(nb, nt->group, 0);
	priv = group_faults_of_type(nb, nt->group, 1);
	return period * nt->group->refs * (shared + 1) / (priv + shared + 1);
}

static u32 scan_period_start(const struct numa_balancing *nb, const struct numa_task *nt, const struct mm_struct *mm)
{
	u32 min = scan_period_min(nb, mm);

	return (u32)ps_max((u64)min, scale_by_group(nb, nt, min));
}

static u32 scan_period_max(const struct numa_balancing *nb, const struct numa_task *nt, const struct mm_struct *mm)
{
	u64 max = nb->value[SCAN_PERIOD_MAX] / scan_windows(nb, mm);
	u32 min = scan_period_min(nb, mm);

	max = scale_by_group(nb, nt, ps_max((u64)min, max));
	max = ps_max((u64)min, max);
	return (u32)ps_min(max, (u64)UINT32_MAX / 2);
}

#define PERIOD_SLOTS     10 /* the period is divided in so many steps */
#define PERIOD_THRESHOLD 7  /* of 10 faults local, or private: then it stays as it is */

static void update_scan_period(const struct numa_balancing *nb, struct numa_task *nt, struct mm_struct *mm,
			       unsigned long shared, unsigned long priv)
{
	unsigned long remote = nt->locality[0], local = nt->locality[1];
	long slot = (nt->scan_period + PERIOD_SLOTS - 1) / PERIOD_SLOTS, period, ratio;
	long local_ratio, private_ratio;

	/* Nothing to learn, or too fast for the migrations: half as often. */
	if (local + shared == 0 || nt->locality[2]) {
		nt->scan_period = ps_min(nt->scan_period_max, nt->scan_period << 1);
		mm->numa_next_scan = ps_now() + nt->scan_period * NSEC_PER_MSEC;
		return;
	}
	local_ratio = (long)(local * PERIOD_SLOTS / (local + remote));
	private_ratio = priv + shared ? (long)(priv * PERIOD_SLOTS / (priv + shared)) : 0;
	if (private_ratio >= PERIOD_THRESHOLD)
		period = nt->scan_period + ps_max(private_ratio - PERIOD_THRESHOLD, 1l) * slot;
	else if (local_ratio >= PERIOD_THRESHOLD)
		period = nt->scan_period + ps_max(local_ratio - PERIOD_THRESHOLD, 1l) * slot;
	else {
		ratio = ps_max(local_ratio, private_ratio);
		period = nt->scan_period - (PERIOD_THRESHOLD - ratio) * slot;
	}
	period = ps_max(period, (long)scan_period_min(nb, mm));
	nt->scan_period = (u32)ps_min(period, (long)scan_period_max(nb, nt, mm));
	nt->locality[0] = nt->locality[1] = nt->locality[2] = 0;
}

/* ---- scanning */

/* Is where these pages lie nobody's wish but the system's? */
static bool vma_policy_mof(const struct vm_area_struct *vma)
{
	/* Shared memory answers for itself, and without a policy of its own the answer is no. */
	if (vma->vm_mapping && vma->vm_mapping->host->kind == PS_FILE_TMPFS)
		return false;
	return !vma->vm_policy && !current->mempolicy;
}

static bool vma_wants_hints(const struct vm_area_struct *vma)
{
	if (!vma_policy_mof(vma))
		return false;
	/* Text and constants: shared by many, cached well. */
	if (vma->vm_mapping && (vma->vm_flags & (VM_READ | VM_WRITE)) == VM_READ)
		return false;
	/* A mapping without access must not be mistaken for hints. */
	return vma->vm_flags & VM_ACCESS_FLAGS;
}

static void restart_scan(struct mm_struct *mm)
{
	mm->numa_scan_seq++;
	mm->numa_scan_offset = 0;
}

/* Puts hints on the next window of the address space. Context: no locks; may sleep. */
static void task_numa_work(struct numa_balancing *nb, struct numa_task *nt, struct mm_struct *mm)
{
	long pages = (long)MIB_TO_PAGES(nb->value[SCAN_SIZE]);
	long virtual_pages = pages * 8; /* through what is empty or has hints already */
	ps_ns_t before = exec_runtime(current);
	struct vm_area_struct *vma;
	u64 start, end, huge = pmd_size(&mm->pt);

	if (!nt->scan_period_max)
		nt->scan_period_max = scan_period_max(nb, nt, mm);
	mm->numa_next_scan = ps_now() + nt->scan_period * NSEC_PER_MSEC;
	/* Let another thread be the one next time. */
	nt->node_stamp += 2 * TICK_NS;
	if (!down_read_trylock(&mm->mmap_lock))
		return;
	nb->scans++;
	start = mm->numa_scan_offset;
	vma = find_vma(mm, start);
	if (!vma) {
		restart_scan(mm);
		start = 0;
		vma = find_vma(mm, 0);
	}
	for (; vma; vma = vma_next(vma)) {
		if (!vma_wants_hints(vma))
			continue;
		do {
			long updated;

			start = ps_max(start, vma->vm_start);
			end = (start + ((u64)pages << PAGE_SHIFT) + huge - 1) & ~(huge - 1);
			end = ps_min(end, vma->vm_end);
			updated = change_protection(vma, start, end, MM_CP_PROT_NUMA);
			if (updated) {
				count_vm_events(NUMA_PTE_UPDATES, updated);
				pages -= (long)((end - start) >> PAGE_SHIFT);
			}
			virtual_pages -= (long)((end - start) >> PAGE_SHIFT);
			start = end;
			if (pages <= 0 || virtual_pages <= 0)
				goto out;
			cond_resched();
		} while (end != vma->vm_end);
	}
out:
	if (vma)
		mm->numa_scan_offset = start;
	else
		restart_scan(mm);
	mmap_read_unlock(mm);
	/* A task is to run 32 times as long as it scans. */
	nt->node_stamp += 32 * (exec_runtime(current) - before);
}

static ps_ns_t numa_tick(struct ps_policy *policy)
{
	struct numa_balancing *nb = policy->private_data;
	struct mm_struct *mm = current->mm;
	ps_ns_t exec, period, next;
	struct numa_task *nt;

	if (!mm)
		return PS_POLICY_NEVER;
	nt = current_nt(nb);
	if (!nt)
		return ps_now() + TICK_NS;
	/* Its first task began when it did. 0 would mean that nobody has said. */
	if (!mm->numa_next_scan)
		mm->numa_next_scan = ps_max(current->started + nb->value[SCAN_DELAY] * NSEC_PER_MSEC, (ps_ns_t)1);
	exec = exec_runtime(current);
	period = nt->scan_period * NSEC_PER_MSEC;
	if (exec > nt->node_stamp + period) {
		if (!nt->node_stamp)
			nt->scan_period = scan_period_start(nb, nt, mm);
		nt->node_stamp += period;
		if (ps_now() >= mm->numa_next_scan)
			task_numa_work(nb, nt, mm);
		exec = exec_runtime(current);
	}
	next = nt->node_stamp + nt->scan_period * NSEC_PER_MSEC + 1;
	return ps_now() + (next > exec + 1000 ? next - exec : 1000);
}

/* ---- what the faults said */

/* A task seen for the first time counts as one that has run all the time. */
#define BUSY (1u << 16)

/* Folds the faults since the last full scan into the decaying counts, and sets the next period. */
static void task_numa_placement(struct numa_balancing *nb, struct numa_task *nt)
{
	unsigned long by_type[NR_TYPES] = { 0, 0 }, max_faults = 0;
	unsigned long total = nt->locality[0] + nt->locality[1];
	ps_ns_t exec = exec_runtime(current), runtime = BUSY, period = BUSY;
	nid_t max_nid = NUMA_NO_NODE;
	unsigned int nid;
	int priv;

	if (nt->scan_seq == current->mm->numa_scan_seq)
		return;
	nt->scan_seq = current->mm->numa_scan_seq;
	nt->scan_period_max = scan_period_max(nb, nt, current->mm);
	if (nt->last_placement) {
		runtime = exec - nt->last_exec;
		period = ps_now() - nt->last_placement;
	}
	nt->last_exec = exec;
	nt->last_placement = ps_now();

	for (nid = 0; nid < nb->nr_nodes; nid++) {
		unsigned long faults = 0, group_faults = 0;

		for (priv = 0; priv < NR_TYPES; priv++) {
			unsigned int mem = fault_index(nb, FAULTS_MEM, (nid_t)nid, priv);
			unsigned int cpu = fault_index(nb, FAULTS_CPU, (nid_t)nid, priv);
			unsigned int membuf = fault_index(nb, FAULTS_MEMBUF, (nid_t)nid, priv);
			unsigned int cpubuf = fault_index(nb, FAULTS_CPUBUF, (nid_t)nid, priv);
			long diff = (long)nt->faults[membuf] - (long)(nt->faults[mem] / 2), cpu_diff;
			/* By its share of CPU time, not by how many faults it happened to take. */
			u64 weight = (u64)((__extension__(unsigned __int128) runtime << 16) / (period + 1));

			by_type[priv] += nt->faults[membuf];
			nt->faults[membuf] = 0;
			cpu_diff = (long)(weight * nt->faults[cpubuf] / (total + 1)) - (long)(nt->faults[cpu] / 2);
			nt->faults[cpubuf] = 0;
			nt->faults[mem] += (unsigned long)diff;
			nt->faults[cpu] += (unsigned long)cpu_diff;
			nt->total_faults += (unsigned long)diff;
			faults += nt->faults[mem];
			if (nt->group) {
				nt->group->faults[mem] += (unsigned long)diff;
				nt->group->faults[cpu] += (unsigned long)cpu_diff;
				nt->group->total_faults += (unsigned long)diff;
				group_faults += nt->group->faults[mem];
			}
		}
		if (nt->group)
			faults = group_faults;
		if (faults > max_faults) {
			max_faults = faults;
			max_nid = (nid_t)nid;
		}
	}
	/* A task cannot prefer a node without CPUs: the one nearest to it. */
	if (max_nid != NUMA_NO_NODE)
		max_nid = this_machine()->nodes[max_nid].cpu_nid;
	if (nt->group)
		count_active_nodes(nb, nt->group);
	if (max_faults)
		nt->preferred_nid = max_nid;
	update_scan_period(nb, nt, current->mm, by_type[0], by_type[1]);
}

static bool cpupid_unset(int cpupid)
{
	return cpupid == (int)LAST_CPUPID_MASK;
}

static bool cpupid_valid(int cpupid)
{
	return (unsigned int)cpupid_to_cpu(cpupid) < this_machine()->nr_cpus;
}

static bool cpupid_match_pid(const struct numa_task *nt, int cpupid)
{
	return ((int)nt->id & LAST_PID_MASK) == cpupid_to_pid(cpupid);
}

/* Hook: a hint fault is over. */
static void numa_faulted(struct mm_struct *mm, nid_t nid, unsigned int pages, bool moved, bool failed)
{
	struct numa_balancing *nb = this_nb();
	struct numa_task *nt = current_nt(nb);
	nid_t cpu_nid = numa_node_id();
	bool local, priv = true;

	(void)moved;
	if (!nt || mm != current->mm)
		return;
	/* Pages of a slow tier are ruled by heat, or their last accessor is not known. */
	if (!node_is_toptier(nid) && ((nb->mode & NUMA_BALANCING_MEMORY_TIERING) || !cpupid_valid(nt->last_cpupid)))
		return;
	if (!nt->faults) {
		nt->faults = ps_calloc(NR_TYPES * NR_FAULT_KINDS * nb->nr_nodes, sizeof(*nt->faults));
		if (!nt->faults)
			return;
	}
	nt->asid = mm->pt.asid;
	local = nt->local;
	if (!cpupid_unset(nt->last_cpupid)) {
		priv = cpupid_match_pid(nt, nt->last_cpupid);
		if (!priv && nt->may_group)
			priv = join_group(nb, nt);
	}
	/* Shared, and within the nodes the group works on: nothing to gain by scanning faster. */
	if (!priv && !local && nt->group && nt->group->active_nodes > 1 && node_is_active(nb, nt->group, cpu_nid) &&
	    node_is_active(nb, nt->group, nid))
		local = true;
	if (ps_now() > nt->migrate_retry) {
		task_numa_placement(nb, nt);
		if (nt->preferred_nid != NUMA_NO_NODE)
			nt->migrate_retry = ps_now() + ps_min(1000ull, nt->scan_period / 16ull) * NSEC_PER_MSEC;
	}
	if (failed)
		nt->locality[2] += pages;
	nt->faults[fault_index(nb, FAULTS_MEMBUF, nid, priv)] += pages;
	nt->faults[fault_index(nb, FAULTS_CPUBUF, cpu_nid, priv)] += pages;
	nt->locality[local] += pages;
}

/* ---- may the page move? */

/* So much room that nobody need be asked whether a page is hot. */
static bool free_space_enough(struct pglist_data *pgdat)
{
	unsigned long enough = ps_max((1ul << 30) >> PAGE_SHIFT, pgdat->node_present_pages >> 4);
	int zid;

	for (zid = MAX_NR_ZONES - 1; zid >= 0; zid--) {
		struct zone *zone = &pgdat->node_zones[zid];

		if (populated_zone(zone) &&
		    zone_watermark_ok(zone, 0, wmark_pages(zone, WMARK_PROMO) + enough, ZONE_MOVABLE, 0))
			return true;
	}
	return false;
}

#define THRESHOLD_STEPS 16

/* Once in scan_period_max: too many candidates for the rate lower the threshold, too few raise it. */
static void adjust_threshold(const struct numa_balancing *nb, struct promotion *p, nid_t nid, unsigned long rate)
{
	u32 now = now_ms(), ref = (u32)nb->value[HOT_THRESHOLD], period = (u32)nb->value[SCAN_PERIOD_MAX];
	u32 unit = ref * 2 / THRESHOLD_STEPS, threshold;
	unsigned long candidates, expected, seen;

	if (now - p->threshold_start <= period)
		return;
	p->threshold_start = now;
	candidates = node_page_state(nid, PGPROMOTE_CANDIDATE);
	seen = candidates - p->threshold_candidates;
	expected = rate * period / 1000;
	threshold = p->threshold ? p->threshold : ref;
	if (seen > expected * 11 / 10)
		threshold = threshold > 2 * unit ? threshold - unit : unit;
	else if (seen < expected * 9 / 10)
		threshold = ps_min(threshold + unit, ref * 2);
	p->threshold_candidates = candidates;
	p->threshold = threshold;
}

/* Counts a candidate. Return: true if this second's are used up. */
static bool rate_limited(struct promotion *p, nid_t nid, unsigned long rate, int nr)
{
	unsigned long candidates;
	u32 now = now_ms();

	__mod_node_page_state(nid, PGPROMOTE_CANDIDATE, nr);
	candidates = node_page_state(nid, PGPROMOTE_CANDIDATE);
	if (now - p->rate_start > 1000) {
		p->rate_start = now;
		p->rate_candidates = candidates;
	}
	return candidates - p->rate_candidates >= rate;
}

/* A page of a slow tier, whose last-accessor field holds when its hint was set: is it hot? */
static bool should_promote(struct numa_balancing *nb, struct page *page, nid_t nid)
{
	struct promotion *p = &nb->node[nid];
	unsigned long rate = MIB_TO_PAGES(nb->value[PROMOTE_RATE_LIMIT]);
	u32 threshold, latency;

	if (free_space_enough(NODE_DATA(nid))) {
		p->threshold = 0; /* the load has changed: forget what was learnt */
		nb->hot++;
		return true;
	}
	adjust_threshold(nb, p, nid, rate);
	threshold = p->threshold ? p->threshold : (u32)nb->value[HOT_THRESHOLD];
	latency = (now_ms() - (u32)xchg_page_access_time(page, (int)(now_ms() & LAST_CPUPID_MASK))) & LAST_CPUPID_MASK;
	if (latency >= threshold) {
		nb->cold++;
		return false;
	}
	nb->hot++;
	if (!rate_limited(p, nid, rate, thp_nr_pages(page)))
		return true;
	nb->rate_limited++;
	return false;
}

static bool should_numa_migrate(struct numa_balancing *nb, struct numa_task *nt, struct page *page, nid_t from,
				nid_t to)
{
	const struct numa_group *group = nt->group;
	int last;

	if ((nb->mode & NUMA_BALANCING_MEMORY_TIERING) && !node_is_toptier(from))
		return should_promote(nb, page, to);

	last = page_cpupid_xchg_last(page, cpu_pid_to_cpupid(current->cpu, (int)nt->id));
	/* The field may hold a time from when tiering mode was on. */
	if (!(nb->mode & NUMA_BALANCING_MEMORY_TIERING) && !node_is_toptier(from) && !cpupid_valid(last))
		return false;
	/* Early on: the first fault on a page, and any private one, moves it at once. */
	if ((nt->preferred_nid == NUMA_NO_NODE || nt->scan_seq <= 4) &&
	    (cpupid_pid_unset(last) || cpupid_match_pid(nt, last)))
		return true;
	/* Two faults in a row from the same node: one alone may be chance. */
	if (!cpupid_pid_unset(last) && (!cpupid_valid(last) || cpu_to_node(cpupid_to_cpu(last)) != to))
		return false;
	if (cpupid_match_pid(nt, last))
		return true;
	if (!group)
		return true;
	/* Much more is done there than here. */
	if (group_faults_of(nb, group, FAULTS_CPU, to) >
	    group_faults_of(nb, group, FAULTS_CPU, from) * ACTIVE_NODE_FRACTION)
		return true;
	/* Else memory is to be spread as the work is, with some inertia. */
	return group_faults_of(nb, group, FAULTS_CPU, to) * group_faults_of(nb, group, FAULTS_MEM, from) * 3 >
	       group_faults_of(nb, group, FAULTS_CPU, from) * group_faults_of(nb, group, FAULTS_MEM, to) * 4;
}

/* Hook: where should the page be? Context: the entry's lock. */
static nid_t numa_misplaced(struct page *page, struct vm_area_struct *vma, u64 addr, nid_t page_nid)
{
	struct numa_balancing *nb = this_nb();
	struct numa_task *nt = current_nt(nb);
	nid_t nid = numa_node_id();

	(void)addr;
	if (!nt)
		return NUMA_NO_NODE;
	if ((nb->mode & NUMA_BALANCING_MEMORY_TIERING) && !node_is_toptier(page_nid))
		nt->last_cpupid = (int)LAST_CPUPID_MASK; /* it holds a time */
	else
		nt->last_cpupid = page_cpupid_last(page);
	nt->local = page_nid == nid;
	nt->may_group = vma->vm_flags & VM_WRITE;
	nt->shared_mapping = (vma->vm_flags & VM_SHARED) && page_mapcount(page) > 1;
	if (!vma_policy_mof(vma) || page_nid == nid)
		return NUMA_NO_NODE;
	return should_numa_migrate(nb, nt, page, page_nid, nid) ? nid : NUMA_NO_NODE;
}

/* Would the node stay above its high watermark with so many more pages? */
static bool migrate_balanced(struct pglist_data *pgdat, unsigned long nr)
{
	int zid;

	for (zid = MAX_NR_ZONES - 1; zid >= 0; zid--) {
		struct zone *zone = &pgdat->node_zones[zid];

		if (managed_zone(zone) && zone_watermark_ok(zone, 0, high_wmark_pages(zone) + nr, ZONE_MOVABLE, 0))
			return true;
	}
	return false;
}

/* Hook: moves the page; the reference is ours to drop. */
static bool numa_migrate(struct page *page, struct vm_area_struct *vma, nid_t nid)
{
	struct pglist_data *pgdat = NODE_DATA(nid);
	struct numa_balancing *nb = this_nb();
	int zid;

	/* A huge page of several address spaces is nobody's in particular. */
	if (PageTransHuge(page) && total_mapcount(page) > 1)
		goto out;
	if (!migrate_balanced(pgdat, (unsigned long)thp_nr_pages(page))) {
		nb->target_full++;
		if (nb->mode & NUMA_BALANCING_MEMORY_TIERING) {
			/* Not now; but let it make room for the next one. */
			for (zid = MAX_NR_ZONES - 1; zid > 0; zid--)
				if (managed_zone(&pgdat->node_zones[zid]))
					break;
			wakeup_kswapd(&pgdat->node_zones[zid], 0, thp_order(page), ZONE_MOVABLE);
		}
		goto out;
	}
	return migrate_misplaced_page(page, vma, nid);
out:
	put_page(page);
	return false;
}

/* ---- coming and going */

static int numa_init(struct ps_policy *policy)
{
	struct ps_faults *faults = policy->machine->faults;
	struct numa_balancing *nb = ps_zalloc(sizeof(*nb));

	if (!nb)
		return -ENOMEM;
	nb->policy = policy;
	nb->value = policy->value;
	nb->mode = (unsigned int)policy->value[MODE];
	nb->nr_nodes = policy->machine->nr_nodes;
	/* Promotion needs room above, which only demotion makes. */
	if (!(policy->set >> DEMOTION & 1))
		policy->value[DEMOTION] = (nb->mode & NUMA_BALANCING_MEMORY_TIERING) != 0;
	policy->private_data = nb;
	policy->machine->reclaim->demotion_enabled = policy->value[DEMOTION] != 0;
	faults->numa =
		(struct numa_hooks){ .misplaced = numa_misplaced, .migrate = numa_migrate, .faulted = numa_faulted };
	faults->numa_balancing = nb->mode;
	return 0;
}

static void numa_destroy(struct ps_policy *policy)
{
	struct numa_balancing *nb = policy->private_data;
	struct ps_faults *faults = policy->machine->faults;
	u32 i;

	faults->numa = (struct numa_hooks){ NULL, NULL, NULL };
	faults->numa_balancing = 0;
	policy->machine->reclaim->demotion_enabled = false;
	for (i = 0; i < nb->nr_tasks; i++)
		nt_free(nb, nb->tasks[i]);
	ps_free(nb->tasks);
	ps_free(nb);
	policy->private_data = NULL;
}

static void numa_task_exit(struct ps_policy *policy, const struct task_struct *task)
{
	struct numa_balancing *nb = policy->private_data;

	if (task->id >= nb->nr_tasks)
		return;
	nt_free(nb, nb->tasks[task->id]);
	nb->tasks[task->id] = NULL;
}

static const char *numa_stat(const struct ps_policy *policy, unsigned int i, u64 *ret_value)
{
	const struct numa_balancing *nb = policy->private_data;
	u32 threshold = nb->node[policy->machine->first_nid].threshold;
	const struct {
		const char *name;
		u64 value;
	} stats[] = {
		{ "numa_scans", nb->scans },
		{ "numa_hot", nb->hot },
		{ "numa_cold", nb->cold },
		{ "numa_rate_limited", nb->rate_limited },
		{ "numa_target_full", nb->target_full },
		{ "numa_groups", nb->nr_groups },
		{ "numa_hot_threshold_ms", threshold ? threshold : nb->value[HOT_THRESHOLD] }, /* of the first node */
	};

	if (i >= ARRAY_SIZE(stats))
		return NULL;
	*ret_value = stats[i].value;
	return stats[i].name;
}

const struct ps_policy_ops ps_policy_numa_balancing = {
	.name = "numa-balancing",
	.what = "Linux 6.1's: hint faults move pages to the node that uses them, hot ones to the fast tier",
	.params = params,
	.check = numa_check,
	.init = numa_init,
	.destroy = numa_destroy,
	.tick = numa_tick,
	.task_exit = numa_task_exit,
	.stat = numa_stat,
};
